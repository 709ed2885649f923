"""Content that others delete meanwhile, foreign changes, Ctrl-C, dropped writers, forks."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from contentui.content.digest import Digest
from contentui.content.errors import (
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from contentui.content.helpers import write_blob
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "store"))


@pytest.fixture
def deleter(store: LocalStore) -> Iterator[None]:
    """Deletes whatever blob it sees, all the time, as another process would."""
    code = (
        "import sys\n"
        "from contentui.content.errors import ContentError\n"
        "from contentui.stores.local.store import LocalStore\n"
        "store = LocalStore(sys.argv[1])\n"
        "print(flush=True)\n"
        "while True:\n"
        "    for digest in store.digests():\n"
        "        try: store.delete(digest)\n"
        "        except ContentError: pass\n"
    )
    store.put(b"so that there is a store")
    process = subprocess.Popen(
        [sys.executable, "-c", code, store.name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield
    process.kill()
    process.wait()


@pytest.mark.usefixtures("deleter")
@pytest.mark.parametrize("labels", [{}, {"a": "b"}], ids=["plain", "labelled"])
def test_content_that_is_deleted_meanwhile_is_stored_all_the_same(store, labels):
    data = b"data"
    digest = Digest.of(data)
    for n in range(150 if not labels else 40):
        assert store.put(data, labels=labels).digest == digest
        assert next(info.digest for info in store.put_many([data, b"x"], labels=labels)) == digest
        with store.writer(f"ref {n}", labels=labels) as writer:
            writer.write(data)
            with contextlib.suppress(AlreadyExists):
                assert writer.commit().digest == digest
        with open(__file__, "rb") as source:
            write_blob(store, "file", source, labels=labels)
    assert store.statuses() == []


# -- foreign changes


def test_a_change_whose_time_is_set_back_is_noticed(store):
    writer = store.writer("ref")
    writer.write(b"a" * 1000)
    path = os.path.join(store.name, "ingest", writer.status().id, "data")
    before = os.stat(path)
    time.sleep(0.02)  # past the tick of the file system's clock
    with open(path, "r+b") as file:
        file.write(b"b")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DataLoss, match="changed the ingest's data"):
        writer.commit()
    assert store.digests() == []


def test_a_change_of_times_alone_is_none(store):
    writer = store.writer("ref")
    writer.write(b"a" * 1000)
    path = os.path.join(store.name, "ingest", writer.status().id, "data")
    os.utime(path)
    assert writer.commit().digest == Digest.of(b"a" * 1000)


def test_bytes_are_hashed_once(store, monkeypatch):
    """Without a doubt nothing is read again."""
    monkeypatch.setattr(os, "preadv", lambda *_: pytest.fail("read again"))
    with store.writer("ref", total=10) as writer:
        writer.write(b"a" * 10)
        writer.commit(labels={"a": "b"})


# -- times and sizes


def test_committed_is_the_time_of_the_commit(store):
    writer = store.writer("ref")
    writer.write(b"data")
    time.sleep(0.05)
    before = time.time_ns()
    info = writer.commit()
    assert before <= info.committed_ns <= time.time_ns()
    assert store.info(info.digest).committed_ns == info.committed_ns


def test_updated_stays_when_an_ingest_is_opened_and_closed(store):
    with store.writer("ref") as writer:
        writer.write(b"data")
    before = store.status("ref").updated_ns
    time.sleep(0.02)
    with store.writer("ref") as writer:
        assert writer.status().updated_ns == before
    assert store.status("ref").updated_ns == before


def test_a_total_has_63_bits(store):
    store.writer("ref", total=(1 << 63) - 1).close()
    with pytest.raises(InvalidArgument, match="total"):
        store.writer("other", total=1 << 63)
    assert [status.ref for status in store.statuses()] == ["ref"]


# -- Ctrl-C


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Also where the tests run in the background, which ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


CALLS = ("pwrite", "fstat", "ftruncate", "fsync", "rename", "unlink", "rmdir", "open", "close")


def interrupt(monkeypatch: pytest.MonkeyPatch, at: int, *, after: bool) -> list[int]:
    """Raise SIGINT's exception around the call number ``at``; the count so far is in the list."""
    count = [0]

    def wrapped(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **more: object) -> object:
            counts = threading.current_thread() is threading.main_thread()
            count[0] += counts
            if counts and count[0] == at and not after:
                signal.raise_signal(signal.SIGINT)
            try:
                return real(*arguments, **more)
            finally:  # also after a call that fails, such as opening a file that is missing
                if counts and count[0] == at and after:
                    signal.raise_signal(signal.SIGINT)

        return call

    for name in CALLS:
        monkeypatch.setattr(os, name, wrapped(getattr(os, name)))
    return count


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("labels", [{}, {"a": "b"}], ids=["plain", "labelled"])
def test_ctrl_c_at_any_call_stays_one_and_leaves_a_usable_store(store, monkeypatch, labels, after):
    store.put(b"first", labels={"a": "b"})
    at = interrupted = 0
    while True:
        at += 1
        # Python ignores exceptions in __del__: what earlier rounds left is closed before.
        one = writer = None
        gc.collect()
        gc.disable()
        count = interrupt(monkeypatch, at, after=after)
        ref = f"ref {at}"
        try:
            with store.writer(ref) as writer:
                writer.write(b"%d" % at)
                writer.write(b" more")
                writer.commit(labels=labels)
        except KeyboardInterrupt:
            interrupted += 1
        finally:
            monkeypatch.undo()
            gc.enable()
        if count[0] < at:
            break
        gc.collect()
        for one in (store, LocalStore(store.name)):
            with one.writer(ref) as writer:
                assert writer.offset in {0, len(b"%d" % at), len(b"%d more" % at)}
                writer.truncate(0)
                writer.write(b"%d again" % at)
                assert writer.commit(labels={"c": "d"}).labels == {"c": "d"}
            one.delete(Digest.of(b"%d again" % at))
    assert interrupted == at - 1 > 20
    assert store.statuses() == []
    for digest in store.digests():
        assert store.info(digest).labels in ({"a": "b"}, labels)


def test_ctrl_c_within_write_is_no_data_loss(store):
    """A signal at a random moment, and the same writer goes on."""
    writer = store.writer("ref")
    main = threading.get_ident()
    block = bytes(1 << 20)
    expected = interrupted = 0
    for n in range(60):
        timer = threading.Timer(0.0005 * (n % 12), lambda: signal.pthread_kill(main, signal.SIGINT))
        try:
            timer.start()
            for _ in range(40):
                writer.write(block)
            timer.join()
            time.sleep(0.01)
        except KeyboardInterrupt:
            interrupted += 1
        timer.join()
        assert writer.offset >= expected
        if writer.offset > 200 << 20:
            writer.truncate(0)
        expected = writer.offset
    assert interrupted > 30
    size = writer.offset
    assert writer.commit().digest == Digest.of(bytes(size))


# -- writers that are dropped, and forks


def test_a_writer_that_is_dropped_lets_go(store):
    writer = store.writer("ref")
    writer.write(b"data")
    gc.collect()
    fds = len(os.listdir("/proc/self/fd"))
    del writer
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == fds - 2
    assert store.holders([store.status("ref").id]) == {}
    assert LocalStore(store.name).writer("ref").offset == 4


def test_a_store_that_is_dropped_closes_its_descriptors(tmp_path):
    def use() -> None:
        store = LocalStore(str(tmp_path))
        store.put(b"data", labels={"a": "b"})
        with store.writer("ref") as writer:
            writer.write(b"data")
        assert list(store.walk())
        with store.reader(store.digests()[0]) as reader:
            reader.read_at(4, 0)

    use()
    gc.collect()
    fds = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        use()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == fds


def in_child(deed: Callable[[], object]) -> int:
    """Run it in a forked child; its exit code: 0 when it returned within 10 s."""
    pid = os.fork()
    if not pid:
        try:
            signal.alarm(10)
            deed()
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_can_use_the_store_whatever_the_parents_threads_do(store):
    store.put(b"labelled", labels={"a": "b"})
    ends = threading.Event()

    def work() -> None:
        n = 0
        while not ends.is_set():
            n += 1
            store.put(b"%d" % n, labels={"a": "b"})
            with store.writer("ref") as writer:
                writer.write(b"x")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for n in range(30):
            assert (
                in_child(
                    lambda n=n: [store.put(b"child %d" % n, labels={"a": "b"}), store.digests()]
                )
                == 0
            )
    finally:
        ends.set()
        thread.join()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_cannot_commit_its_parents_writer(store):
    writer = store.writer("ref")
    writer.write(b"data")

    def child() -> None:
        for deed in (writer.commit, lambda: writer.write(b"x"), lambda: writer.truncate(0)):
            with pytest.raises(FailedPrecondition, match="parent process"):
                deed()
        writer.close()
        with pytest.raises(NotFound):
            store.info(Digest.of(b"data"))

    assert in_child(child) == 0
    assert store.holders([writer.status().id]) != {}  # the child's end freed nothing
    assert writer.commit().digest == Digest.of(b"data")
