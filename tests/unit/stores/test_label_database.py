"""The label database when it is young, missing, broken, or kept busy by another process."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from contentui.content.digest import Digest
from contentui.content.errors import ContentError, FailedPrecondition
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

FIRST = """
import sys
from contentui.stores.local.store import LocalStore
store = LocalStore(sys.argv[1])
sys.stdin.readline()
for n in range(5):
    writer = store.writer(f"ref {sys.argv[2]} {n}")
    writer.write(f"{sys.argv[2]} {n}".encode())
    writer.commit(labels={"by": sys.argv[2]})
"""


def test_many_processes_may_be_the_first(tmp_path: Path) -> None:
    for round_ in range(3):
        root = tmp_path / f"a{round_}" / "b" / "store"
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", FIRST, root, str(n)],
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            for n in range(6)
        ]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
        errors = [process.communicate()[1].decode() for process in processes]
        assert errors == [""] * 6
        with LocalStore(str(root)) as store:
            labels = {info.digest: info.labels for info in store.walk()}
        assert labels == {
            Digest.of(f"{n} {m}".encode()): {"by": str(n)} for n in range(6) for m in range(5)
        }


def broken(path: Path, how: str) -> None:
    if how == "missing":
        path.unlink()
    elif how == "zero bytes":
        path.write_bytes(b"")
    elif how == "garbage":
        path.write_bytes(os.urandom(8192))
    elif how == "cut short":
        os.truncate(path, 4096)
    elif how == "a directory":
        path.unlink()
        path.mkdir()
    elif how == "a fifo":
        path.unlink()
        os.mkfifo(path)
    elif how == "a symlink":
        path.unlink()
        path.symlink_to("/nowhere/at/all")
    elif how == "another schema":
        path.unlink()
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE labels (x)")
        connection.close()
    elif how == "garbled rows":
        connection = sqlite3.connect(path)
        connection.execute("UPDATE labels SET labels = '[1'")
        connection.commit()
        connection.close()


STATES = [
    "missing",
    "zero bytes",
    "garbage",
    "cut short",
    "a directory",
    "a symlink",
    "a fifo",
    "another schema",
    "garbled rows",
]


@pytest.mark.parametrize("how", STATES)
@pytest.mark.parametrize("again", [True, False], ids=["opened again", "kept open"])
def test_without_a_sound_database_labels_are_unknown_and_blobs_are_safe(
    tmp_path: Path, how: str, again: bool
) -> None:
    store = LocalStore(str(tmp_path / "store"))
    digest = store.put(b"one", labels={"a": "b"}).digest
    if again:
        store.close()
    broken(tmp_path / "store/.contentui/labels.db", how)
    if again:
        store = LocalStore(str(tmp_path / "store"))
    with store:
        assert store.info(digest).labels is None
        assert [info.labels for info in store.walk()] == [None]
        # What needs no labels works, or raises an error with advice.
        advice: list[str] = []
        new = Digest.of(b"two")
        try:
            store.put(b"two")
            assert store.info(new).size == 3
        except FailedPrecondition as error:
            advice.append(error.advice)
        try:
            store.put(b"three", labels={"c": "d"})
            assert store.info(Digest.of(b"three")).labels == {"c": "d"}
        except ContentError as error:
            advice.append(error.advice)
        with store.reader(digest) as reader:
            assert reader.read_at(10, 0) == b"one"
        assert all(advice)
        assert store.info(digest).labels is None


def test_a_commit_whose_labels_cannot_be_written_keeps_the_ingest(tmp_path: Path) -> None:
    with LocalStore(str(tmp_path / "store")) as store:
        store.put(b"one", labels={"a": "b"})
        broken(tmp_path / "store/.contentui/labels.db", "garbage")
        writer = store.writer("ref")
        writer.write(b"two")
        with pytest.raises(FailedPrecondition):
            writer.commit(labels={"c": "d"})
        assert store.status("ref").offset == 3
        (tmp_path / "store/.contentui/labels.db").unlink()
        assert store.writer("ref").commit(labels={"c": "d"}).labels == {"c": "d"}


def test_a_store_whose_path_is_no_text_has_labels(tmp_path: Path) -> None:
    root = os.path.join(os.fsencode(tmp_path), b"odd \xff %41 ?#&")
    with LocalStore(os.fsdecode(root)) as store:
        digest = store.put(b"one", labels={"a": "b"}).digest
        assert store.info(digest).labels == {"a": "b"}


def test_a_database_kept_busy_is_waited_for(tmp_path: Path) -> None:
    with LocalStore(str(tmp_path / "store")) as store:
        store.put(b"one", labels={"a": "b"})
        other = sqlite3.connect(
            tmp_path / "store/.contentui/labels.db", isolation_level=None, check_same_thread=False
        )
        other.execute("BEGIN EXCLUSIVE")
        timer = threading.Timer(0.3, lambda: other.execute("COMMIT"))
        timer.start()
        assert store.put(b"two", labels={"c": "d"}).labels == {"c": "d"}
        timer.join()
        other.close()


def test_a_read_only_database_is_read(tmp_path: Path) -> None:
    with LocalStore(str(tmp_path / "store")) as store:
        digest = store.put(b"one", labels={"a": "b"}).digest
    os.chmod(tmp_path / "store/.contentui/labels.db", 0o444)
    with LocalStore(str(tmp_path / "store")) as store:
        assert store.info(digest).labels == {"a": "b"}


def test_a_forked_child_has_its_own_connection(tmp_path: Path) -> None:
    with LocalStore(str(tmp_path / "store")) as store:
        digest = store.put(b"one", labels={"a": "b"}).digest
        child = os.fork()
        if child == 0:
            try:
                store.update(digest, {"a": "child"}, ["labels.a"])
                os._exit(0)
            except BaseException:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert store.info(digest).labels == {"a": "child"}
        store.update(digest, {"a": "parent"}, ["labels.a"])
        assert store.info(digest).labels == {"a": "parent"}


def test_a_transaction_that_a_kill_cut_short_hides_no_labels(tmp_path: Path) -> None:
    with LocalStore(str(tmp_path / "store")) as store:
        infos = store.put_many([b"%d" % n for n in range(500)], labels={"a": "b" * 500})
        kept_open = LocalStore(str(tmp_path / "store"))
        assert kept_open.info(infos[0].digest).labels == {"a": "b" * 500}
    dying = (
        "import os, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('PRAGMA cache_size = 1')\n"
        "connection.execute('BEGIN IMMEDIATE')\n"
        "connection.execute(\"UPDATE labels SET labels = '{}'\")\n"
        "os.kill(os.getpid(), 9)\n"
    )
    database = tmp_path / "store/.contentui/labels.db"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", dying, database], check=False)
        assert database.with_name("labels.db-journal").exists()
        for store in (kept_open, LocalStore(str(tmp_path / "store"))):
            assert store.info(infos[0].digest).labels == {"a": "b" * 500}
            assert {info.labels["a"] for info in store.walk() if info.labels} == {"b" * 500}
    kept_open.close()
