"""Many live ingests, spread over a few writing processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.measure import Failed

SCRIPT = Path(__file__).with_name("writers.py")
MOST_EACH = 2500
"""Writers of one process: each keeps some descriptors open."""


class LiveIngests:
    """``count`` live writers on a store, in other processes; they end with the ``with`` block."""

    def __init__(self, store: Path, count: int, each: int = MOST_EACH) -> None:
        self.store = store
        self.count = count
        self.each = each
        self.running: list[subprocess.Popen[str]] = []

    def __enter__(self) -> LiveIngests:
        for first in range(0, self.count, self.each):
            count = min(self.each, self.count - first)
            argv = [sys.executable, str(SCRIPT), str(self.store), str(first), str(count)]
            self.running.append(
                subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
        for process in self.running:
            self._expect(process, "ready")
        return self

    def __exit__(self, *exc: object) -> None:
        for process in self.running:
            process.kill()
            process.communicate()

    def _expect(self, process: subprocess.Popen[str], word: str) -> None:
        assert process.stdout
        if (line := process.stdout.readline().strip()) != word:
            raise Failed(f"a writer said {line!r} instead of {word!r}")

    def _tell(self, line: str) -> None:
        stdin = self.running[0].stdin
        assert stdin
        stdin.write(line + "\n")
        stdin.flush()

    def touch(self, count: int) -> None:
        """Let ``count`` ingests grow by 1 KiB; returns when they have."""
        self._tell(f"touch {count}")
        self._expect(self.running[0], "done")

    def rate(self, hertz: float, count: int) -> None:
        """Let ``count`` ingests of the first process grow that often, from now on."""
        self._tell(f"rate {hertz} {count}")
