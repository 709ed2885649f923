"""The version before this one beside it, and what it left, on one store.

What the older one does is written out here (locks, labels, an ingest), so that it is checked
without it; where git has its commit, the program itself runs beside this one, too.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from test_stress import stress

from contentui.content.digest import Digest
from contentui.content.errors import Locked, Unavailable
from contentui.content.model import ingest_id
from contentui.stores.local import locks
from contentui.stores.local.store import LocalStore

OLDER = "f496a69"
"""The last commit before the store's core was changed."""
FLOCK = struct.Struct("@hhqqi4x")
RECORD = struct.Struct("@16siqqQH")
PID_BITS = 22

HOLD_NAMING = """
import fcntl, os, sys
fd = os.open(sys.argv[1] + "/.contentui/naming", os.O_RDWR | os.O_CREAT, 0o644)
fcntl.flock(fd, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.readline()
"""

HOLD_REF = """
import fcntl, os, struct, sys
base = int(sys.argv[2], 16) << 22
fd = os.open(sys.argv[1] + "/.contentui/locks", os.O_RDWR | os.O_CREAT, 0o644)
request = struct.pack("@hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, base, os.getpid(), 0)
fcntl.fcntl(fd, fcntl.F_OFD_SETLK, request)
record = struct.pack("@16siqqQH", base.to_bytes(16, "big"), os.getpid(), 5, 7, 0, 3) + b"old"
holders = os.open(sys.argv[1] + "/.contentui/holders", os.O_RDWR | os.O_CREAT, 0o644)
os.pwrite(holders, record, (base >> 22) % 4096 * 256)
print("held", flush=True)
sys.stdin.readline()
"""


def start(script: str, *arguments: Any) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def make(root: Path) -> LocalStore:
    store = LocalStore(str(root))
    store.put(b"plain")
    return store


def test_the_naming_lock_is_the_older_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "WAIT_S", 0.5)
    with make(tmp_path / "store") as store:
        older = start(HOLD_NAMING, tmp_path / "store")
        with pytest.raises(Unavailable, match=str(older.pid)):
            store.put(b"labelled", labels={"a": "b"})
        older.communicate(b"\n")
        assert store.put(b"labelled", labels={"a": "b"}).labels == {"a": "b"}


def test_a_ref_that_the_older_one_holds_is_locked(tmp_path: Path) -> None:
    prefix = hashlib.sha256(b"ref").hexdigest()[:10]
    with make(tmp_path / "store") as store:
        older = start(HOLD_REF, tmp_path / "store", prefix)
        with pytest.raises(Locked) as caught:
            store.writer("ref")
        assert caught.value.holder is not None
        assert caught.value.holder.pid == older.pid
        assert caught.value.holder.command == "old"
        held = store.holders([ingest_id("ref")])
        assert held is not None
        assert held[ingest_id("ref")].since_ns == 7
        older.communicate(b"\n")
        store.writer("ref").close()


def test_the_older_one_sees_what_is_held_here(tmp_path: Path) -> None:
    base = int(hashlib.sha256(b"ref").hexdigest()[:10], 16) << PID_BITS
    ours = tmp_path / "store" / ".contentui"
    with make(tmp_path / "store") as store, store.writer("ref"):
        fd = os.open(ours / "locks", os.O_RDONLY)
        look = FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, base, 1 << PID_BITS, 0)
        kind, _, start_, length, _ = FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_OFD_GETLK, look))
        os.close(fd)
        assert (kind, start_, length) == (fcntl.F_WRLCK, base, os.getpid())
        record = (ours / "holders").read_bytes()[(base >> PID_BITS) % 4096 * 256 :]
        identity, pid, *_ = RECORD.unpack_from(record)
        assert (identity, pid) == (base.to_bytes(16, "big"), os.getpid())
    (tmp_path / "store" / ".contentui" / "naming").touch()
    with make(tmp_path / "other") as store:
        lock = locks.NamingLock(store._state_dir)
        with lock.held():
            fd = os.open(tmp_path / "other" / ".contentui" / "naming", os.O_RDWR)
            with pytest.raises(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(fd)


SCHEMA = """
CREATE TABLE labels (
    digest TEXT PRIMARY KEY, updated_ns INTEGER NOT NULL, labels TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('complete', 1);
"""


def as_the_older_left_it(root: Path, kept: bytes) -> None:
    """Its directory, file by file: blobs with and without labels, an ingest closed halfway."""
    blobs, ours = root / "blobs" / "sha256", root / ".contentui"
    ingest = root / "ingest" / hashlib.sha256(b"half").hexdigest()
    for path in (blobs, ours, ingest):
        path.mkdir(parents=True)
    for data in (b"labelled", b"unlabelled"):
        (blobs / Digest.of(data).encoded).write_bytes(data)
        (blobs / Digest.of(data).encoded).chmod(0o444)
    database = sqlite3.connect(ours / "labels.db", isolation_level=None)
    database.executescript(SCHEMA)
    row = (str(Digest.of(b"labelled")), time.time_ns(), '{"a":"b"}')
    database.execute("INSERT INTO labels VALUES (?, ?, ?)", row)
    # Labels of one that died before its blob had a name.
    row = (str(Digest.of(b"never named")), time.time_ns(), '{"of":"the dead"}')
    database.execute("INSERT INTO labels VALUES (?, ?, ?)", row)
    database.close()
    for name in ("naming", "locks", "holders"):
        (ours / name).touch(0o644)
    (ingest / "ref").write_bytes(b"half")
    (ingest / "startedat").write_bytes(b"2026-11-01T10:00:00Z")
    os.link(ingest / "startedat", ingest / "updatedat")
    (ingest / "total").write_bytes(b"20")
    (ingest / "data").write_bytes(kept)


def test_what_the_older_one_left_is_used_as_it_is(tmp_path: Path) -> None:
    data = b"twenty bytes of data"
    as_the_older_left_it(tmp_path / "store", data[:9])
    with LocalStore(str(tmp_path / "store")) as store:
        assert store.info(Digest.of(b"labelled")).labels == {"a": "b"}
        assert store.info(Digest.of(b"unlabelled")).labels == {}
        assert store.put(b"never named").labels == {}
        assert store.info(Digest.of(b"never named")).labels == {}
        status = store.status("half")
        assert (status.offset, status.total, status.damage) == (9, 20, "")
        with store.writer("half") as writer:
            assert writer.offset == 9
            writer.write(data[9:])
            writer.commit(20, labels={"c": "d"})
        assert store.info(Digest.of(data)).labels == {"c": "d"}
    # And back: what this one wrote, the older one reads by these very statements.
    database = sqlite3.connect(tmp_path / "store" / ".contentui" / "labels.db")
    rows = dict(database.execute("SELECT digest, labels FROM labels"))
    assert rows[str(Digest.of(data))] == '{"c":"d"}'
    assert rows[str(Digest.of(b"labelled"))] == '{"a":"b"}'
    assert database.execute("SELECT value FROM meta WHERE key = 'complete'").fetchone() == (1,)
    database.close()


def older_program(folder: Path) -> Path:
    """A directory with the older contentui; skips the test where git hasn't got it."""
    here = Path(__file__).parents[2]
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")
    there = subprocess.run([git, "cat-file", "-e", f"{OLDER}^{{commit}}"], cwd=here, check=False)
    if there.returncode:
        pytest.skip(f"the commit {OLDER} is not in this clone")
    archive = folder / "older.tar"
    subprocess.run([git, "archive", "-o", archive, OLDER, "contentui"], cwd=here, check=True)
    (folder / "older").mkdir()
    shutil.unpack_archive(archive, folder / "older", filter="data")
    return folder / "older"


@pytest.mark.parametrize(
    "seconds", [4, pytest.param(60, marks=[pytest.mark.torture, pytest.mark.timeout(300)])]
)
def test_four_older_processes_beside_four_of_these(tmp_path: Path, seconds: int) -> None:
    older = older_program(tmp_path)
    counts = stress(tmp_path / "store", seconds, "--beside", str(older))
    assert counts["operations"] > 200
