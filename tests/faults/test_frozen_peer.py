"""A process that is stopped while it holds a lock: errors name it, and its lock is not broken."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from contentui.content.digest import Digest
from contentui.content.errors import Unavailable
from contentui.stores.local import locks
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

INSIDE = """
import os, signal, sys
from contentui.stores.local.labels import Labels
from contentui.stores.local.store import LocalStore
real = Labels.write
def write(self, *arguments):
    print("inside", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
    real(self, *arguments)
Labels.write = write
LocalStore(sys.argv[1]).put(b"theirs", labels={"by": "them"})
"""

IN_SQLITE = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1] + "/.contentui/labels.db", isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("inside", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
connection.execute("COMMIT")
"""


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(script: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "inside\n"
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("script", [INSIDE, IN_SQLITE], ids=["in the section", "in SQLite"])
def test_a_stopped_process_is_named(tmp_path, stopped, script):
    store = LocalStore(str(tmp_path))
    kept = store.put(b"kept", labels={"a": "b"})
    writer = store.writer("r", labels={"a": "b"})
    writer.write(b"bytes")
    pid = stopped(script).pid
    for deed in (
        lambda: store.put(b"new", labels={"a": "b"}),
        lambda: store.update(kept.digest, {"a": "c"}),
        writer.commit,
    ):
        begun = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            deed()
        assert time.monotonic() - begun < locks.STOPPED_S + 5
        assert f"pid {pid} (" in caught.value.message
        assert "is stopped" in caught.value.message
        assert f"kill -CONT {pid}" in caught.value.advice
    assert kept.digest in store.digests()
    assert store.status("r").offset == 5  # kept, resumable


def test_work_without_labels_goes_on(tmp_path, stopped):
    store = LocalStore(str(tmp_path))
    plain = store.put(b"plain")
    store.put(b"kept", labels={"a": "b"})
    stopped(INSIDE)
    begun = time.monotonic()
    assert store.put(b"new").labels == {}
    with store.writer("r") as writer:
        writer.write(b"bytes")
        writer.commit()
    store.delete(plain.digest)
    assert len(store.put_many([b"1", b"2"])) == 2
    assert time.monotonic() - begun < 1


def test_all_goes_on_when_it_does(tmp_path, stopped):
    store = LocalStore(str(tmp_path))
    store.put(b"kept", labels={"a": "b"})
    process = stopped(INSIDE)
    process.send_signal(signal.SIGCONT)
    assert store.put(b"ours", labels={"by": "us"}).labels == {"by": "us"}
    assert process.wait(30) == 0
    assert store.info(Digest.of(b"theirs")).labels == {"by": "them"}


def test_all_goes_on_when_it_is_killed(tmp_path, stopped):
    store = LocalStore(str(tmp_path))
    store.put(b"kept", labels={"a": "b"})
    process = stopped(INSIDE)
    process.kill()
    assert store.put(b"ours", labels={"by": "us"}).labels == {"by": "us"}
    assert Digest.of(b"theirs") not in store.digests()


FAIR = """
import sys
from contentui.stores.local.store import LocalStore
store = LocalStore(sys.argv[1])
store.put(b"warm" + sys.argv[2].encode(), labels={"a": "b"})
print("inside", flush=True)
sys.stdin.readline()
for n in range(40):
    store.put(f"{sys.argv[2]} {n}".encode(), labels={"a": "b"})
print("done", flush=True)
"""


def test_many_that_want_the_lock_all_get_it(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FAIR, str(tmp_path), str(n)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(4)
    ]
    for process in processes:
        assert process.stdout.readline() == "inside\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        assert process.stdout.readline() == "done\n"
        assert process.wait(30) == 0
    assert len(LocalStore(str(tmp_path)).digests()) == 4 * 41


def test_another_thread_of_this_process_is_named_as_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "WAIT_S", 0.3)
    store = LocalStore(str(tmp_path))
    store.put(b"kept", labels={"a": "b"})
    with (
        locks.NamingLock(store._state_dir).held(),
        pytest.raises(Unavailable, match=f"pid {os.getpid()} ") as caught,
    ):
        store.put(b"new", labels={"a": "b"})
    assert "another container" not in caught.value.message
    assert store.put(b"new", labels={"a": "b"}).labels == {"a": "b"}
