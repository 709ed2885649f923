"""Progress of long work on standard error: a bar, plain lines, JSON lines, or nothing."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Literal

from contentui.cli.output import write_stderr
from contentui.monitor.rates import WindowMeter
from contentui.text import human_countdown, human_rate, human_size, visible

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Callable

Mode = Literal["bar", "plain", "json", "none"]

_EVERY_S: dict[str, float] = {"bar": 0.1, "plain": 1.0, "json": 1.0, "none": 3600.0}


def add_progress(parser: ArgumentParser, otherwise: Mode = "none") -> None:
    """``--progress``."""
    parser.add_argument(
        "--progress",
        choices=("bar", "plain", "json", "none"),
        help=f"on standard error (default: a bar on a terminal, else {otherwise})",
    )


def mode_for(wanted: Mode | None, otherwise: Mode = "none") -> Mode:
    """What was asked for, else a bar where standard error is a terminal that can redraw."""
    if wanted is not None:
        return wanted
    able = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return "bar" if able else otherwise


class ProgressLine:
    """Shows ``offset`` of ``total`` bytes, at most ten times a second. A context manager.

    Call it with the offset, in bytes; it is a `contentui.content.store.Progress`.
    """

    def __init__(
        self,
        label: str,
        total: int,
        mode: Mode,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label = visible(label)
        self._total = total
        self._mode = mode
        self._clock = clock
        self._next = 0.0
        self._meter = WindowMeter()
        self._offset: int | None = None
        self._drawn = False

    def __call__(self, offset: int, /) -> None:
        now = self._clock()
        if now < self._next or self._mode == "none":
            return
        self._next = now + _EVERY_S[self._mode]
        self._meter.add(0 if self._offset is None else offset - self._offset, now)
        self._offset = offset
        self._show(offset, self._meter.rate(now))

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._drawn:
            write_stderr("\r\x1b[K")

    def _show(self, offset: int, rate: float) -> None:
        eta = (self._total - offset) / rate if rate and self._total >= offset else None
        if self._mode == "json":
            from contentui.present.records import json_line, progress_record

            record = progress_record(self._label, offset, self._total, rate, eta)
            write_stderr(json_line(record) + "\n")
            return
        text = self._numbers(offset, rate, eta)
        if self._mode == "plain":
            write_stderr(f"{self._label}: {text}\n")
            return
        self._drawn = True
        write_stderr("\r" + self._bar(offset, text) + "\x1b[K")

    def _numbers(self, offset: int, rate: float, eta: float | None) -> str:
        if not self._total:
            return f"{human_size(offset)}  {human_rate(rate)}"
        percent = min(100 * offset // self._total, 100)
        left = "" if eta is None else f"  {human_countdown(eta + 0.99)} left"
        sizes = f"{human_size(offset)} of {human_size(self._total)}"
        return f"{percent:3d}%  {sizes}  {human_rate(rate)}{left}"

    def _bar(self, offset: int, text: str) -> str:
        from contentui.present.bars import line_bar
        from contentui.present.cells import elide, elide_middle

        columns = _columns()
        room = columns - 1 - len(text) - 2
        label = elide_middle(self._label, max(min(len(self._label), room // 2), 8))
        width = min(room - len(label) - 2, 40)
        if not self._total or width < 6:
            return elide(f"{label}  {text}", columns - 1)
        return f"{label}  {line_bar(offset, self._total, width)}  {text}"


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        return 80
