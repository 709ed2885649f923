"""How many bytes the screen of the demo writes to a terminal of 120x40, in both modes."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from bench.measure import Figure
from bench.programs import contentui
from bench.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.measure import Bench
    from bench.work import Work

SETTLED_S = 3
"""After which the screen is drawn and the demo's ingests move."""
SYNC_QUERY, SYNC_REPLY = b"\x1b[?2026$p", b"\x1b[?2026;2$y"
"""Whether the terminal can hold back a frame until it is whole; current terminals can."""
MODES = ((), 40.0), (("--low-bandwidth",), 15.0)
"""The options of each mode and the most kB/s that it may write."""


def measure(bench: Bench, work: Work) -> Iterator[Figure]:
    """All figures of this theme."""
    seconds = bench.scaled(20, 6)
    for options, limit in MODES:
        store = work.fresh("bandwidth")  # the demo makes its own, and only needs a directory
        with Terminal([*contentui(store, "demo"), *options], store) as terminal:
            terminal.await_output(lambda output: SYNC_QUERY in output)
            terminal.press(SYNC_REPLY)
            time.sleep(SETTLED_S)
            frames, written = written_by(terminal, seconds)
        name = " ".join(("demo at 120x40", *options))
        note = f"{frames / seconds:.1f} writes a second over {seconds} s"
        yield Figure(f"terminal output, {name}", written / seconds / 1000, "kB/s", limit, note)


def written_by(terminal: Terminal, seconds: float) -> tuple[int, int]:
    """Pieces and bytes that arrive in the next ``seconds``."""
    before = len(terminal.pieces)
    with contextlib.suppress(InterruptedError):
        time.sleep(seconds)
    pieces = terminal.pieces[before:]
    return len(pieces), sum(len(piece) for _, piece in pieces)
