"""Clients that are stopped, or answer no ping, are cut off; slow ones that live never are."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from fuzz_wire import Wire, encode, number
from served import Child, Server, await_true, child, serving, short_place

from contentui.content.digest import Digest
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
SILENCE_S = 3.0
"""What two minutes are by default."""
STREAMS = 20
DATA = os.urandom(MIB) * 64


@pytest.fixture
def server() -> Iterator[Server]:
    with serving("--silence", f"{SILENCE_S:g}s") as made:
        yield made


@pytest.fixture
def digest(server: Server) -> str:
    return stored(server)


def stored(server: Server) -> str:
    """Put `DATA` there, over a connection that is closed again; its digest."""
    wire = Wire(server.target)
    stream, offset = wire.write(), 0
    for start in range(0, len(DATA), 8 * MIB):
        stream.send(encode({1: 1, 2: "r", 5: offset or -1, 6: DATA[start : start + 8 * MIB]}))
        assert stream.answer()
        offset += 8 * MIB
    stream.send(encode({1: 2, 5: offset}))
    assert stream.answer()
    wire.close()
    return Digest.of(DATA)


def held(server: Server) -> int:
    """Refs that are locked, asked of the kernel: no stream is opened for it."""
    with LocalStore(str(server.root), read_only=True) as store:
        return len(store.holders([status.id for status in store.statuses()]))


def blobs_open(server: Server) -> int:
    place = f"/proc/{server.child.pid}/fd"
    found = 0
    for name in os.listdir(place):
        try:
            found += "/blobs/sha256/" in os.readlink(f"{place}/{name}")
        except FileNotFoundError:
            continue
    return found


def stopped(client: Child) -> float:
    client.send(signal.SIGSTOP)
    os.waitid(os.P_PID, client.pid, os.WSTOPPED | os.WNOWAIT)
    return time.monotonic()


def test_a_stopped_writer_is_cut_off(server: Server) -> None:
    connections = server.connections()
    with child("hold", server.socket, *[f"r{index}" for index in range(STREAMS)]) as client:
        begun = stopped(client)
        assert held(server) == STREAMS
        await_true(lambda: not held(server), 3 * SILENCE_S, "cutting off")
        assert SILENCE_S / 3 < time.monotonic() - begun < 2 * SILENCE_S
        await_true(lambda: server.connections() == connections, 2, "closing the connection")
    assert not server.is_committed()


def test_a_stopped_reader_with_its_socket_full_is_cut_off(server: Server, digest: str) -> None:
    await_true(lambda: not blobs_open(server), 5, "closing the blob")
    connections = server.connections()
    with child("read_many", server.target, digest, STREAMS) as client:
        begun = stopped(client)
        assert blobs_open(server) >= STREAMS // 2
        await_true(lambda: not blobs_open(server), 3 * SILENCE_S, "cutting off")
        assert SILENCE_S / 3 < time.monotonic() - begun < 2 * SILENCE_S
        await_true(lambda: server.connections() <= connections, 2, "closing the connection")


def test_a_stopped_reader_over_tcp_is_cut_off() -> None:
    with short_place() as place:
        (place / "store").mkdir()
        with LocalStore(str(place / "store")) as store:
            digest = store.put(DATA).digest
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        arguments = ("--listen", f"tcp://127.0.0.1:{port}", "--insecure", "--json")
        argv = ("--store", place / "store", "serve", "--silence", f"{SILENCE_S:g}s", *arguments)
        service = Child("-m", "contentui", *argv)
        try:
            with child("read_many", f"127.0.0.1:{port}", digest, STREAMS) as client:
                place_of_fds = f"/proc/{service.pid}/fd"
                before = len(os.listdir(place_of_fds))
                stopped(client)
                await_true(
                    lambda: len(os.listdir(place_of_fds)) <= before - STREAMS // 2,
                    3 * SILENCE_S,
                    "cutting off",
                )
        finally:
            service.end(signal.SIGTERM)


def test_a_client_that_reads_but_answers_no_ping_is_cut_off(server: Server) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(server.socket))
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        client.sendall(b"\0\0\0\4\1\0\0\0\0")  # settings, acknowledged
        client.settimeout(3 * SILENCE_S)
        begun = time.monotonic()
        while client.recv(65536):
            pass
        assert SILENCE_S / 3 < time.monotonic() - begun < 2 * SILENCE_S


def test_an_idle_writer_that_lives_is_never_cut_off(server: Server, wire: Wire) -> None:
    streams = [wire.write() for _ in range(STREAMS)]
    for index, stream in enumerate(streams):
        stream.send(encode({1: 1, 2: f"r{index}", 6: b"half"}))
        assert stream.answer()
    time.sleep(3 * SILENCE_S)  # it is the silence that is tested
    for stream in streams:
        stream.send(encode({1: 1, 5: 4, 6: b"rest"}))
        answer = stream.answer()
        assert answer
        assert number(answer, 4) == 8
        stream.half_close()
        list(stream.rest())


def test_a_reader_that_takes_nothing_for_long_gets_all_of_it(
    server: Server, wire: Wire, digest: str
) -> None:
    answers = wire.channel.unary_stream("/containerd.services.content.v1.Content/Read")(
        encode({1: digest}), metadata=wire.metadata
    )
    got = [next(answers)]
    time.sleep(3 * SILENCE_S)  # it is the silence that is tested
    got += answers
    assert sum(map(len, got)) > len(DATA)
    assert blobs_open(server) <= 1


class SlowLine:
    """Passes a connection on at so many bytes a second, in both directions."""

    def __init__(self, path: str, target: str, rate: int) -> None:
        self._rate = rate
        self._target = target
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.ended_by_service = 0.0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        client = self.listener.accept()[0]
        service = socket.socket(socket.AF_UNIX)
        service.connect(self._target)
        threading.Thread(target=self._pass, args=(client, service), daemon=True).start()
        self._pass(service, client)
        self.ended_by_service = time.monotonic()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(self._rate // 50):
                sink.sendall(data)
                time.sleep(0.02)
        except OSError:
            return


def test_a_client_behind_a_slow_line_gets_all_of_it(server: Server, digest: str) -> None:
    line = SlowLine(str(server.place / "slow"), str(server.socket), 1 * MIB)
    wire = Wire(f"unix:{server.place}/slow")
    begun = time.monotonic()
    size = 5 * MIB
    answers: Any = wire.channel.unary_stream("/containerd.services.content.v1.Content/Read")(
        encode({1: digest, 3: size}), metadata=wire.metadata
    )
    assert sum(map(len, answers)) > size
    assert time.monotonic() - begun > 1.2 * SILENCE_S
    assert not line.ended_by_service
    wire.close()


def test_stopped_clients_do_not_hold_up_the_end() -> None:
    with serving() as server:
        digest = stored(server)
        with (
            child("read_many", server.target, digest, STREAMS) as reader,
            child("hold", server.socket, "r") as writer,
        ):
            stopped(reader)
            stopped(writer)
            begun = time.monotonic()
            server.child.end(signal.SIGTERM)
            assert server.child.process.returncode == 0
            assert time.monotonic() - begun < 8  # two seconds of them are the grace


@pytest.mark.parametrize("connections", [1, 300])
def test_readers_that_never_read_cost_little(connections: int) -> None:
    """By VmRSS of the service: before them, and when it has sent all that it can."""
    with serving() as server:
        wire = Wire(server.target)
        stream = wire.write()
        stream.send(encode({1: 2, 2: "r", 6: DATA[: 8 * MIB]}))
        assert stream.answer()
        digest = Digest.of(DATA[: 8 * MIB])
        for _ in range(3):
            wire.many("Read", encode({1: digest}))
        before = server.memory_kib()
        with child("read_never", server.socket, digest, 300, connections):
            await_true(lambda: blobs_open(server) >= 300, 20, "opening the blob 300 times")
            highest, steady_since = 0, time.monotonic()
            while time.monotonic() - steady_since < 1:
                if server.memory_kib() > highest + 256:
                    highest, steady_since = server.memory_kib(), time.monotonic()
                time.sleep(0.05)
            grown = server.memory_kib() - before
            print(f"300 readers over {connections} connections: {grown / 1024:.0f} MiB more")
            assert grown < 100_000_000 // 1024
            pieces = wire.many("Read", encode({1: digest, 3: MIB}))
            assert b"".join(piece[2][0] for piece in pieces) == DATA[:MIB]
        await_true(lambda: not blobs_open(server), 10, "letting go of the blob")
        wire.close()


def test_the_soft_limit_of_descriptors_is_raised() -> None:
    soft, hard = 64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with short_place() as place:
        (place / "store").mkdir()
        argv = [sys.executable, "-m", "contentui", "--store", str(place / "store"), "serve"]
        argv += ["--listen", f"unix://{place}/s", "--json"]
        service = subprocess.Popen(
            ["sh", "-c", f'ulimit -Sn {soft}; exec "$@"', "sh", *argv],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert service.stdout
            assert b"ready" in service.stdout.readline()
            assert resource.prlimit(service.pid, resource.RLIMIT_NOFILE) == (hard, hard)
            with child("hold", place / "s", *[f"r{index}" for index in range(100)]):
                assert len(os.listdir(f"/proc/{service.pid}/fd")) > soft
        finally:
            service.terminate()
            assert service.wait(15) == 0
            service.stdout.close()
