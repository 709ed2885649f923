"""Databases that another user put into a store: size limits, own error texts, no blocking."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from contentui.content.digest import Digest
from contentui.content.errors import ContentError
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GOOD = {"good": "labels"}


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(str(tmp_path))
    store.put(b"good", labels=GOOD)
    store.put(b"hit", labels={"a": "b"})
    store.close()
    return store


def database(store: LocalStore) -> str:
    return os.path.join(store.name, ".contentui", "labels.db")


def row(store: LocalStore, value: object) -> None:
    connection = sqlite3.connect(database(store))
    with connection:
        connection.execute(
            "UPDATE labels SET labels = ? WHERE digest = ?", (value, Digest.of(b"hit"))
        )
    connection.close()


ROWS: dict[str, object] = {
    "deep JSON": "[" * 1_000_000,
    "deep objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "no object": "[1, 2]",
    "numbers": json.dumps({"a": 1}),
    "objects": json.dumps({"a": {"b": "c"}}),
    "no JSON": "labels",
    "bytes": b"\x00\xff",
    "a number": 12,
    "half a surrogate pair": '{"a": "\\ud800"}',
    "8 MiB": json.dumps({"a": "b" * (8 << 20)}),
    "half a pair as key": '{"\\udc00": "b"}',
}


@pytest.mark.parametrize("value", ROWS.values(), ids=ROWS)
def test_a_row_that_makes_no_sense_is_unknown_and_costs_no_other(store, value):
    row(store, value)
    assert store.info(Digest.of(b"hit")).labels is None
    assert store.info(Digest.of(b"good")).labels == GOOD
    labels = {info.digest: info.labels for info in store.walk()}
    assert labels == {Digest.of(b"hit"): None, Digest.of(b"good"): GOOD}
    with pytest.raises(ContentError, match="unknown"):
        store.update(Digest.of(b"hit"), {"c": "d"}, ["labels.c"])
    assert store.update(Digest.of(b"hit"), {"c": "d"}).labels == {"c": "d"}
    assert store.info(Digest.of(b"hit")).labels == {"c": "d"}


def test_a_row_of_a_gigabyte_is_not_read(store):
    connection = sqlite3.connect(database(store))
    with connection:
        connection.execute("UPDATE labels SET labels = zeroblob(900000000) WHERE digest like '%a%'")
    connection.close()
    script = (
        "import sys\n"
        "from contentui.stores.local.store import LocalStore\n"
        "store = LocalStore(sys.argv[1])\n"
        "assert [info.labels for info in store.walk()] == [None, None]\n"
        "status = open('/proc/self/status').read()\n"
        "print(status.partition('VmHWM:')[2].split()[0])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, store.name], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 200_000  # KiB


def planted(how: str, path: str) -> None:
    if how in ("-journal", "-wal"):
        os.mkfifo(path + how)
    elif how == "fifo":
        os.unlink(path)
        os.mkfifo(path)
    elif how == "journal is a link":
        os.symlink("/etc/passwd", path + "-journal")
    elif how == "endless view":
        connection = sqlite3.connect(path)
        connection.executescript(
            "DROP TABLE labels; CREATE VIEW labels AS WITH RECURSIVE n(digest) AS ("
            "VALUES('a') UNION ALL SELECT digest FROM n) SELECT digest, 1 AS updated_ns, "
            "'{}' AS labels FROM n WHERE digest = 'b';"
        )
        connection.close()
    elif how == "trigger":
        connection = sqlite3.connect(path)
        connection.executescript(
            "CREATE TRIGGER t AFTER INSERT ON labels BEGIN DELETE FROM labels; END;"
        )
        connection.close()
    elif how == "huge":
        os.truncate(path, 5 << 30)
    elif how == "damaged pages":
        with open(path, "r+b") as file:
            size = os.path.getsize(path)
            for at in range(4096, size, 4096):
                file.seek(at)
                file.write(b"\xff" * 2048)


PLANTED = (
    "-journal",
    "-wal",
    "fifo",
    "journal is a link",
    "endless view",
    "trigger",
    "huge",
    "damaged pages",
)


@pytest.mark.parametrize("how", PLANTED)
def test_a_planted_database_is_told_and_stops_nothing_else(store, how):
    planted(how, database(store))
    store = LocalStore(store.name)
    begun = time.monotonic()
    assert {info.digest: info.labels for info in store.walk()} == {
        Digest.of(b"hit"): None,
        Digest.of(b"good"): None,
    }
    assert store.info(Digest.of(b"hit")).labels is None
    assert store.put(b"plain").digest == Digest.of(b"plain")
    deeds: list[Callable[[], object]] = [
        lambda: store.put(b"labelled", labels={"a": "b"}),
        lambda: store.update(Digest.of(b"hit"), {"a": "b"}),
    ]
    for deed in deeds:
        with pytest.raises(ContentError) as caught:
            deed()
        assert caught.value.advice
    store.delete(Digest.of(b"hit"))
    assert time.monotonic() - begun < 5
    assert os.path.lexists(database(store))  # never replaced


def test_a_planted_image_database_is_told(store):
    path = os.path.join(store.name, ".contentui", "images.db")
    os.mkfifo(path + "-journal")
    sqlite3.connect(path).close()
    open(path, "ab").close()
    store = LocalStore(store.name)
    with pytest.raises(ContentError) as caught:
        store.images.list()
    assert "not a regular file" in caught.value.message


SLOW = """
import sys
from contentui.cli.main import main
from contentui.stores.local import database
real = database._connect
def slow(path, mode):
    connection = real(path, mode)
    connection.create_function("nothing", 0, lambda: 0)
    return connection
database._connect = slow
def endless(self, connection):
    print("running", flush=True)
    connection.execute("WITH RECURSIVE n(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM n) "
                       "SELECT count(*) FROM n").fetchall()
database.Database._check_schema = endless
sys.exit(main(["--store", sys.argv[1], "list"]))
"""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_long_statement_ends_with_a_signal(store, signum):
    script = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n" + SLOW
    process = subprocess.Popen(
        [sys.executable, "-c", script, store.name], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.send_signal(signum)
        assert process.wait(10) != 0
    finally:
        process.kill()
        process.wait()
