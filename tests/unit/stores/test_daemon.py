"""Which ingests a process has open and which file it has locked, with processes of our own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

import pytest
from other_user import as_nobody

from contentui.content.model import ingest_id
from contentui.stores import daemon
from contentui.stores.daemon import OpenIngests, peer_pid
from contentui.stores.local.store import LocalStore
from contentui.stores.procfs import parse_locks, pid_with_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OPENER = """
import fcntl, os, sys
files = [os.open(path, os.O_RDWR | os.O_CREAT) for path in sys.argv[2:]]
if sys.argv[1] == "lock":
    for fd in files:
        fcntl.flock(fd, fcntl.LOCK_EX)
print("ready", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def process(*paths: Path, lock: bool = False) -> Iterator[subprocess.Popen[str]]:
    """A process that has the files open until the end of the block."""
    argv = [sys.executable, "-c", OPENER, "lock" if lock else "", *map(str, paths)]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdout
        assert child.stdout.readline() == "ready\n"
        yield child
        child.kill()


def data_of(root: Path, ref: str) -> Path:
    path = root / "ingest" / ingest_id(ref) / "data"
    path.parent.mkdir(parents=True)
    path.touch()
    return path


class TestOpenIngests:
    def test_only_those_that_are_open(self, tmp_path: Path) -> None:
        held = [data_of(tmp_path, ref) for ref in ("a", "b")]
        data_of(tmp_path, "free")
        with process(*held) as child:
            ingests = OpenIngests(child.pid)
            assert ingests.held() == {ingest_id("a"), ingest_id("b")}

    def test_other_files_of_similar_names_are_none(self, tmp_path: Path) -> None:
        ident = ingest_id("a")
        places = (f"ingest/{ident}/data.tmp", f"ingest/{ident}x/data", f"x/{ident}/data")
        paths = [tmp_path / place for place in (*places, f"ingest/{ident}/sub/data", "ingest/data")]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        with process(*paths) as child:
            assert OpenIngests(child.pid).held() == frozenset()

    def test_one_that_was_aborted_keeps_its_ref_locked(self, tmp_path: Path) -> None:
        path = data_of(tmp_path, "a")
        with process(path) as child:
            path.unlink()
            assert OpenIngests(child.pid).held() == {ingest_id("a")}

    def test_a_process_that_ended_tells_nothing(self, tmp_path: Path) -> None:
        with process(data_of(tmp_path, "a")) as child:
            ingests = OpenIngests(child.pid)
            assert ingests.held()
        assert ingests.held() is None

    def test_a_later_process_of_the_same_pid_is_not_meant(self, tmp_path: Path) -> None:
        with process(data_of(tmp_path, "a")) as child:
            ingests = OpenIngests(child.pid)
            ingests._began -= 1  # as if the pid had been another's before
            assert ingests.held() is None

    @pytest.mark.parametrize("pid", [0, -1, 1 << 22])
    def test_no_process_at_all(self, pid: int) -> None:
        assert OpenIngests(pid).held() is None

    def test_another_users_process_may_not_be_read(self, tmp_path: Path) -> None:
        with process(data_of(tmp_path, "a")) as child:
            ingests = OpenIngests(child.pid)
            assert as_nobody(ingests.held) == "None"

    def test_too_many_open_files_are_not_looked_through(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with process(data_of(tmp_path, "a")) as child:
            monkeypatch.setattr(daemon, "MOST_DESCRIPTORS", 2)
            assert OpenIngests(child.pid).held() is None

    def test_a_thousand_open_files_cost_milliseconds(self, tmp_path: Path) -> None:
        paths = [data_of(tmp_path, str(number)) for number in range(1000)]
        with process(*paths) as child:
            ingests = OpenIngests(child.pid)
            spent = []
            for _ in range(5):
                start = time.thread_time()
                held = ingests.held()
                spent.append(time.thread_time() - start)
                assert held is not None
                assert len(held) == 1000
        assert min(spent) < 0.02


class TestProcessHolding:
    def test_whoever_has_the_lock(self, tmp_path: Path) -> None:
        with process(tmp_path / "db", lock=True) as child:
            assert pid_with_lock(str(tmp_path / "db")) == child.pid
        assert pid_with_lock(str(tmp_path / "db")) == 0

    def test_an_open_file_is_not_a_locked_one(self, tmp_path: Path) -> None:
        with process(tmp_path / "db"):
            assert pid_with_lock(str(tmp_path / "db")) == 0

    def test_no_file(self, tmp_path: Path) -> None:
        assert pid_with_lock(str(tmp_path / "none")) == 0

    def test_a_lock_without_a_pid_names_nobody(self, tmp_path: Path) -> None:
        with (tmp_path / "db").open("w") as file:
            whole = struct.pack("@hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, whole)
            assert pid_with_lock(str(tmp_path / "db")) == 0

    def test_who_waits_for_the_lock_does_not_hold_it(self, tmp_path: Path) -> None:
        lines = [
            b"1: FLOCK  ADVISORY  WRITE 10 08:01:77 0 EOF",
            b"1: -> FLOCK  ADVISORY  WRITE 11 08:01:77 0 EOF",
            b"2: OFDLCK ADVISORY  WRITE -1 08:01:77 0 EOF",
            b"3: POSIX  ADVISORY  WRITE 12 08:01:777 0 EOF",
            b"4: FLOCK  ADVISORY  READ 13 fe:1f:77 0 EOF",
        ]
        locks = [(lock.pid, lock.device) for lock in parse_locks(lines, 77) if lock.pid]
        assert locks == [(10, (8, 1)), (13, (0xFE, 0x1F))]


class TestPeerPid:
    def test_whoever_listens(self) -> None:
        with tempfile.TemporaryDirectory() as place:
            path = f"{place}/s"
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(path)
                assert peer_pid(path) == 0
                listening.listen()
                assert peer_pid(path) == os.getpid()
            assert peer_pid(path) == 0

    @pytest.mark.parametrize("path", ["", "/nowhere/s", "/" + "s" * 200, "a\0b", "/dev/null"])
    def test_no_socket(self, path: str) -> None:
        assert peer_pid(path) == 0


def test_without_proc_a_holder_is_not_said_to_be_in_another_namespace(tmp_path: Path) -> None:
    with LocalStore(str(tmp_path / "s"), create=True) as store, store.writer("r"):
        script = (
            "import sys\n"
            "from contentui.stores.local import locks\n"
            "from contentui.stores.local.store import LocalStore\n"
            "locks._pid_namespace = lambda: int(sys.argv[2])\n"
            "with LocalStore(sys.argv[1]) as store:\n"
            "    ids = [status.id for status in store.statuses()]\n"
            "    print(*[holder.foreign for holder in store.holders(ids).values()])\n"
        )
        argv = [sys.executable, "-c", script, str(tmp_path / "s")]
        for namespace, foreign in (("0", "False"), ("1", "True")):
            done = subprocess.run([*argv, namespace], capture_output=True, text=True, check=True)
            assert done.stdout.split() == [foreign]
