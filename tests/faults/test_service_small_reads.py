"""Small reads are answered from a blob that stays open: never from one that is gone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import fuzz_service
import pytest
from fuzz_service import asked
from fuzz_wire import Refused, encode

from contentui.servers.grpc.read import SMALL_READ, ReaderCache
from contentui.stores.local.blobs import FileReader

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = os.urandom(3 * SMALL_READ + 5)


@pytest.fixture
def rig() -> Iterator[fuzz_service.Rig]:
    with fuzz_service.rig("disk") as made:
        made.fresh()
        yield made
        made.drop()


@pytest.fixture
def prompt(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes that were answered at once."""
    sizes: list[int] = []
    answer = ReaderCache.response

    def counted(self: ReaderCache, message: bytes) -> bytes | None:
        found = answer(self, message)
        if found is not None:
            sizes.append(len(found))
        return found

    monkeypatch.setattr(ReaderCache, "response", counted)
    return sizes


def read(rig: fuzz_service.Rig, digest: str, offset: int, size: int) -> bytes:
    pieces = rig.wire.many("Read", encode({1: digest, 2: offset, 3: size}))
    return b"".join(piece[2][0] for piece in pieces)


def test_steps_are_the_blobs_bytes(prompt, rig):
    digest = rig.current.put(DATA).digest
    step = SMALL_READ // 4
    got = b"".join(read(rig, digest, at, step) for at in range(0, len(DATA), step))
    assert got == DATA
    assert len(prompt) > 8
    assert read(rig, digest, len(DATA), 10) == b""
    assert read(rig, digest, 3, 0) == DATA[3:]
    assert asked(lambda: read(rig, digest, len(DATA) + 1, 10)).code == "OUT_OF_RANGE"


def test_a_blob_that_was_deleted_is_not_read(prompt, rig):
    for behind_its_back in (False, True):
        info = rig.current.put(DATA)
        for _ in range(3):
            assert read(rig, info.digest, 0, 10) == DATA[:10]
        assert prompt
        if behind_its_back:
            rig.current.delete(info.digest)
        else:
            rig.wire.one("Delete", encode({1: info.digest}))
        refused = asked(lambda digest=info.digest: read(rig, digest, 0, 10))
        assert isinstance(refused, Refused)
        assert refused.code == "NOT_FOUND"


def test_where_it_would_wait_a_thread_reads(prompt, rig, monkeypatch):
    monkeypatch.setattr(FileReader, "read_now", lambda *_: None)
    digest = rig.current.put(DATA).digest
    for at in range(5):
        assert read(rig, digest, at, 10) == DATA[at : at + 10]
    assert not prompt


def test_without_a_known_grpcio_the_pool_answers(prompt, rig, monkeypatch):
    monkeypatch.setattr("contentui.servers.grpc.grpcio.private_api", lambda: None)
    digest = rig.current.put(DATA).digest
    for at in range(5):
        assert read(rig, digest, at, 10) == DATA[at : at + 10]
    assert not prompt


def test_an_answer_that_raises_ends_only_its_call(rig, monkeypatch):
    digest = rig.current.put(DATA).digest
    read(rig, digest, 0, 10)
    with monkeypatch.context() as broken:
        broken.setattr(FileReader, "read_now", lambda *_: 1 // 0)
        assert asked(lambda: read(rig, digest, 0, 10)).code == "UNAVAILABLE"
    assert read(rig, digest, 0, 10) == DATA[:10]


def test_readers_are_closed_after_a_moment(rig):
    from served import await_true

    def open_blobs() -> int:
        links = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
        return sum("/blobs/" in os.readlink(link) for link in links if os.path.islink(link))

    digests = [rig.current.put(DATA[at:]).digest for at in range(20)]
    before = open_blobs()
    for digest in digests * 2:
        read(rig, digest, 0, 10)
    assert open_blobs() - before <= 8
    await_true(lambda: open_blobs() <= before, 6, "closing them")
