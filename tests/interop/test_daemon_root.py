"""A real containerd's own directory opens read-only; a copy without its database is ours."""

from __future__ import annotations

import hashlib
import shutil
import time
from typing import TYPE_CHECKING

import pytest
from interop_live import MIB, Live, await_true

from contentui.content.digest import Digest
from contentui.content.errors import ReadOnly
from contentui.content.model import ingest_id
from contentui.monitor.states import default_thresholds
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

HALF = "default/1/half"


def tree(root: Path) -> dict[str, tuple[int, int]]:
    """Every path with its size and time of change."""
    return {
        str(path.relative_to(root)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in root.rglob("*")
    }


def settled_tree(root: Path) -> dict[str, tuple[int, int]]:
    """The tree once the daemon itself has stopped changing it."""
    before = tree(root)
    while time.sleep(0.5) or (now := tree(root)) != before:
        before = now
    return before


def test_the_daemons_own_root_is_read_only_with_a_reason(containerd: Live) -> None:
    store = LocalStore(str(containerd.content))
    assert store.traits.read_only_reason
    assert "containerd" in store.traits.read_only_reason.lower()


@pytest.mark.parametrize("change", ["writer", "put", "abort", "truncate", "delete"])
def test_nothing_can_be_changed_there(containerd: Live, change: str) -> None:
    store = LocalStore(str(containerd.content))
    blob = next(info for info in store.walk() if info.size)
    before = settled_tree(containerd.content)
    changes = {
        "writer": lambda: store.writer("new"),
        "put": lambda: store.put(b"new"),
        "abort": lambda: store.abort(HALF, force=True),
        "truncate": lambda: store.truncate(HALF),
        "delete": lambda: store.delete(blob.digest),
    }
    with pytest.raises(ReadOnly):
        changes[change]()
    assert tree(containerd.content) == before


def test_the_same_blobs_with_the_same_bytes(containerd: Live) -> None:
    store = LocalStore(str(containerd.content))
    theirs = containerd.output("content", "ls", "-q").decode().split()
    assert sorted(store.digests()) == sorted(theirs)
    assert sorted(info.digest for info in store.walk()) == sorted(theirs)
    for digest in theirs:
        with store.reader(Digest.parse(digest)) as reader:
            data = reader.read_at(reader.size + 1, 0)
        assert Digest.of(data) == digest
        assert data == containerd.output("content", "get", digest)


def test_labels_are_unknown_there_and_not_absent(containerd: Live) -> None:
    store = LocalStore(str(containerd.content))
    assert all(info.labels is None for info in store.walk())


def test_the_interrupted_ingest_under_its_clients_ref(containerd: Live) -> None:
    store = LocalStore(str(containerd.content))
    status = store.status(HALF)
    assert (status.offset, status.total, status.damage) == (3 * MIB, 0, "")
    assert status.id == ingest_id(HALF)
    assert (status.namespace, status.ref) == ("default", "half")
    assert store.status("half") == store.status(status.id) == status
    assert store.statuses(["ref==half"]) == [status]
    assert store.statuses([f'ref=="{HALF}"']) == []
    assert store.refresh([status]) == [status]
    assert 0 < status.started_ns <= status.updated_ns


def test_a_live_client_is_never_taken_for_gone(containerd: Live) -> None:
    client = containerd.begin("live", b"l" * MIB)
    try:
        store = LocalStore(str(containerd.content))
        ref = store.status("default/1/live")
        holders = store.holders([ref.id])
        assert holders is None or ref.id in holders
    finally:
        client.kill()
        client.communicate()
    argv = ("content", "ingest", "live")
    await_true(lambda: containerd.output("content", "active") != b"")
    containerd.output(*argv, given=b"l" * MIB)
    assert Digest.of(b"l" * MIB) in LocalStore(str(containerd.content)).digests()


def test_a_stopped_daemons_root_is_read_only_too(containerd: Live, tmp_path: Path) -> None:
    shutil.copytree(containerd.place / "root", tmp_path / "root")
    store = LocalStore(str(tmp_path / "root" / containerd.content.name))
    assert store.traits.read_only_reason
    with pytest.raises(ReadOnly):
        store.put(b"new")


def test_a_copy_without_the_database_resumes_its_ingests(containerd: Live, tmp_path: Path) -> None:
    shutil.copytree(containerd.content, tmp_path / "copy")
    store = LocalStore(str(tmp_path / "copy"))
    assert not store.traits.read_only_reason
    whole = b"h" * (5 * MIB)
    with store.writer(HALF) as writer:
        assert writer.offset == 3 * MIB
        writer.write(whole[writer.offset :])
        info = writer.commit(len(whole), Digest.of(whole))
    assert info.size == len(whole)
    assert HALF not in [status.ref for status in store.statuses()]
    file = tmp_path / "copy/blobs/sha256" / info.digest.encoded
    assert hashlib.sha256(file.read_bytes()).hexdigest() == info.digest.encoded


def test_silence_means_less_where_clients_buffer(containerd: Live, tmp_path: Path) -> None:
    assert default_thresholds(LocalStore(str(containerd.content))).stalled_after_s == 120
    assert default_thresholds(LocalStore(str(tmp_path))).stalled_after_s == 30
