"""The verbs on a socket, with a service of ours behind it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from contentui.content.digest import Digest

from .conftest import CLI

BLOB = Digest.of(b"blob")


class Daemon:
    """``contentui serve`` on the program's directory."""

    def __init__(self, program, place):
        self.program = program
        self.socket = place / "s"
        self.source = f"unix://{self.socket}"
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [*CLI, "serve", "--listen", self.source, "--json"],
            cwd=self.program.folder,
            env=self.program.env,
            stdout=subprocess.PIPE,
        )
        assert json.loads(self.process.stdout.readline())["pid"] == self.process.pid

    def stop(self):
        self.process.terminate()
        self.process.stdout.close()
        assert self.process.wait(20) == 0

    def ok(self, *args):
        """Expect success, return what was printed."""
        return self.program.ok("--store", self.source, *args)

    def __call__(self, *args, **options):
        return self.program("--store", self.source, *args, **options)


@pytest.fixture
def daemon(program):
    program.ok("ingest", "a", "--label", "k=v", stdin=b"blob")
    program.leave_ingest("half", b"12345", total=10)
    place = Path(tempfile.mkdtemp(prefix="cu-"))  # a socket's path is short
    made = Daemon(program, place)
    made.start()
    yield made
    if made.process.poll() is None:
        made.stop()
    shutil.rmtree(place)


def test_looking(daemon):
    assert daemon.ok("list", "-q") == f"{BLOB}\n"
    assert daemon.ok("active").splitlines()[1].split()[:3] == ["half", "5", "B"]
    assert daemon.ok("get", BLOB) == "blob"
    assert daemon.ok("label", BLOB) == "k=v\n"
    by_environment = daemon.program("list", "-q", CONTENTUI_STORE=daemon.source)
    assert by_environment.lines == [BLOB]


def test_asking_and_destroying(daemon):
    asked = daemon("verify", "--ingest", "half")
    assert (asked.code, asked.lines[0]) == (0, "half")
    assert "5 B of 10 B are there" in asked.out
    plan = daemon("abort", "half", "--dry-run").out
    assert "The daemon has no conditional delete" in plan
    assert daemon("abort", "half").code == 0
    assert daemon("active", "-q").out == ""
    assert daemon("delete", BLOB).code == 0
    assert daemon("list", "-q").out == ""
    records = [json.loads(line) for line in daemon.program("journal", "--json").lines]
    assert [(record["verb"], record["source"]) for record in records] == [
        ("abort", daemon.source),
        ("delete", daemon.source),
    ]


def test_what_a_socket_can_not_do_is_told(daemon):
    path = daemon("path", BLOB)
    assert path.code == 1
    assert "contentui get" in path.err
    adopt = daemon.program("adopt", daemon.source)
    assert adopt.code == 2
    assert "is not a directory" in adopt.err


def test_without_a_daemon_it_fails_with_one_sentence(daemon):
    daemon.stop()
    ran = daemon("list")
    assert ran.code in {1, 5}
    assert ran.err.startswith("contentui: ")
    assert daemon("active", "--verdict").code != 0


@contextmanager
def watching(daemon):
    process = daemon.program.start(
        "--store", daemon.source, "active", "--watch", "--interval", "0.1", "--json"
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_watching_outlives_a_restart(daemon):
    with watching(daemon) as process:
        assert json.loads(process.stdout.readline())["ref"] == "half"
        daemon.stop()
        assert b"the store can't be read" in process.stderr.readline()
        daemon.program.leave_ingest("later", b"123")
        daemon.start()
        told = b""
        while b"the store can be read again" not in told:
            told = process.stderr.readline()
            assert told
        change = json.loads(process.stdout.readline())
        assert (change["ref"], change["change"]) == ("later", "appeared")
