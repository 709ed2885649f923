"""The process ends within three seconds, whatever the terminal does."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT_S = 3.0
SLACK_S = 1.5
"""For a machine that does other things too."""


class Dashboard:
    """A dashboard on a pseudo terminal of its own, whose output is read until `stop_reading`."""

    def __init__(self, *arguments: str) -> None:
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm-256color"
            os.execv(sys.executable, [sys.executable, "-m", "contentui", *arguments])
        size = struct.pack("HHHH", 40, 120, 0, 0)
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, size)
        self.output = b""
        self._reading = True
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while self._reading:
            try:
                if select.select([self._terminal], [], [], 0.05)[0]:
                    self.output += os.read(self._terminal, 1 << 16)
            except OSError:
                return

    def until(self, words: bytes) -> None:
        deadline = time.monotonic() + 30
        while words not in self.output:
            assert time.monotonic() < deadline, self.output[-2000:]
            time.sleep(0.02)

    def stop_reading(self) -> None:
        self._reading = False
        self._reader.join()

    def press(self, keys: bytes) -> None:
        os.write(self._terminal, keys)

    def close(self) -> None:
        self.stop_reading()
        os.close(self._terminal)

    def wait(self, limit_s: float = LIMIT_S + SLACK_S) -> int:
        """The exit code. Fails when it does not end in time."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise AssertionError("the process did not end")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    store = LocalStore(str(tmp_path / "store"), create=True)
    store.put(b"a blob")
    with store.writer("half", total=10) as writer:
        writer.write(b"12345")
    return store.name


def close(source: str, delay_s: float) -> int:
    dashboard = Dashboard("--store", source)
    dashboard.until(b"Blobs")
    time.sleep(delay_s)
    dashboard.close()
    return dashboard.wait()


def closings(source: str, count: int) -> None:
    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(lambda n: close(source, n % 10 * 0.05), range(count)))
    # SIGALRM is the last resort, for an interpreter that hangs
    assert set(codes) <= {128 + signal.SIGHUP, -signal.SIGALRM}


def test_twenty_closed_terminals(source: str) -> None:
    closings(source, 20)


@pytest.mark.torture
@pytest.mark.timeout(900)
def test_two_hundred_closed_terminals(source: str) -> None:
    closings(source, 200)


@pytest.fixture
def dashboard(source: str) -> Iterator[Dashboard]:
    dashboard = Dashboard("--store", source)
    dashboard.until(b"Blobs")
    yield dashboard
    dashboard.close()


def test_a_signal_while_the_terminal_does_not_read(dashboard: Dashboard) -> None:
    dashboard.stop_reading()
    for _ in range(60):  # each draws: the terminal's buffer is full
        dashboard.press(b"?\x1b\t")
        time.sleep(0.01)
    os.kill(dashboard.pid, signal.SIGTERM)
    assert dashboard.wait() == 128 + signal.SIGTERM


def test_a_process_that_was_stopped_draws_again(dashboard: Dashboard) -> None:
    os.kill(dashboard.pid, signal.SIGSTOP)
    os.waitpid(dashboard.pid, os.WUNTRACED)
    dashboard.output = b""
    os.kill(dashboard.pid, signal.SIGCONT)
    dashboard.until(b"\x1b[?1049h")
    dashboard.until(b"Blobs")
    dashboard.press(b"q")
    assert dashboard.wait() == 0


def test_ctrl_z_suspends(dashboard: Dashboard) -> None:
    dashboard.press(b"\x1a")
    _, status = os.waitpid(dashboard.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    dashboard.until(b"\x1b[?1049l")
    dashboard.output = b""
    os.kill(dashboard.pid, signal.SIGCONT)
    dashboard.until(b"Blobs")
    dashboard.press(b"q")
    assert dashboard.wait() == 0


def test_a_closed_demo_leaves_no_process_and_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    demo = Dashboard("demo")
    demo.until(b"Blobs")
    time.sleep(1)
    assert list(tmp_path.iterdir())
    demo.close()
    demo.wait()
    deadline = time.monotonic() + 5
    while list(tmp_path.iterdir()):
        assert time.monotonic() < deadline, list(tmp_path.iterdir())
        time.sleep(0.05)
