"""Processes for the tests of a service: itself, its clients, and what they use."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHILD = Path(__file__).with_name("service_child.py")


def await_true(condition: Callable[[], bool], limit_s: float = 10, what: str = "it") -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {limit_s} s"
        time.sleep(0.01)


class Child:
    """A process that has said that it is ready."""

    def __init__(self, *argv: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *map(str, argv)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        if "ready" not in self.process.stdout.readline():
            self.process.kill()
            raise AssertionError(self.process.communicate()[1])

    @property
    def pid(self) -> int:
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGKILL) -> str:
        """Send a signal, wait for the end; what it said on stderr."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
        return self.process.communicate(timeout=15)[1]


class Server:
    """Our service in a process of its own, on a directory and a socket that outlive it."""

    def __init__(self, place: Path, *arguments: object) -> None:
        self.place = place
        self.arguments = arguments
        self.root = place / "store"
        self.root.mkdir()
        self.socket = place / "s"
        self.child = self.start()

    def start(self) -> Child:
        arguments = ("--listen", f"unix://{self.socket}", "--grace", "2s", "--json")
        argv = ("--store", self.root, "serve", *arguments, *self.arguments)
        self.child = Child("-m", "contentui", *argv)
        return self.child

    @property
    def target(self) -> str:
        return f"unix:{self.socket}"

    def memory_kib(self) -> int:
        return status_kib(self.child.pid, "VmRSS")

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.child.pid}/fd"))

    def connections(self) -> int:
        """Sockets that are connected to a client, or listen."""
        place = f"/proc/{self.child.pid}/fd"
        found = 0
        for name in os.listdir(place):
            with contextlib.suppress(FileNotFoundError):
                found += os.readlink(f"{place}/{name}").startswith("socket:")
        return found

    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.child.pid}/task"))

    def is_committed(self) -> list[str]:
        """The names of all blobs on disk."""
        found = self.root / "blobs/sha256"
        return os.listdir(found) if found.is_dir() else []


def status_kib(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise AssertionError(f"no {field} of {pid}")


@contextlib.contextmanager
def short_place() -> Iterator[Path]:
    """A directory whose path leaves room for a socket's name."""
    path = Path(tempfile.mkdtemp(prefix="cs-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def serving(*arguments: object) -> Iterator[Server]:
    """``contentui serve`` with these arguments, too."""
    with short_place() as place:
        server = Server(place, *arguments)
        try:
            yield server
        finally:
            words = server.child.end(signal.SIGTERM)
            assert "Traceback" not in words, words


@contextlib.contextmanager
def child(*arguments: object) -> Iterator[Child]:
    """A client, as ``service_child.py`` knows it."""
    made = Child(CHILD, *arguments)
    try:
        yield made
    finally:
        made.end()


def touch_and_go(path: Path, greeting: bytes) -> None:
    """Connect, say something, leave."""
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(str(path))
        with contextlib.suppress(OSError):
            one.sendall(greeting)
