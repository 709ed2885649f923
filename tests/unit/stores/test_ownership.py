"""Other people's directories stay read-only, from wherever they are looked at."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from contentui.content.errors import FailedPrecondition, ReadOnly, Unavailable
from contentui.stores.local import ownership
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ADOPT = "import sys; from contentui.stores.local.ownership import adopt; adopt(sys.argv[1])"
PUT = (
    "import sys; from contentui.stores.local.store import LocalStore;"
    "LocalStore(sys.argv[1]).put(b'x')"
)


@pytest.fixture
def content(tmp_path: Path) -> Path:
    """A containerd's content directory, its database beside it."""
    database = tmp_path / "root/io.containerd.metadata.v1.bolt/meta.db"
    database.parent.mkdir(parents=True)
    database.touch()
    content = tmp_path / "root" / ownership.CONTAINERD_CONTENT
    (content / "blobs" / "sha256").mkdir(parents=True)
    return content


@pytest.fixture
def daemon(content: Path) -> Iterator[int]:
    """The lock that a running containerd has on its database."""
    path = content.parent / "io.containerd.metadata.v1.bolt/meta.db"
    fd = os.open(path, os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    yield fd
    os.close(fd)


def elsewhere(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command where this process is not seen, as in another container."""
    alone = ("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc")
    if subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("user namespaces are not allowed here")
    return subprocess.run([*alone, *command], capture_output=True, text=True)


def test_a_live_daemons_directory_cannot_be_adopted(content: Path, daemon: int) -> None:
    with pytest.raises(FailedPrecondition, match="running containerd"):
        ownership.adopt(str(content))


def test_nor_from_another_container(content: Path, daemon: int) -> None:
    ran = elsewhere(sys.executable, "-c", ADOPT, str(content))
    assert "in use by a running containerd" in ran.stderr
    assert not (content / ownership.STATE_DIR).exists()


def test_an_adopted_one_is_read_only_again_when_a_daemon_runs(content: Path) -> None:
    ownership.adopt(str(content))
    with LocalStore(str(content)) as store:
        blob = store.put(b"x")
    fd = os.open(content.parent / "io.containerd.metadata.v1.bolt/meta.db", os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        with LocalStore(str(content)) as store, pytest.raises(ReadOnly):
            store.delete(blob.digest)
        assert "is read-only here" in elsewhere(sys.executable, "-c", PUT, str(content)).stderr
    finally:
        os.close(fd)
    with LocalStore(str(content)) as store:
        store.delete(blob.digest)


def test_content_mounted_without_its_database_is_read_only(content: Path, tmp_path: Path) -> None:
    (tmp_path / "pod").mkdir()
    script = 'mount --bind "$1" "$2" && "$3" -c "$4" "$2" || "$3" -c "$5" "$2"'
    command = ("sh", "-c", script, "sh", str(content), str(tmp_path / "pod"), sys.executable)
    ran = elsewhere(*command, PUT, ADOPT)
    assert "is read-only here" in ran.stderr
    assert "can't be adopted" in ran.stderr
    assert not (content / ownership.STATE_DIR).exists()


@pytest.mark.parametrize("then", ["gone", "another"])
def test_a_service_does_not_go_on_in_another_directory(tmp_path, then):
    root = tmp_path / "store"
    root.mkdir()
    with ownership.lock_directory(str(root), "/run/socket") as lock:
        store = LocalStore(str(root), lock=lock)
        digest = store.put(b"data").digest
        root.rename(tmp_path / "moved")
        if then == "another":
            root.mkdir()
        for deed in (lambda: store.put(b"more"), lambda: store.writer("ref"), store.digests):
            with pytest.raises(Unavailable, match="was moved, removed or unmounted"):
                deed()
        if then == "another":
            assert not list(root.iterdir())
            root.rmdir()
        (tmp_path / "moved").rename(root)
        assert store.digests() == [digest]
        store.put(b"more")
