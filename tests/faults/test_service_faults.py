"""Clients that die, freeze, dawdle or crowd: the service frees what they held, serves the rest."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import fuzz_wire
import pytest
from fuzz_service import asked
from fuzz_wire import Refused, Wire, decode, encode, number
from served import Server, await_true, child, serving, touch_and_go

from contentui.content.digest import Digest
from contentui.content.model import ingest_id
from contentui.protocol.names import MAX_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


def opened(wire: Wire, ref: str) -> int | Refused:
    """Open and leave: the offset, or the refusal."""
    stream = wire.write()
    stream.send(encode({1: 0, 2: ref}))
    answer = asked(stream.answer)
    if isinstance(answer, Refused):
        return answer
    stream.half_close()
    list(stream.rest())
    return number(answer, 4)


def stored(wire: Wire, ref: str, data: bytes) -> str:
    stream = wire.write()
    offset = 0
    for start in range(0, len(data) or 1, 8 * MIB):
        piece = data[start : start + 8 * MIB]
        stream.send(encode({1: 1, 2: ref, 5: offset or -1, 6: piece}))
        assert stream.answer()
        offset += len(piece)
    stream.send(encode({1: 2, 5: offset}))
    answer = stream.answer()
    assert answer
    list(stream.rest())
    return fuzz_wire.text(answer, 6)


def is_locked(answer: object) -> bool:
    return isinstance(answer, Refused) and "locked for" in answer.details


def test_a_killed_clients_ref_is_free_within_a_second(server, wire):
    with child("hold", server.socket, "r") as client:
        assert is_locked(opened(wire, "r"))
        client.end(signal.SIGKILL)
        begun = time.monotonic()
        await_true(lambda: not is_locked(opened(wire, "r")), 1, "letting go of the ref")
        assert time.monotonic() - begun < 1
    assert opened(wire, "r") == len(b"half of it")
    assert not server.is_committed()


def test_nobody_notices_a_frozen_client(server, wire):
    with child("hold", server.socket, "r") as client:
        client.send(signal.SIGSTOP)
        begun = time.monotonic()
        digest = stored(wire, "other", b"x" * (3 * MIB))
        assert digest == Digest.of(b"x" * (3 * MIB))
        assert is_locked(opened(wire, "r"))
        wire.one("Abort", encode({1: "r"}))  # what an operator does about it
        assert time.monotonic() - begun < 5
        client.send(signal.SIGCONT)
        client.end(signal.SIGKILL)
        await_true(lambda: opened(wire, "r") == 0, 1, "a new start")


def test_three_hundred_idle_streams(server, wire):
    refs = [f"idle-{index}" for index in range(300)]
    with child("hold", server.socket, *refs):
        begun = time.monotonic()
        assert len(wire.one("ListStatuses", b"")[1]) == 300
        assert stored(wire, "busy", b"y" * MIB) == Digest.of(b"y" * MIB)
        assert wire.many("List", b"")
        assert time.monotonic() - begun < 3
        assert is_locked(opened(wire, "idle-7"))
    await_true(lambda: not is_locked(opened(wire, "idle-299")), 3, "letting go of all refs")
    assert opened(wire, "idle-7") == len(b"half of it")
    threads = server.threads()
    with child("hold", server.socket, *refs):
        assert server.threads() <= threads + 20  # the first ones' threads serve the next


def test_slow_readers_cost_no_memory(server, wire):
    data = os.urandom(MIB) * 96
    digest = stored(wire, "large", data)
    wire.many("Read", encode({1: digest, 3: MIB}))
    before = server.memory_kib()
    with (
        child("read_slowly", server.socket, digest),
        child("read_slowly", server.socket, digest),
        child("read_slowly", server.socket, digest),
    ):
        pieces = wire.many("Read", encode({1: digest, 2: 95 * MIB}))
        assert b"".join(piece[2][0] for piece in pieces) == data[95 * MIB :]
        assert server.memory_kib() - before < 40 << 10
        assert decode(wire.one("Info", encode({1: digest}))[1][0])


def test_a_thousand_connections_leave_nothing(server, wire):
    def crowd(count: int) -> None:
        for index in range(count):
            touch_and_go(server.socket, (b"", PREFACE, b"\0garbage\n" * 20)[index % 3])

    crowd(300)
    stored(wire, "warm", b"w" * MIB)
    await_true(lambda: server.descriptors() < 40, 10, "closing the first ones")
    memory, descriptors = server.memory_kib(), server.descriptors()
    crowd(1000)
    stored(wire, "again", b"a" * MIB)
    await_true(lambda: server.descriptors() <= descriptors + 3, 10, "closing all")
    grown = server.memory_kib() - memory
    assert grown < 8 << 10, f"{grown} KiB more"


def test_clients_that_come_and_go_with_streams_leave_nothing(server):
    def round_trip(index: int) -> None:
        wire = Wire(server.target)
        stream = wire.write()
        stream.send(encode({1: 1, 2: f"r{index % 7}", 6: b"x" * 1000}))
        asked(stream.answer)
        if index % 2:
            stream.cancel()
        wire.close()

    for index in range(40):
        round_trip(index)
    memory, descriptors = server.memory_kib(), server.descriptors()
    for index in range(200):
        round_trip(index)
    await_true(lambda: server.descriptors() <= descriptors + 3, 10, "closing all")
    assert server.memory_kib() - memory < 8 << 10
    assert not server.is_committed()


def test_a_message_over_the_limit_ends_only_its_stream(server, wire):
    stream = wire.write()
    stream.send(encode({1: 1, 2: "big", 6: b"first"}))
    assert stream.answer()
    stream.send(encode({1: 1, 5: 5, 6: bytes(MAX_MESSAGE)}))
    refused = asked(stream.answer)
    assert isinstance(refused, Refused)
    assert refused.code == "RESOURCE_EXHAUSTED"
    await_true(lambda: opened(wire, "big") == 5, 1, "freeing the ref")
    passes = bytes(MAX_MESSAGE - 200)
    stream = wire.write()
    stream.send(encode({1: 1, 2: "fits", 6: passes}))
    answer = stream.answer()
    assert answer
    assert number(answer, 4) == len(passes)
    stream.cancel()


def test_a_killed_service_forgets_locks_and_keeps_bytes(server, wire):
    stream = wire.write()
    stream.send(encode({1: 1, 2: "r", 6: b"kept"}))
    assert stream.answer()
    server.child.end(signal.SIGKILL)
    assert isinstance(asked(stream.answer), Refused)
    server.start()
    again = Wire(server.target)
    await_true(lambda: opened(again, "r") == 4, 3, "serving again")
    assert not server.is_committed()
    again.close()


def test_sigterm_ends_streams_in_bounded_time(server, wire):
    stream = wire.write()
    stream.send(encode({1: 1, 2: "r", 6: b"kept"}))
    assert stream.answer()
    begun = time.monotonic()
    words = server.child.end(signal.SIGTERM)
    assert time.monotonic() - begun < 8
    assert "Traceback" not in words
    assert isinstance(asked(stream.answer), Refused)
    data = server.root / "ingest" / ingest_id("r") / "data"
    assert data.read_bytes() == b"kept"
    assert not server.is_committed()
    server.start()


def test_removed_while_it_is_written(server, wire):
    """What another client's abort does to a writer: it notices at its commit, no sooner."""
    stream = wire.write()
    stream.send(encode({1: 1, 2: "r", 6: b"half"}))
    assert stream.answer()
    wire.one("Abort", encode({1: "r"}))
    assert not wire.one("ListStatuses", b"")
    stream.send(encode({1: 1, 5: 4, 6: b"rest"}))
    answer = stream.answer()
    assert answer
    assert number(answer, 4) == 8
    assert is_locked(opened(wire, "r"))
    stream.send(encode({1: 2, 5: 8}))
    refused = asked(stream.answer)
    assert isinstance(refused, Refused)
    assert refused.code == "UNKNOWN"
    await_true(lambda: opened(wire, "r") == 0, 1, "a new start")
    assert not server.is_committed()
