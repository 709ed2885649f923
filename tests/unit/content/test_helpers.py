"""The pieces of transfer that don't depend on the store."""

from __future__ import annotations

import io
import os

import pytest

from contentui.content.digest import Digest
from contentui.content.errors import FailedPrecondition
from contentui.content.helpers import MIB, ReaderFile, verify, write_blob
from contentui.stores.memory import MemoryStore

DATA = os.urandom(MIB + 100)


@pytest.fixture
def store():
    return MemoryStore()


class Source(ReaderFile):
    """A reader that remembers what was asked of it."""

    def __init__(self, data):
        super().__init__(self)
        self.data = data
        self.size = len(data)
        self.asked = []

    def read_at(self, size, offset):
        self.asked.append((size, offset))
        return self.data[offset : offset + size]


class Trickle(io.RawIOBase):
    """Yields a few bytes at a time."""

    def __init__(self, data):
        self.inner = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self.inner.readinto(memoryview(buffer)[:7])


def test_a_random_access_sources_size_counts(store):
    source = Source(DATA)
    source.size += 1
    with pytest.raises(FailedPrecondition, match="size"):
        write_blob(store, "r", source)
    assert store.status("r").total == len(DATA) + 1


def test_sources_are_read_in_bounded_pieces(store):
    source = Source(DATA * 5)
    write_blob(store, "r", source)
    assert max(size for size, _ in source.asked) <= 16 * MIB


def test_a_prefix_is_compared_in_bounded_pieces(store):
    with store.writer("r") as writer:
        writer.write(DATA * 3)
    source = Source(DATA * 4)
    assert write_blob(store, "r", source).resumed_from == len(DATA) * 3
    assert max(size for size, _ in source.asked) <= MIB


def test_short_reads_are_no_end(store):
    assert write_blob(store, "r", Trickle(DATA[:1000])).info.digest == Digest.of(DATA[:1000])


def test_an_object_without_seekable_is_a_pipe(store):
    class Bare:
        def __init__(self, data):
            self.read = io.BytesIO(data).read

    with store.writer("r") as writer:
        writer.write(DATA[:10])
    written = write_blob(store, "r", Bare(DATA))
    assert (written.info.digest, written.resumed_from) == (Digest.of(DATA), 0)


def test_a_commit_without_digest_of_what_exists_under_another_ref(store):
    first = write_blob(store, "a", io.BytesIO(DATA), labels={"k": "1"})
    second = write_blob(store, "b", io.BytesIO(DATA), labels={"k": "2"})
    assert second.outcome == "existed"
    assert second.info == first.info


def test_the_ref_is_held_while_a_foreign_prefix_is_replaced(store):
    with store.writer("r") as writer:
        writer.write(b"x" * 100)
    seen = []

    def look(offset):
        seen.append((offset, bool(store.holders([store.status("r").id]))))

    write_blob(store, "r", io.BytesIO(DATA), expected=Digest.of(DATA), progress=look)
    assert all(held for _, held in seen)
    assert seen[-1][0] == len(DATA)


def test_progress_of_a_verification(store):
    digest = store.put(DATA).digest
    seen = []
    verify(store, digest, seen.append)
    assert seen == [MIB, len(DATA)]
