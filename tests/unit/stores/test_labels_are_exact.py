"""A blob has exactly its commit's labels, and no error of a look at them makes them less."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from contentui.content.digest import Digest
from contentui.content.errors import ContentError, NotFound, Unavailable
from contentui.stores.local.blob_names import BlobNames
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LABELS = {"containerd.io/gc.root": "yes"}


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "store"))


def committed(store: LocalStore, data: bytes) -> None:
    with store.writer("ref") as writer:
        writer.write(data)
        writer.commit()


STORING: dict[str, Callable[[LocalStore, bytes], object]] = {
    "put": lambda store, data: store.put(data),
    "put_many": lambda store, data: store.put_many([data, b"other"]),
    "commit": committed,
}


@pytest.fixture(params=STORING, ids=str)
def stored(request: pytest.FixtureRequest) -> Callable[[LocalStore, bytes], object]:
    return STORING[request.param]


@pytest.mark.parametrize("code", [errno.ESTALE, errno.EIO, errno.ENOMEM, errno.EACCES])
def test_a_failed_look_never_replaces_the_database(store, monkeypatch, code):
    blob = store.put(b"labelled", labels=LABELS).digest
    real = os.stat

    def failing(path, *arguments, **more):
        if str(path).endswith("labels.db"):
            raise OSError(code, os.strerror(code))
        return real(path, *arguments, **more)

    again = LocalStore(store.name)
    monkeypatch.setattr(os, "stat", failing)
    for deed in (
        lambda: again.put(b"another", labels={"a": "b"}),
        lambda: again.update(blob, {"a": "b"}),
    ):
        with pytest.raises(ContentError):
            deed()
    monkeypatch.undo()
    for one in (store, again, LocalStore(store.name)):
        assert one.info(blob).labels == LABELS


def test_a_database_that_appears_meanwhile_stays(store, monkeypatch):
    """Two processes that make it at once: the first one's stays, whatever the other believed."""
    blob = store.put(b"labelled", labels=LABELS).digest
    again = LocalStore(store.name)
    monkeypatch.setattr(again._labels._database, "exists", lambda: False)
    again._labels.create(complete=False)
    assert LocalStore(store.name).info(blob).labels == LABELS


def test_labels_of_a_file_that_was_removed_by_hand_are_gone(store, stored):
    digest = store.put(b"data", labels=LABELS).digest
    os.unlink(store.path(digest))
    stored(store, b"data")
    assert store.info(digest).labels == {}
    assert LocalStore(store.name).info(digest).labels == {}


KILLED = """
import os, signal, sys
from contentui.stores.local import blob_names
from contentui.stores.local.store import LocalStore
def killed(new):
    os.kill(os.getpid(), signal.SIGKILL)
blob_names._name_all = killed
LocalStore(sys.argv[1]).put(b"data", labels={"containerd.io/gc.root": "yes"})
"""


def test_labels_of_one_that_was_killed_before_its_blob_had_a_name_are_gone(store, stored):
    store.put(b"first")
    done = subprocess.run([sys.executable, "-c", KILLED, store.name], check=False)
    assert done.returncode == -9
    digest = Digest.of(b"data")
    assert store.orphan_labels() == [digest]
    stored(store, b"data")
    assert store.info(digest).labels == {}
    assert store.orphan_labels() == []


def test_other_labels_replace_those_of_a_predecessor(store):
    digest = store.put(b"data", labels=LABELS).digest
    os.unlink(store.path(digest))
    assert store.put(b"data", labels={"a": "b"}).labels == {"a": "b"}
    assert store.info(digest).labels == {"a": "b"}


def test_an_update_that_races_a_deletion_leaves_nothing_for_the_next_blob(store):
    """`update` either comes first, or finds no blob."""
    other = LocalStore(store.name)
    digest = Digest.of(b"data")
    missed = 0
    for _ in range(400):
        store.put(b"data", labels={"a": "b"})
        thread = threading.Thread(target=lambda: store.delete(digest))
        thread.start()
        try:
            other.update(digest, LABELS)
        except NotFound:
            missed += 1
        thread.join()
        assert store.put(b"data").labels == {}
        assert store.info(digest).labels == {}
        store.delete(digest)
    assert store.orphan_labels() == []
    assert 0 < missed <= 400


def test_labels_of_whoever_loses_the_name_are_gone(store, monkeypatch):
    """A commit without labels takes no lock: it may create the name after labels were written."""
    from contentui.stores.local.labels import Labels

    store.put(b"first", labels={"a": "b"})
    real = Labels.write

    def write(self, rows, without, now):
        real(self, rows, without, now)
        monkeypatch.setattr(Labels, "write", real)
        monkeypatch.setattr(Labels, "digests_with_rows", lambda *_: set())  # it had looked before
        LocalStore(store.name).put(b"data")

    monkeypatch.setattr(Labels, "write", write)
    store.put(b"data", labels=LABELS)
    assert store.info(Digest.of(b"data")).labels == {}


def test_orphans_are_collected(store):
    digests = [store.put(b"%d" % n, labels=LABELS).digest for n in range(3)]
    for digest in digests[:2]:
        os.unlink(store.path(digest))
    assert sorted(store.orphan_labels()) == sorted(digests[:2])
    assert sorted(store.drop_orphan_labels(digests)) == sorted(digests[:2])
    assert store.orphan_labels() == []
    assert store.info(digests[2]).labels == LABELS


def test_a_commit_without_labels_writes_nothing_where_there_is_no_row(store):
    store.put(b"labelled", labels=LABELS)
    before = os.stat(store._labels.path)
    naming = os.path.join(store.name, ".contentui", "naming")
    os.unlink(naming)
    for stored in STORING.values():
        stored(store, b"plain " + str(stored).encode())
    after = os.stat(store._labels.path)
    assert (after.st_mtime_ns, after.st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns)
    assert not os.path.exists(naming)  # no process took the lock


def test_a_blob_that_is_deleted_before_it_is_named_again_gets_its_labels(store, monkeypatch):
    """What was there under the lock is not named in that round, though `rm` takes it away."""
    digest = store.put(b"data", labels={"old": "labels"}).digest
    real, path = BlobNames.stat, store.path(digest)
    looks = iter([real(store._blobs.names, digest)])

    def gone_after_the_look(names, asked):
        found = real(names, asked)
        if asked == digest and next(looks, None) is not None:
            os.unlink(path)
        return found

    monkeypatch.setattr(store._blobs, "_stored", lambda *_: None)  # it looked before
    monkeypatch.setattr(BlobNames, "stat", gone_after_the_look)
    with contextlib.suppress(Unavailable):
        store.put(b"data", labels={"new": "labels"})
    assert store.info(digest).labels == {"new": "labels"}


def test_a_listing_shows_no_labels_of_a_predecessor(store, monkeypatch):
    digest = store.put(b"data", labels=LABELS).digest
    real = store._labels.all

    def removed_meanwhile():
        labels = real()
        os.unlink(store.path(digest))
        LocalStore(store.name).put(b"data", labels={"new": "labels"})
        return labels

    monkeypatch.setattr(store._labels, "all", removed_meanwhile)
    assert [info.labels for info in store.walk()] == [{"new": "labels"}]


def test_a_listing_after_the_clock_was_set_back_asks_for_no_blob_by_itself(store, monkeypatch):
    """Files whose time is ahead of the clock are not taken for new ones, one by one."""
    for n in range(5):
        store.put(b"%d" % n, labels=LABELS)
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() - 3600 * 10**9)
    monkeypatch.setattr(store._blobs, "info", lambda *_: pytest.fail("asked by itself"))
    assert [info.labels for info in store.walk()] == [LABELS] * 5


def test_a_look_at_a_blob_renames_nothing_when_a_sync_fails(store, monkeypatch):
    digest = store.put(b"data").digest

    def failing(_fd):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", failing)
    monkeypatch.setattr(os, "rename", lambda *_, **__: pytest.fail("renamed"))
    with pytest.raises(ContentError):
        store.info(digest)
    monkeypatch.undo()
    assert store.info(digest).digest == digest
