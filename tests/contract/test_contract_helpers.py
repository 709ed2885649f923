"""write_blob, open_writer and verification over every store."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import threading

import pytest
from idents import ident, process_of

from contentui.content.digest import EMPTY, Digest
from contentui.content.errors import (
    ContentError,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    Locked,
    NotFound,
)
from contentui.content.helpers import (
    MIB,
    ReaderFile,
    list_digests,
    open_writer,
    verified_chunks,
    verify,
    write_blob,
)
from contentui.stores.memory import MemoryStore

DATA = os.urandom(MIB) * 3 + os.urandom(17)
OTHER = os.urandom(len(DATA))
DIGEST = Digest.of(DATA)
HALF = 2 * MIB + 5

WITH_AND_WITHOUT_DIGEST = pytest.mark.parametrize(
    "expected", [None, DIGEST], ids=["any digest", "digest"]
)
WITH_AND_WITHOUT_SIZE = pytest.mark.parametrize("size", [None, len(DATA)], ids=["any size", "size"])


class Seekable(io.BytesIO):
    """Remembers how far back it was moved."""

    lowest = 10**9

    def seek(self, offset, whence=io.SEEK_SET):
        self.lowest = min(self.lowest, offset)
        return super().seek(offset, whence)


class Pipe(io.RawIOBase):
    """A source that can't be rewound."""

    def __init__(self, data):
        self.inner = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self.inner.readinto(buffer)


class RandomAccess(ReaderFile):
    def __init__(self, data):
        super().__init__(self)
        self.data = data
        self.size = len(data)
        self.lowest = len(data)

    def read_at(self, size, offset):
        self.lowest = min(self.lowest, offset)
        return self.data[offset : offset + size]


SOURCES = {"seekable": Seekable, "pipe": Pipe, "random access": RandomAccess}


@pytest.fixture(params=SOURCES)
def make(request):
    return SOURCES[request.param]


@pytest.fixture(params=["seekable", "random access"])
def make_rewindable(request):
    return SOURCES[request.param]


def left_behind(store, data=DATA[:HALF], ref="r", **options):
    with store.writer(ref, **options) as writer:
        writer.write(data)


def content(store, digest):
    return b"".join(verified_chunks(store, digest))


def test_from_nothing(store, make):
    written = write_blob(store, "r", make(DATA), labels={"k": "v"})
    assert (written.outcome, written.resumed_from) == ("created", 0)
    assert written.info == store.info(DIGEST)
    assert written.info.labels == {"k": "v"}
    assert content(store, DIGEST) == DATA
    assert store.statuses() == []


def test_the_empty_blob(store, make):
    assert write_blob(store, "r", make(b"")).info.digest == EMPTY


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_resumes_where_it_stopped(store, make_rewindable, algorithm):
    left_behind(store)
    source = make_rewindable(DATA)
    digest = Digest.of(DATA, algorithm)
    written = write_blob(store, "r", source, size=len(DATA), expected=digest)
    assert (written.outcome, written.resumed_from) == ("resumed", HALF)
    assert source.lowest == HALF
    assert content(store, digest) == DATA


def test_resumes_without_a_digest_when_the_prefix_is_the_same(store, make_rewindable):
    left_behind(store)
    written = write_blob(store, "r", make_rewindable(DATA))
    assert (written.outcome, written.resumed_from) == ("resumed", HALF)
    assert content(store, DIGEST) == DATA


def test_resumes_what_is_complete(store, make_rewindable):
    left_behind(store, DATA)
    written = write_blob(store, "r", make_rewindable(DATA), expected=DIGEST)
    assert (written.outcome, written.resumed_from) == ("resumed", len(DATA))


def test_a_pipe_starts_over(store):
    left_behind(store)
    written = write_blob(store, "r", Pipe(DATA), expected=DIGEST)
    assert (written.outcome, written.resumed_from) == ("created", 0)
    assert content(store, DIGEST) == DATA


@pytest.mark.parametrize(
    "stored",
    [OTHER[:HALF], b"x", DATA[: HALF - 1] + b"!"],
    ids=["others", "short", "last byte"],
)
@WITH_AND_WITHOUT_DIGEST
@WITH_AND_WITHOUT_SIZE
def test_two_sources_are_never_joined(store, make, stored, expected, size):
    left_behind(store, stored)
    written = write_blob(store, "r", make(DATA), size=size, expected=expected)
    assert (written.outcome, written.resumed_from) == ("created", 0)
    assert written.info.digest == DIGEST
    assert list_digests(store) == [DIGEST]
    assert content(store, DIGEST) == DATA


@WITH_AND_WITHOUT_DIGEST
@WITH_AND_WITHOUT_SIZE
def test_more_stored_than_the_source_has_starts_over(store, make, expected, size):
    left_behind(store, DATA + b"more")
    written = write_blob(store, "r", make(DATA), size=size, expected=expected)
    assert (written.info.digest, written.resumed_from) == (DIGEST, 0)


@WITH_AND_WITHOUT_DIGEST
def test_what_was_refused_is_never_resumed(store, make, expected):
    with store.writer("r") as writer:
        writer.write(OTHER)
        with pytest.raises(FailedPrecondition):
            writer.commit(len(OTHER), DIGEST)
    assert store.status("r").refused is not None
    written = write_blob(store, "r", make(DATA), expected=expected)
    assert (written.info.digest, written.resumed_from) == (DIGEST, 0)


def test_a_wrong_source_fails_and_does_not_loop(store, make):
    left_behind(store, OTHER[:HALF])
    with pytest.raises(FailedPrecondition):
        write_blob(store, "r", make(OTHER), expected=DIGEST)
    assert list_digests(store) == []
    assert store.status("r").refused == Digest.of(OTHER)
    assert write_blob(store, "r", make(DATA), expected=DIGEST).info.digest == DIGEST


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1])
def test_a_wrong_size_fails_and_keeps_the_ingest(store, size):
    with pytest.raises(FailedPrecondition):
        write_blob(store, "r", io.BytesIO(DATA), size=size)
    assert store.status("r").offset == len(DATA)
    assert list_digests(store) == []
    store.writer("r").close()


def test_a_files_size_is_not_assumed(store, tmp_path):
    path = tmp_path / "growing"
    path.write_bytes(DATA)
    totals = []
    with path.open("rb") as source:
        write_blob(store, "r", source, progress=lambda _: totals.append(store.status("r").total))
    assert set(totals) == {0}


def test_the_total_is_known_while_it_runs(store, make):
    seen = []
    write_blob(
        store, "r", make(DATA), size=len(DATA), progress=lambda _: seen.append(store.status("r"))
    )
    assert {status.total for status in seen} == {len(DATA)}


def test_progress_counts_the_whole(store, make_rewindable):
    left_behind(store)
    seen = []
    write_blob(store, "r", make_rewindable(DATA), expected=DIGEST, progress=seen.append)
    assert seen[0] > HALF
    assert seen[-1] == len(DATA)


def test_a_file_begins_where_it_stands(store, tmp_path):
    path = tmp_path / "source"
    path.write_bytes(b"head" + DATA)
    left_behind(store)
    with path.open("rb") as source:
        assert source.read(4) == b"head"
        written = write_blob(store, "r", source)
    assert (written.info.digest, written.resumed_from) == (DIGEST, HALF)


def test_a_real_pipe(store):
    read, write = os.pipe()

    def feed():
        with open(write, "wb") as sink:
            sink.write(DATA)

    feeder = threading.Thread(target=feed)
    feeder.start()
    with open(read, "rb") as source:
        written = write_blob(store, "r", source, expected=DIGEST)
    feeder.join()
    assert written.info.size == len(DATA)


def test_a_source_that_has_nothing_yet_has_not_ended(store):
    class Waiting(Pipe):
        def readinto(self, buffer):
            return self.inner.readinto(buffer) or None

    with pytest.raises((BlockingIOError, ContentError)):
        write_blob(store, "r", Waiting(DATA))
    assert list_digests(store) == []


@pytest.mark.parametrize("resumed", [True, False])
@WITH_AND_WITHOUT_DIGEST
@pytest.mark.parametrize("opener", [gzip.open, bz2.open, lzma.open], ids=["gz", "bz2", "xz"])
def test_what_a_decoder_yields_is_stored_not_what_it_reads(
    store, tmp_path, opener, expected, resumed
):
    path = tmp_path / "packed"
    with opener(path, "wb") as packed:
        packed.write(DATA)
    if resumed:
        left_behind(store)
    with opener(path, "rb") as source:
        written = write_blob(store, "r", source, expected=expected)
    assert (written.info.digest, written.resumed_from) == (DIGEST, HALF if resumed else 0)
    assert content(store, DIGEST) == DATA


def test_another_blob_is_a_source(store, open_again):
    store.put(DATA)
    store.put(b"x")
    with store.reader(DIGEST) as reader:
        written = write_blob(
            open_again(),
            "copy",
            ReaderFile(reader),
            expected=Digest.of(DATA, "sha512"),
            labels={"k": "v"},
        )
    assert written.info.digest == Digest.of(DATA, "sha512")


def test_what_exists_is_not_read(store, make):
    info = store.put(DATA, labels={"old": "1"})
    left_behind(store, b"untouched")

    def read(*_):
        raise AssertionError("the source was read")

    source = make(DATA)
    for name in ("read", "read1", "readinto", "read_at"):
        if hasattr(source, name):
            setattr(source, name, read)
    written = write_blob(store, "r", source, expected=DIGEST, labels={"new": "2"})
    assert (written.info, written.outcome, written.resumed_from) == (info, "existed", 0)
    assert store.status("r").offset == len(b"untouched")


def test_what_exists_is_found_while_the_ref_is_held(store):
    store.put(DATA)
    with store.writer("r"):
        assert write_blob(store, "r", io.BytesIO(DATA), expected=DIGEST).outcome == "existed"


def test_what_turns_out_to_exist_at_commit_is_success(store, make):
    info = store.put(DATA)
    written = write_blob(store, "r", make(DATA))
    assert (written.info, written.outcome) == (info, "existed")
    assert store.statuses() == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, OSError])
def test_an_interruption_leaves_a_resumable_ingest(store, error):
    def stop(offset):
        raise error("stop")

    # A store may take an OSError for one of its own.
    with pytest.raises((error, ContentError), match="stop"):
        write_blob(store, "r", io.BytesIO(DATA), expected=DIGEST, progress=stop)
    assert store.status("r").offset > 0
    written = write_blob(store, "r", io.BytesIO(DATA), expected=DIGEST)
    assert written.info.digest == DIGEST
    assert written.resumed_from > 0


def test_a_held_ref_is_refused_at_once(store):
    with store.writer("r"), pytest.raises(Locked):
        write_blob(store, "r", io.BytesIO(DATA))


def test_waiting_writers_find_the_blob(store):
    writer = store.writer("r")
    writer.write(DATA)
    outcomes = []

    def wait():
        written = write_blob(store, "r", io.BytesIO(DATA), expected=DIGEST, wait_s=None)
        outcomes.append(written.outcome)

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    writer.commit()
    for thread in threads:
        thread.join()
    assert outcomes == ["existed"] * 4


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self):
        self.now = 1000.0
        self.naps = []

    def sleep(self, seconds):
        assert seconds > 0
        self.naps.append(seconds)
        self.now += seconds


def test_waiting_backs_off_and_ends(store, holders_pid):
    clock = Clock()
    with store.writer("r"), pytest.raises(Locked) as caught:
        open_writer(store, "r", wait_s=10, clock=lambda: clock.now, sleep=clock.sleep)
    assert process_of(caught.value.holder) == holders_pid
    assert clock.now == pytest.approx(1010)
    assert 0.005 <= clock.naps[0] <= 0.010
    assert max(clock.naps) <= 0.5
    assert 20 <= len(clock.naps) <= 60


def test_not_waiting_does_not_sleep(store):
    clock = Clock()
    with store.writer("r"), pytest.raises(Locked):
        open_writer(store, "r", clock=lambda: clock.now, sleep=clock.sleep)
    assert clock.naps == []


def test_waiting_for_ever_gets_the_ref(store):
    clock, writer = Clock(), store.writer("r", total=7)

    def sleep(seconds):
        clock.sleep(seconds)
        if len(clock.naps) == 50:
            writer.close()

    with open_writer(store, "r", wait_s=None, clock=lambda: clock.now, sleep=sleep) as second:
        assert second.ref == "r"
    assert len(clock.naps) == 50
    assert not store.holders([ident(store, "r")])


@pytest.mark.parametrize("chunk_size", [1000, MIB, 100 * MIB])
def test_verified_chunks_are_the_blob(store, chunk_size):
    store.put(DATA[:50_000])
    chunks = list(verified_chunks(store, Digest.of(DATA[:50_000]), chunk_size))
    assert b"".join(chunks) == DATA[:50_000]
    assert all(len(chunk) == chunk_size for chunk in chunks[:-1])


def test_verification_of_every_algorithm(store):
    for algorithm in ("sha256", "sha384", "sha512"):
        digest = Digest.of(DATA, algorithm)
        store.put(DATA, expected=digest)
        seen = []
        verify(store, digest, seen.append)
        assert seen[-1] == len(DATA)


def test_verification_of_nothing(store):
    with pytest.raises(NotFound):
        verify(store, DIGEST)
    with pytest.raises(InvalidArgument):
        verified_chunks(store, DIGEST, 0)


class Altered:
    """A store whose reader yields other bytes than were committed."""

    def __init__(self, store, data):
        self.store = store
        self.data = data

    def info(self, digest):
        return self.store.info(digest)

    def reader(self, digest):
        return type(self.store.reader(digest))(self.data)


@pytest.mark.parametrize("data", [b"12x45", b"1234", b"123456", b"", b"12345" * 999])
def test_altered_bytes_are_told_at_the_end(data):
    store = MemoryStore()
    digest = store.put(b"12345").digest
    with pytest.raises(DataLoss, match=digest):
        list(verified_chunks(Altered(store, data), digest, 2))
    with pytest.raises(DataLoss) as caught:
        verify(Altered(store, data), digest)
    assert "delete it" in caught.value.advice
