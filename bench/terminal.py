"""A program on a real pseudo-terminal: its output with the time of each piece, and its cost."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.measure import Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CALIBRATION_REFERENCE_S = 0.009
"""CPU seconds of `calibrate` on the machine for which the limits were set."""


def calibrate() -> float:
    """CPU seconds of a fixed loop, best of five: how fast this machine is now."""
    best = 1e9
    for _ in range(5):
        begun, value = time.thread_time(), 0
        for index in range(300_000):
            value += index & 7
        best = min(best, time.thread_time() - begun)
    return best


class Terminal:
    """A running program behind a terminal that swallows output as fast as it comes."""

    def __init__(self, argv: Sequence[str], cwd: Path, columns: int = 120, rows: int = 40) -> None:
        self.pieces: list[tuple[float, bytes]] = []
        """Each piece of output with the clock at its arrival."""
        self.begun = time.perf_counter()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            _become(argv, cwd, columns, rows)
        self._arrived = threading.Condition()
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._reader.start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + 5
        while os.waitpid(self.pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                deadline += 5
            time.sleep(0.02)
        self._reader.join(5)
        os.close(self._fd)

    def _drain(self) -> None:
        while True:
            try:
                piece = os.read(self._fd, 1 << 16)
            except OSError:
                piece = b""
            with self._arrived:
                self.pieces.append((time.perf_counter(), piece))
                self._arrived.notify_all()
            if not piece:
                return

    def press(self, key: bytes) -> float:
        """Send a key; returns the clock just before."""
        now = time.perf_counter()
        os.write(self._fd, key)
        return now

    def await_output(
        self, wanted: Callable[[bytes], bool], since: int = 0, limit: float = 20
    ) -> float:
        """The clock when all output since piece number ``since`` first was as ``wanted``.

        Raises:
            Failed: the program ended, or it took longer than ``limit`` seconds.
        """
        deadline = time.perf_counter() + limit
        seen, output = since, b""
        while True:
            with self._arrived:
                while len(self.pieces) == seen:
                    if not self._arrived.wait(max(0.0, deadline - time.perf_counter())):
                        raise Failed(f"no answer in {limit} s; last output {output[-200:]!r}")
                new = self.pieces[seen:]
            for at, piece in new:
                if not piece:
                    raise Failed(f"the program has ended: {output[-500:]!r}")
                seen, output = seen + 1, output + piece
                if wanted(output):
                    return at

    def cpu(self) -> float:
        """Seconds of CPU that all its threads have used, in nanoseconds where Linux has them."""
        total = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def share(self, seconds: float) -> float:
        """The share of a core that it uses over the next ``seconds``."""
        used, begun = self.cpu(), time.perf_counter()
        select.select([], [], [], seconds)
        return (self.cpu() - used) / (time.perf_counter() - begun)

    def memory(self) -> int:
        """Bytes of resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def _become(argv: Sequence[str], cwd: Path, columns: int, rows: int) -> None:
    """In the child: turn into the program."""
    try:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.chdir(cwd)
        env = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        for name in ("LINES", "COLUMNS", "NO_COLOR", "TMUX"):
            env.pop(name, None)
        os.execvpe(argv[0], list(argv), env)
    finally:
        os._exit(127)
