"""The writer's life: new, resumed, truncated, refused, committed, closed."""

from __future__ import annotations

import errno
import io
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from idents import ident

from contentui.content.digest import EMPTY, Digest
from contentui.content.errors import (
    AlreadyExists,
    ContentError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from contentui.content.helpers import list_digests

DATA = b"some bytes, " * 50_000


def left_behind(store, ref="r", data=b"half", **options):
    """An idle ingest."""
    with store.writer(ref, **options) as writer:
        writer.write(data)
    return store.status(ref)


def poisoned(store, ref="r", data=b"wrong"):
    with store.writer(ref, total=len(data)) as writer:
        writer.write(data)
        with pytest.raises(FailedPrecondition):
            writer.commit(len(data), Digest.of(b"right"))
    return store.status(ref)


def content(store, digest):
    with store.reader(digest) as reader:
        return reader.read_at(reader.size + 1, 0)


def test_a_new_ingest(store):
    before = time.time_ns()
    with store.writer("a ref", total=20) as writer:
        assert (writer.ref, writer.offset, writer.digest()) == ("a ref", 0, EMPTY)
        status = store.status("a ref")
        assert (status.ref, status.offset, status.total) == ("a ref", 0, 20)
        assert (status.id, status.damage, status.refused) == (ident(store, "a ref"), "", None)
        assert before - 20_000_000 <= status.started_ns <= time.time_ns()
        assert before - 20_000_000 <= status.updated_ns <= time.time_ns()


def test_written_bytes_count_at_once(store):
    with store.writer("r") as writer:
        for data in (b"bytes", bytearray(b"array"), memoryview(b"view"), b""):
            writer.write(data)
        assert writer.offset == store.status("r").offset == writer.status().offset == 14
        assert writer.digest() == Digest.of(b"bytesarrayview")
        assert list_digests(store) == []


def test_commit_makes_the_blob_and_ends_the_ingest(store):
    with store.writer("r") as writer:
        writer.write(DATA)
        info = writer.commit(len(DATA), Digest.of(DATA), {"k": "v"})
    assert (info.digest, info.size, info.labels) == (Digest.of(DATA), len(DATA), {"k": "v"})
    assert store.info(info.digest) == info
    assert content(store, info.digest) == DATA
    assert store.statuses() == []
    with pytest.raises(NotFound):
        store.status("r")


def test_commit_falls_back_on_what_was_given_at_opening(store):
    digest = Digest.of(DATA)
    with store.writer("r", expected=digest, labels={"k": "v"}) as writer:
        assert writer.status().expected == digest
        writer.write(DATA)
        assert writer.commit().labels == {"k": "v"}
    with store.writer("r", expected=Digest.of(b"1"), labels={"k": "v"}) as writer:
        writer.write(b"2")
        assert writer.commit(expected=Digest.of(b"2"), labels={}).labels == {}


def test_a_total_is_no_size_to_insist_on(store):
    with store.writer("r", total=100) as writer:
        writer.write(b"short")
        assert writer.commit().size == 5


def test_writing_past_the_total_is_allowed(store):
    with store.writer("r", total=2) as writer:
        writer.write(b"longer")
        assert writer.commit().size == 6


def test_the_empty_blob(store):
    with store.writer("r") as writer:
        assert writer.commit(0, EMPTY).digest == EMPTY
    assert store.info(EMPTY).size == 0


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("at_opening", [True, False])
def test_every_algorithm(store, algorithm, at_opening):
    digest = Digest.of(DATA, algorithm)
    with store.writer("r", expected=digest if at_opening else None) as writer:
        writer.write(DATA)
        assert writer.digest() == Digest.of(DATA, algorithm if at_opening else "sha256")
        assert writer.commit(expected=digest).digest == digest
    assert content(store, digest) == DATA


def test_every_algorithm_when_resumed(store):
    left_behind(store, data=DATA[:1000])
    digest = Digest.of(DATA, "sha512")
    with store.writer("r", expected=digest) as writer:
        assert writer.digest() == Digest.of(DATA[:1000], "sha512")
        writer.write(DATA[1000:])
        assert writer.commit().digest == digest


def test_close_keeps_the_ingest_and_resuming_hashes_it_again(store, open_again):
    first = left_behind(store, data=DATA[:70_000], total=len(DATA))
    with open_again().writer("r") as writer:
        assert writer.offset == 70_000
        assert writer.digest() == Digest.of(DATA[:70_000])
        writer.write(DATA[70_000:])
        status = writer.status()
        assert (status.started_ns, status.total) == (first.started_ns, len(DATA))
        assert status.updated_ns >= first.updated_ns
        assert writer.commit().digest == Digest.of(DATA)
    assert content(store, Digest.of(DATA)) == DATA


def test_leaving_by_an_error_closes_and_keeps(store):
    def interrupted():
        with store.writer("r") as writer:
            writer.write(b"kept")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert store.status("r").offset == 4
    store.writer("r").close()


def test_close_twice(store):
    writer = store.writer("r")
    writer.close()
    writer.close()
    with store.writer("r"):
        writer.close()  # a dead writer doesn't free a living one's ref
        assert store.holders([ident(store, "r")])


def test_truncate_starts_over(store):
    left_behind(store, data=b"old bytes", total=9)
    with store.writer("r") as writer:
        writer.truncate(0)
        assert (writer.offset, writer.digest()) == (0, EMPTY)
        assert (store.status("r").offset, store.status("r").total) == (0, 9)
        writer.write(b"new")
        assert writer.commit().digest == Digest.of(b"new")
    assert content(store, Digest.of(b"new")) == b"new"


def test_truncate_keeps_the_algorithm(store):
    with store.writer("r", expected=Digest.of(b"new", "sha512")) as writer:
        writer.write(b"old")
        writer.truncate(0)
        writer.write(b"new")
        assert writer.commit().digest == Digest.of(b"new", "sha512")


@pytest.mark.parametrize("size", [1, 4, -1])
def test_truncate_knows_only_zero(store, size):
    with store.writer("r") as writer:
        writer.write(b"kept")
        with pytest.raises(InvalidArgument):
            writer.truncate(size)
        assert (writer.offset, writer.digest()) == (4, Digest.of(b"kept"))


def test_a_contradicting_total_starts_over(store):
    left_behind(store, data=b"old bytes", total=20)
    with store.writer("r", total=3) as writer:
        assert (writer.offset, writer.digest(), writer.status().total) == (0, EMPTY, 3)
        writer.write(b"new")
        assert writer.commit(3).digest == Digest.of(b"new")
    assert content(store, Digest.of(b"new")) == b"new"


@pytest.mark.parametrize(("stored", "given"), [(20, 20), (20, 0), (0, 20), (0, 0)])
def test_any_other_total_resumes(store, stored, given):
    left_behind(store, data=b"old", total=stored)
    with store.writer("r", total=given) as writer:
        assert writer.offset == 3
        writer.write(b"er")
        assert writer.commit().digest == Digest.of(b"older")


def test_opening_with_an_existing_expected_keeps_the_ingest(store):
    before = left_behind(store, data=b"half")
    digest = store.put(b"whole").digest
    with pytest.raises(AlreadyExists):
        store.writer("r", expected=digest)
    assert store.status("r") == before
    store.writer("r").close()  # and the ref is free


def test_opening_a_new_ref_with_an_existing_expected_leaves_nothing(store):
    digest = store.put(b"whole").digest
    with pytest.raises(AlreadyExists):
        store.writer("new", expected=digest)
    assert store.statuses() == []


@pytest.mark.parametrize("name_it", [True, False])
def test_committing_what_exists_removes_the_ingest(store, name_it):
    info = store.put(b"whole", labels={"old": "1"})
    with store.writer("r") as writer:
        writer.write(b"whole")
        with pytest.raises(AlreadyExists):
            writer.commit(expected=info.digest if name_it else None, labels={"new": "2"})
    assert store.statuses() == []
    assert store.info(info.digest) == info
    store.writer("r").close()


@pytest.mark.parametrize("labels", [None, {}, {"new": "2"}])
@pytest.mark.parametrize("by", ["writer", "put", "put_many"])
def test_what_exists_keeps_its_labels(store, open_again, by, labels):
    info = store.put(b"whole", labels={"old": "1"})
    if by == "put":
        assert store.put(b"whole", labels=labels) == info
    elif by == "put_many":
        assert store.put_many([b"whole"], labels=labels) == [info]
    else:
        with store.writer("r", labels=labels) as writer:
            writer.write(b"whole")
            with pytest.raises(AlreadyExists):
                writer.commit()
    assert open_again().info(info.digest) == info


def test_what_the_writer_wants_is_seen_from_outside(store, open_again):
    digest = Digest.of(b"wanted", "sha512")
    with store.writer("r", expected=digest) as writer:
        writer.write(b"want")
        assert open_again().status("r").expected == digest
        assert open_again().statuses()[0].expected == digest
        writer.write(b"ed")
        assert writer.commit().digest == digest


def test_sixteen_threads_commit_the_same_content(store):
    def ingest(number):
        with store.writer(f"ref {number}") as writer:
            writer.write(DATA)
            try:
                return writer.commit(labels={"by": str(number)})
            except AlreadyExists:
                return None

    with ThreadPoolExecutor(16) as pool:
        made = [info for info in pool.map(ingest, range(16)) if info]
    assert len(made) == 1
    assert list(store.walk()) == made
    assert content(store, made[0].digest) == DATA
    assert store.statuses() == []


@pytest.mark.parametrize("size", [0, 3, 5])
def test_a_wrong_size_keeps_the_ingest_and_frees_the_ref(store, size):
    writer = store.writer("r")
    writer.write(b"four")
    with pytest.raises(FailedPrecondition):
        writer.commit(size, Digest.of(b"four"))
    assert list_digests(store) == []
    assert store.status("r").refused is None
    with store.writer("r") as again:
        assert again.offset == 4
        assert again.commit(4, Digest.of(b"four")).size == 4


def test_a_wrong_digest_keeps_the_ingest_frees_the_ref_and_marks_it(store):
    status = poisoned(store)
    assert list_digests(store) == []
    assert (status.offset, status.refused) == (5, Digest.of(b"wrong"))
    assert status.damage == ""
    [listed] = store.statuses()
    assert listed.refused == Digest.of(b"wrong")
    assert store.refresh([status])[0].offset == 5
    assert not store.holders([status.id])


def test_every_view_sees_the_mark(store, open_again):
    poisoned(store)
    [listed] = open_again().statuses()
    assert listed.refused == Digest.of(b"wrong")


def test_the_mark_stays_while_the_bytes_do(store):
    poisoned(store)
    with store.writer("r") as writer:
        assert writer.status().refused == Digest.of(b"wrong")
    assert store.status("r").refused == Digest.of(b"wrong")


def test_the_mark_goes_with_truncation(store):
    poisoned(store)
    with store.writer("r") as writer:
        writer.truncate(0)
        assert writer.status().refused is None
    assert store.status("r").refused is None


def test_the_mark_goes_with_truncation_from_outside(store):
    poisoned(store)
    store.truncate("r")
    assert store.status("r").refused is None
    with store.writer("r") as writer:
        writer.write(b"wrong")  # the same bytes again, but nobody has refused these
        assert writer.status().refused is None


def test_the_mark_goes_with_more_bytes(store):
    poisoned(store)
    with store.writer("r") as writer:
        writer.write(b", and more")
        assert writer.status().refused is None
    assert store.status("r").refused is None


def test_the_mark_goes_with_the_ingest(store):
    status = poisoned(store)
    store.abort("r")
    assert left_behind(store, data=b"wrong").refused is None
    assert store.status(status.ref).refused is None


def test_a_marked_ingest_can_be_committed_as_what_it_is(store):
    poisoned(store)
    with store.writer("r") as writer:
        assert writer.commit(expected=Digest.of(b"wrong")).digest == Digest.of(b"wrong")
    assert left_behind(store, data=b"").refused is None


def test_a_marked_ingest_can_be_committed_without_an_expected_digest(store):
    poisoned(store)
    with store.writer("r") as writer:
        assert writer.commit().digest == Digest.of(b"wrong")
    assert content(store, Digest.of(b"wrong")) == b"wrong"


def test_a_marked_ingest_is_refused_again_where_another_digest_is_expected(store):
    poisoned(store)
    writer = store.writer("r")
    with pytest.raises(FailedPrecondition):
        writer.commit(expected=Digest.of(b"right"))
    assert store.status("r").refused == Digest.of(b"wrong")
    assert list_digests(store) == []


@pytest.mark.parametrize("change", ["opened", "written", "copied", "truncated"])
def test_closing_and_reopening_keep_the_times(store, change):
    for index in range(10):
        with store.writer(f"r{index}") as writer:
            if change != "opened":
                writer.write(b"bytes")
            if change == "copied":
                writer.append_from(io.BytesIO(b"bytes"))
            if change == "truncated":
                writer.truncate(0)
            within = writer.status()
        after = store.status(f"r{index}")
        with store.writer(f"r{index}") as writer:
            again = writer.status()
        times = (within.started_ns, within.updated_ns)
        assert (after.started_ns, after.updated_ns) == times
        assert (again.started_ns, again.updated_ns) == times


@pytest.mark.parametrize("end", ["close", "commit", "failed commit"])
def test_a_dead_writer_refuses_everything(store, end):
    writer = store.writer("r")
    writer.write(b"x")
    if end == "close":
        writer.close()
    elif end == "commit":
        writer.commit()
    else:
        with pytest.raises(FailedPrecondition):
            writer.commit(99)
    for call in (
        lambda: writer.write(b"x"),
        lambda: writer.append_from(io.BytesIO(b"x")),
        lambda: writer.truncate(0),
        lambda: writer.commit(),
    ):
        with pytest.raises(FailedPrecondition):
            call()
    assert [status.offset for status in store.statuses()] == ([] if end == "commit" else [1])


def test_an_error_while_appending_leaves_what_came_counted_and_hashed(store):
    class Broken(io.RawIOBase):
        left = 3

        def readable(self):
            return True

        def readinto(self, buffer):
            self.left -= 1
            if self.left < 0:
                raise OSError("the cable was cut")
            buffer[:1000] = bytes(1000)
            return 1000

    with store.writer("r") as writer:
        with pytest.raises((OSError, ContentError), match="cable"):
            writer.append_from(Broken())
        assert writer.offset <= 3000
        assert writer.digest() == Digest.of(bytes(writer.offset))
        writer.write(b"more")
        assert writer.commit().digest == Digest.of(bytes(writer.offset - 4) + b"more")


def source_of(kind, path, data):
    """A source that stands at the beginning of ``data``, behind a prefix."""
    path.write_bytes(b"prefix" + data)
    if kind == "memory":
        source = io.BytesIO(path.read_bytes())
    else:
        mode, buffering = {"raw": ("rb", 0), "buffered": ("rb", 4096), "both": ("r+b", 4096)}[kind]
        source = path.open(mode, buffering)
    source.read(6)  # a buffered file's descriptor is ahead of it now
    return source


@pytest.mark.parametrize("kind", ["raw", "buffered", "both", "memory"])
@pytest.mark.parametrize("size", [0, 1, 5000, 3_000_000])
def test_append_from_begins_at_the_logical_position(store, tmp_path, kind, size):
    data = os.urandom(size)
    with store.writer("r") as writer, source_of(kind, tmp_path / "source", data) as source:
        writer.write(b"before ")
        assert writer.append_from(source) == size
        assert writer.offset == size + 7
        assert writer.digest() == Digest.of(b"before " + data)
        writer.write(b" behind")
        digest = writer.commit().digest
    assert digest == Digest.of(b"before " + data + b" behind")
    assert content(store, digest) == b"before " + data + b" behind"


@pytest.mark.parametrize("buffering", [0, 4096])
def test_append_from_a_pipe(store, buffering):
    read, write = os.pipe()
    with open(read, "rb", buffering=buffering) as source, store.writer("r") as writer:
        with open(write, "wb") as sink:
            sink.write(b"first " + b"x" * 5000)
        assert source.read(6) == b"first "
        assert writer.append_from(source) == 5000
        assert writer.commit().digest == Digest.of(b"x" * 5000)


def test_append_from_tells_its_progress(store):
    seen = []
    with store.writer("r") as writer:
        writer.write(b"1234")
        writer.append_from(io.BytesIO(DATA), seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == len(DATA) + 4


def test_progress_may_interrupt(store):
    def stop(offset):
        raise KeyboardInterrupt

    def interrupted():
        with store.writer("r") as writer:
            writer.append_from(io.BytesIO(DATA * 10), stop)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with store.writer("r") as writer:
        assert 0 < writer.offset <= len(DATA * 10)
        assert writer.digest() == Digest.of((DATA * 10)[: writer.offset])


@pytest.mark.parametrize("total", [-1, -(10**30)])
def test_a_negative_total_is_refused(store, total):
    with pytest.raises(InvalidArgument):
        store.writer("r", total=total)
    assert store.statuses() == []


class BreakingSource(io.RawIOBase):
    """Yields ten bytes, then fails as a connection does."""

    def __init__(self):
        self.pieces = [b"hello", b"world"]

    def readable(self):
        return True

    def readinto(self, buffer):
        if not self.pieces:
            raise ConnectionResetError(errno.ECONNRESET, "reset")
        piece = self.pieces.pop(0)
        buffer[: len(piece)] = piece
        return len(piece)


def test_a_source_that_fails_keeps_its_own_error_and_the_bytes_before_it(store):
    writer = store.writer("r")
    with pytest.raises(ConnectionResetError):
        writer.append_from(BreakingSource())
    assert (writer.offset, writer.digest()) == (10, Digest.of(b"helloworld"))
    writer.close()
    assert store.status("r").offset == 10
