"""The database of image names when it is young, missing, broken, or shared with other processes."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from contentui.content.digest import Digest
from contentui.content.errors import FailedPrecondition, ReadOnly
from contentui.content.model import Descriptor
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

TARGET = Descriptor("application/vnd.oci.image.index.v1+json", Digest.of(b"one"), 3)
NAMER = """
import sys
from contentui.content.digest import Digest
from contentui.content.model import Descriptor
from contentui.stores.local.store import LocalStore
store = LocalStore(sys.argv[1])
sys.stdin.readline()
for n in range(10):
    target = Descriptor("t", Digest.of(b"one"), n)
    store.images.put(f"{sys.argv[2]}/{n}", target, {"by": sys.argv[2]})
    if n % 2:
        store.images.delete(f"{sys.argv[2]}/{n}")
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The database of a store with one named image."""
    with LocalStore(str(tmp_path / "store")) as store:
        store.images.put("redis", TARGET, {"a": "b"})
    return tmp_path / "store/.contentui/images.db"


def test_many_processes_may_be_the_first_and_lose_nothing(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", NAMER, tmp_path / "store", str(n)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for n in range(5)
    ]
    for process in processes:
        assert process.stdin
        process.stdin.write(b"\n")
        process.stdin.flush()
    assert [process.communicate()[1].decode() for process in processes] == [""] * 5
    with LocalStore(str(tmp_path / "store")) as store:
        found = {image.name: (image.target.size, image.labels) for image in store.images.list()}
    assert found == {f"{n}/{m}": (m, {"by": str(n)}) for n in range(5) for m in range(0, 10, 2)}


def test_looking_makes_nothing_and_loads_no_database(tmp_path: Path) -> None:
    script = (
        "import sys; from contentui.stores.local.store import LocalStore\n"
        "store = LocalStore(sys.argv[1])\n"
        "assert store.images.list() == store.roots() == []\n"
        "assert 'sqlite3' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path], check=True)
    assert list(tmp_path.iterdir()) == []


def broken(path: Path, how: str) -> None:
    if how == "zero bytes":
        path.write_bytes(b"")
    elif how == "garbage":
        path.write_bytes(os.urandom(8192))
    elif how == "cut short":
        os.truncate(path, 4096)
    elif how in {"a digest", "labels", "a size"}:
        column, value = {
            "a digest": ("digest", "md5:1"),
            "labels": ("labels", "[1"),
            "a size": ("size", "many"),
        }[how]
        with sqlite3.connect(path) as connection:
            connection.execute(f"UPDATE images SET {column} = ?", (value,))
        connection.close()
    else:
        path.unlink()
        if how == "a directory":
            path.mkdir()
        elif how == "a fifo":
            os.mkfifo(path)
        elif how == "a symlink":
            path.symlink_to("/nowhere/at/all")
        elif how == "another schema":
            with sqlite3.connect(path) as connection:
                connection.execute("CREATE TABLE images (x)")
            connection.close()


FILES = ["zero bytes", "garbage", "cut short", "another schema"]
NO_FILES = ["a directory", "a fifo", "a symlink"]


@pytest.mark.parametrize("how", FILES + NO_FILES + ["a digest", "labels", "a size"])
def test_a_broken_one_is_told_and_never_replaced(database: Path, how: str) -> None:
    with LocalStore(str(database.parents[1])) as store:
        broken(database, how)
        before = database.read_bytes() if how not in NO_FILES else b""
        for deed in (
            store.images.list,
            store.roots,
            lambda: store.images.get("redis"),
            lambda: store.images.put("redis", TARGET),
            lambda: store.images.delete("redis"),
        ):
            with pytest.raises(FailedPrecondition) as caught:
                deed()
            assert "images.db" in caught.value.advice
        if how not in NO_FILES:
            assert database.read_bytes() == before
        assert store.info(store.put(b"blobs are safe").digest).size == 14


def test_a_missing_one_means_none_again(database: Path) -> None:
    with LocalStore(str(database.parents[1])) as store:
        assert len(store.images.list()) == 1
        database.unlink()
        assert store.images.list() == []
        store.images.put("new", TARGET)
        assert [image.name for image in store.images.list()] == ["new"]


def test_half_of_a_making_is_swept_away(tmp_path: Path) -> None:
    with LocalStore(str(tmp_path)) as store:
        store.put(b"one")
        (tmp_path / ".contentui/images.db.new").write_bytes(b"cut short")
        store.images.put("a", TARGET)
        assert len(store.images.list()) == 1
    assert not (tmp_path / ".contentui/images.db.new").exists()


def test_a_change_that_a_kill_cut_short_is_undone(database: Path) -> None:
    with LocalStore(str(database.parents[1])) as store:
        for n in range(5):
            store.images.put(f"{n}", TARGET, {"a": "b" * 4000})
        before = store.images.list()
    dying = (
        "import os, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('PRAGMA cache_size = 1')\n"
        "connection.execute('BEGIN IMMEDIATE')\n"
        "connection.execute(\"UPDATE images SET labels = '{}', media_type = 'x'\")\n"
        "connection.execute(\"INSERT INTO images SELECT name || 'x', 't', digest, 1, hex("
        'zeroblob(9000)), 1, 1 FROM images")\n'
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", dying, database], check=False)
    assert database.with_name("images.db-journal").exists()
    with LocalStore(str(database.parents[1])) as store:
        assert store.images.list() == before


def test_a_store_opened_read_only_names_nothing(database: Path) -> None:
    with LocalStore(str(database.parents[1]), read_only=True) as store:
        image = store.images.get("redis")
        with pytest.raises(ReadOnly):
            store.images.put("other", TARGET)
        with pytest.raises(ReadOnly):
            store.images.delete("redis")
        assert store.images.list() == [image]


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_a_name_is_synced_before_it_is_acknowledged(database: Path) -> None:
    script = (
        "import os, sys\n"
        "from contentui.content.digest import Digest\n"
        "from contentui.content.model import Descriptor\n"
        "from contentui.stores.local.store import LocalStore\n"
        "LocalStore(sys.argv[1]).images.put('new', Descriptor('t', Digest.of(b'1'), 1))\n"
        "os.unlink(sys.argv[1] + '/acknowledged')\n"
    )
    store = database.parents[1]
    (store / "acknowledged").touch()
    trace = ("strace", "-y", "-e", "trace=fsync,fdatasync,unlink", "-o", str(store / "trace"))
    subprocess.run([*trace, sys.executable, "-c", script, store], check=True)
    calls = (store / "trace").read_text().splitlines()
    acknowledged = next(n for n, call in enumerate(calls) if "acknowledged" in call)
    undone = next(n for n, call in enumerate(calls) if 'images.db-journal"' in call)
    assert undone < acknowledged
    assert any("sync(" in call and "images.db>" in call for call in calls[:undone])
    after = calls[undone:acknowledged]  # or a power cut could bring the journal back
    assert any("sync(" in call and ".contentui>" in call for call in after)
