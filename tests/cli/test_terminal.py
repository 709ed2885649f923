"""On a real pseudo-terminal: questions, progress, widths, what a terminal must not get."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import termios
import time
from contextlib import contextmanager

import pytest

from contentui.content.digest import Digest

from .conftest import CLI

ONE = Digest.of(b"1")


class Terminal:
    """A process on a terminal, and what it has written."""

    def __init__(self, process, leader):
        self.process = process
        self.leader = leader
        self.seen = b""

    def expect(self, words: bytes, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while words not in self.seen:
            assert time.monotonic() < deadline, self.seen
            self._read(0.2)

    def type(self, keys: bytes) -> None:
        os.write(self.leader, keys)

    def end(self) -> int:
        code = None
        while code is None:
            self._read(0.05)
            code = self.process.poll()
        self._read(0.05)
        assert b"Traceback" not in self.seen
        return code

    def _read(self, seconds: float) -> None:
        while select.select([self.leader], [], [], seconds)[0]:
            try:
                data = os.read(self.leader, 65536)
            except OSError:  # the other side is closed
                return
            if not data:
                return
            self.seen += data
            seconds = 0


@contextmanager
def on_terminal(program, *args, columns=80, **more):
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    streams = {"stdin": follower, "stdout": follower, "stderr": follower} | more
    env = program.env | {"TERM": "xterm-256color"}
    process = subprocess.Popen(
        [*CLI, *args], cwd=program.folder, env=env, start_new_session=True, **streams
    )
    os.close(follower)
    try:
        yield Terminal(process, leader)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(leader)


@pytest.mark.parametrize(
    ("answer", "code", "left"), [(b"y\n", 0, 0), (b"\n", 1, 1), (b"no\n", 1, 1)]
)
def test_a_selection_shows_its_plan_and_asks(program, answer, code, left):
    program.ok("ingest", "a", "--label", "team=web", stdin=b"1")
    with on_terminal(program, "delete", "--match", "labels.team==web") as terminal:
        terminal.expect(b"Delete 1 blob? [y/N] ")
        assert b"Delete 1 blob in .content: 1 B lost" in terminal.seen
        terminal.type(answer)
        assert terminal.end() == code
    assert len(program("list", "-q").lines) == left


def test_what_a_manifest_needs_since_the_question_stays(program):
    layer = program.ok("ingest", "a", "--label", "team=web", stdin=b"1").strip()
    with on_terminal(program, "delete", "--match", "labels.team==web") as terminal:
        terminal.expect(b"[y/N] ")
        manifest = {"schemaVersion": 2, "layers": [{"digest": layer}]}
        program.ok("ingest", "m", stdin=json.dumps(manifest).encode())
        terminal.type(b"y\n")
        assert terminal.end() == 1
    assert b"something needs it since" in terminal.seen
    assert layer in program("list", "-q").lines


def test_ctrl_c_at_the_question_does_nothing(program):
    program.leave_ingest("a", b"1", age_s=700)
    with on_terminal(program, "abort", "--abandoned") as terminal:
        terminal.expect(b"[y/N] ")
        terminal.process.send_signal(2)
        assert terminal.end() == 130
    assert program.ok("active", "-q") == "a\n"


def test_named_ones_are_not_asked_about(program):
    program.leave_ingest("a", b"1")
    with on_terminal(program, "abort", "a") as terminal:
        assert terminal.end() == 0
    assert b"[y/N]" not in terminal.seen


def test_an_ingest_draws_a_bar_and_takes_it_away(program):
    arguments = ("ingest", "layer-1", "--expected-size", "8MB")
    with on_terminal(program, *arguments, stdin=subprocess.PIPE) as terminal:
        terminal.process.stdin.write(b"x" * 4_000_000)
        terminal.process.stdin.flush()
        terminal.expect(b"layer-1")
        time.sleep(0.15)  # a bar is drawn ten times a second
        terminal.process.stdin.write(b"x" * 2_000_000)
        terminal.process.stdin.flush()
        terminal.expect("━".encode())
        terminal.process.stdin.write(b"x" * 2_000_000)
        terminal.process.stdin.close()
        assert terminal.end() == 0
    assert b"of 8.00 MB" in terminal.seen
    last = terminal.seen.rpartition(b"\x1b[K")[2].strip()
    assert last == program.ok("list", "-q").strip().encode()


def test_typing_the_content_is_announced(program):
    with on_terminal(program, "ingest", "typed") as terminal:
        terminal.expect(b"Ctrl-D")
        terminal.type(b"1\n\x04")
        assert terminal.end() == 0
    assert program.ok("list", "-q") == f"{Digest.of(b'1' + bytes([10]))}\n"


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_lines_fit_the_terminal(program, columns):
    program.ok("ingest", "a", "--label", "containerd.io/x=" + "y" * 300, stdin=b"1")
    program.leave_ingest("layer-sha256:" + "0" * 64, b"1", total=10)
    program.leave_ingest("宽" * 50, b"1", total=10)
    for verb in ("list", "active"):
        with on_terminal(program, verb, columns=columns) as terminal:
            assert terminal.end() == 0
        for line in terminal.seen.decode().splitlines():
            wide = sum(2 if char == "宽" else 1 for char in line)
            assert wide <= columns, (verb, line)
    with on_terminal(program, "list", "--wide", columns=columns) as terminal:
        assert terminal.end() == 0
    assert b"y" * 300 in terminal.seen


def test_binary_is_kept_from_a_terminal(program):
    binary = program.ok("ingest", "a", stdin=b"\x1b[31m\x00").strip()
    text = program.ok("ingest", "b", stdin='{"ok": "ä"}\n'.encode()).strip()
    with on_terminal(program, "get", binary) as terminal:
        assert terminal.end() == 2
    assert b"\x1b[31m" not in terminal.seen
    assert b"--force-tty" in terminal.seen
    with on_terminal(program, "get", text) as terminal:
        assert terminal.end() == 0
    assert '{"ok": "ä"}'.encode() in terminal.seen
    with on_terminal(program, "get", binary, "--force-tty") as terminal:
        assert terminal.end() == 0
    assert b"\x1b[31m\x00" in terminal.seen
