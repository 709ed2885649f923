"""A transfer on standard error: a live display, or lines for logs."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from typing import TYPE_CHECKING

from contentui.cli.output import write_stderr
from contentui.present.cells import cell_len
from contentui.present.transfers import (
    ENDED,
    MOVING,
    Rates,
    Terminal,
    part_name,
    render_transfer,
)
from contentui.text import human_duration, human_rate, human_size, visible
from contentui.transfers.model import FREE_CONNECTION, Phase

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from contentui.cli.progress import Mode
    from contentui.content.digest import Digest
    from contentui.transfers.model import Part, Transfer

_REDRAW_S = 0.125
_LOG_EVERY_S: dict[str, float] = {"plain": 30.0, "json": 1.0}
"""Shortest time between two log lines of a part that moves, seconds."""


class TransferView:
    """Shows a `Transfer` as it changes; call it with each new state. A context manager."""

    def __init__(self, mode: Mode, clock: Callable[[], float] = time.monotonic) -> None:
        self._mode = mode
        self._clock = clock
        self._began = clock()
        self._transfer: Transfer | None = None
        self._rates = Rates()
        self._logged: dict[Digest, tuple[float, Phase, str]] = {}
        """Of each part's last line: time, phase, and what it waits for."""
        self._logged_message = ""
        self._drawn: list[int] = []
        """The width of each line that was drawn last, in columns."""
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._redraw, daemon=True)

    def __call__(self, transfer: Transfer) -> None:
        now = self._clock()
        with self._lock:
            self._transfer = transfer
            changed = self._rates.see(transfer.parts, now)
            if self._mode in ("plain", "json"):
                self._log(transfer, changed, now)

    def __enter__(self) -> Self:
        if self._mode == "bar":
            self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        if self._mode == "bar":
            self._thread.join()
            with self._lock:
                self._draw(over=self._over())

    def _over(self) -> str:
        took = f"in {human_duration(self._clock() - self._began)}"
        parts = self._transfer.parts if self._transfer else ()
        whole = parts and all(part.phase in ENDED for part in parts)
        return took if whole else f"stopped after {took[3:]}"

    def _redraw(self) -> None:
        while not self._ended.wait(_REDRAW_S):
            with self._lock:
                self._draw()

    def _draw(self, *, over: str = "") -> None:
        """Replace what was drawn last. Never more lines than the terminal has."""
        if self._transfer is None:
            return
        terminal = _terminal()
        lines = render_transfer(self._transfer, self._rates, self._clock(), terminal, over=over)
        # a terminal that became narrower has wrapped these lines
        rows = sum(max(-(-width // terminal.columns), 1) for width in self._drawn)
        up = min(rows, terminal.lines - 1)
        text = (f"\x1b[{up}A" if up else "") + "\r"
        if rows != len(self._drawn):
            text += "\x1b[J"
        text += "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J"
        self._drawn = [cell_len(line) for line in lines]
        write_stderr(text)

    def _log(self, transfer: Transfer, changed: list[Part], now: float) -> None:
        for part in changed:
            if not self._is_due(part, now):
                continue
            rate = self._rates.of(part).rate(now) if part.phase in MOVING else 0.0
            as_json = self._mode == "json"
            write_stderr(_json(transfer, part, rate) if as_json else _plain(part, rate))
        message = transfer.error or transfer.message
        if message and _without_countdown(message) != self._logged_message:
            self._logged_message = _without_countdown(message)
            write_stderr(self._whole(transfer, message))

    def _is_due(self, part: Part, now: float) -> bool:
        """Whether a part gets a line: for its end, for each wait, and now and then as it moves."""
        key, wait = part.descriptor.digest, _without_countdown(part.message)
        at, phase, waited_for = self._logged.get(key, (self._began, None, ""))
        if self._mode == "plain" and part.phase not in ENDED:
            if part.phase in MOVING:
                due = now - at >= _LOG_EVERY_S["plain"]
            else:
                due = bool(wait) and wait != waited_for and part.phase is not Phase.VERIFYING
                due = due and wait != FREE_CONNECTION
        elif part.phase in MOVING and part.phase is phase:
            due = now - at >= _LOG_EVERY_S["json"]
        else:
            due = (part.phase, wait) != (phase, waited_for)
        if due:
            self._logged[key] = now, part.phase, wait
        elif part.phase in MOVING and waited_for:
            self._logged[key] = at, part.phase, ""  # the next wait is another one
        return due

    def _whole(self, transfer: Transfer, message: str) -> str:
        if self._mode == "plain":
            return f"{visible(transfer.image)}: {visible(message)}\n"
        from contentui.present.records import json_line, transfer_record

        return json_line(transfer_record(transfer)) + "\n"


def _without_countdown(message: str) -> str:
    """A message without the seconds that are left: ``retrying in 4s (3/6): …``."""
    return re.sub(r"^retrying in [^(]*", "", message)


def _json(transfer: Transfer, part: Part, rate: float) -> str:
    from contentui.present.records import json_line, part_record

    return json_line(part_record(transfer, part, rate)) + "\n"


def _plain(part: Part, rate: float) -> str:
    sizes = f"{human_size(part.offset)} of {human_size(part.descriptor.size)}"
    message = visible(part.message, 300) or str(part.phase)
    speed = f"  {human_rate(rate)}" if rate else ""
    return f"{part_name(part)}: {message}  {sizes}{speed}\n"


def _terminal() -> Terminal:
    """The size of the terminal behind standard error."""
    try:
        size = os.get_terminal_size(sys.stderr.fileno())
    except OSError:
        return Terminal(80, 24)
    return Terminal(size.columns or 80, max(size.lines or 24, 2))
