"""A transfer as lines for a terminal of any size: a summary, then a line for each part."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from contentui.glyphs import GLYPHS
from contentui.monitor.rates import WindowMeter
from contentui.present.bars import line_bar
from contentui.present.cells import elide, elide_middle
from contentui.text import human_countdown, human_duration, human_rate, human_size, visible
from contentui.transfers.model import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from contentui.content.digest import Digest
    from contentui.transfers.model import Part, Transfer

ENDED = (Phase.DONE, Phase.EXISTS, Phase.MOUNTED)
MOVING = (Phase.DOWNLOADING, Phase.UPLOADING)
_BUSY = (*MOVING, Phase.RETRYING, Phase.VERIFYING, Phase.FAILED)
_SILENT_S = 3.0
"""Seconds without a byte after which that is shown."""
_FEW_COLUMNS = 56
"""Narrower terminals have room for a digest and a word only."""
_BAR_FROM = 80
_NAME = 20


class Rates:
    """How fast a transfer's parts move, and all of them together."""

    def __init__(self) -> None:
        self._parts: dict[Digest, tuple[Part, WindowMeter]] = {}
        self._last: tuple[Part, ...] = ()
        self.whole = WindowMeter()

    def see(self, parts: Sequence[Part], now: float) -> list[Part]:
        """Take in a state; returns the parts that are new or differ from the last one."""
        changed = []
        moved = 0
        for part in self._candidates(parts):
            before, rate = self._parts.get(part.descriptor.digest, (None, None))
            if before is part:
                continue
            changed.append(part)
            rate = rate or WindowMeter()
            moved += self._moved(before, part, rate, now)
            self._parts[part.descriptor.digest] = part, rate
        if moved or any(part.phase in MOVING for part in changed):
            self.whole.add(moved, now)
        return changed

    def _candidates(self, parts: Sequence[Part]) -> list[Part]:
        """Those that aren't what they were: most are, of hundreds, at each change."""
        last, self._last = self._last, tuple(parts)
        found = [part for before, part in zip(last, parts, strict=False) if before is not part]
        return [*found, *parts[len(last) :]]

    def of(self, part: Part) -> WindowMeter:
        """A part's own."""
        known = self._parts.get(part.descriptor.digest)
        return known[1] if known else WindowMeter()

    def _moved(self, before: Part | None, part: Part, rate: WindowMeter, now: float) -> int:
        """Bytes that came since: what was there before, or is skipped, has not moved."""
        if before is None or before.phase not in MOVING:
            if part.phase in MOVING:
                rate.begin(now)
            return 0
        size = max(part.offset - before.offset, 0)
        rate.add(size, now)
        return size


class Terminal(NamedTuple):
    """A terminal's size."""

    columns: int
    lines: int


def render_transfer(
    transfer: Transfer, rates: Rates, now: float, terminal: Terminal, *, over: str = ""
) -> list[str]:
    """The lines to draw, fewer than the terminal has; parts that move are kept first.

    ``over``: how the transfer has ended; empty while it runs.
    """
    width = _width(terminal)
    lines = [_summary_line(transfer, rates.whole, now, width, over)]
    shown, hidden = _fitting(transfer.parts, terminal.lines - 2)
    lines += [
        elide(_part_line(part, rates.of(part), now, terminal, over=bool(over)), width)
        for part in shown
    ]
    if hidden and terminal.lines > 2:
        lines.append(elide(f"  {GLYPHS.pending} {_counts(hidden)}", width))
    return lines


def _width(terminal: Terminal) -> int:
    return max(terminal.columns - 1, 10)


def part_name(part: Part) -> str:
    """``layer 84ff92691f90``."""
    kind = part.ref.partition("-")[0]
    return f"{visible(kind, 8)} {part.descriptor.digest.encoded[:12]}"


def _fitting(parts: Sequence[Part], room: int) -> tuple[list[Part], list[Part]]:
    """Which parts get a line, in their order, and which are only counted."""
    if len(parts) <= room:
        return list(parts), []
    busy = [part for part in parts if part.phase in _BUSY]
    waiting = [part for part in parts if part.phase is Phase.WAITING]
    ended = [part for part in parts if part.phase in ENDED]
    chosen = (busy + waiting + ended)[: max(room - 1, 0)]
    names = {part.descriptor.digest for part in chosen}
    shown = [part for part in parts if part.descriptor.digest in names]
    return shown, [part for part in parts if part.descriptor.digest not in names]


def _counts(parts: Iterable[Part]) -> str:
    found: dict[Phase, int] = {}
    for part in parts:
        found[part.phase] = found.get(part.phase, 0) + 1
    return ", ".join(f"{count} {phase}" for phase, count in found.items())


def _summary_line(transfer: Transfer, whole: WindowMeter, now: float, width: int, over: str) -> str:
    text = _summary_text(transfer, whole, now, over)
    if width < _FEW_COLUMNS:
        return elide(text, width)
    name = elide_middle(visible(transfer.image, 200), max(width - len(text) - 2, 16))
    return elide(f"{name}  {text}", width)


def _summary_text(transfer: Transfer, whole: WindowMeter, now: float, over: str) -> str:
    if transfer.error:
        return "failed"  # the verb prints the reason below
    if transfer.message and not over:
        return visible(transfer.message)
    ended = sum(part.phase in ENDED for part in transfer.parts)
    sizes = f"{human_size(transfer.offset)} of {human_size(transfer.total)}"
    text = f"{ended}/{len(transfer.parts)} parts  {sizes}"
    rate = whole.rate(now)
    if over:
        return f"{text}  {over}"
    if rate and ended < len(transfer.parts):
        text += f"  {human_rate(rate)}  {_left(transfer.total - transfer.offset, rate)}"
    return text


def _part_line(part: Part, rate: WindowMeter, now: float, terminal: Terminal, *, over: bool) -> str:
    width = _width(terminal)
    size = part.descriptor.size
    status = _status_text(part, rate, now, over=over)
    sizes = f"{human_size(part.offset)}/{human_size(size)}"
    if width < _FEW_COLUMNS:
        digest = part.descriptor.digest.encoded[:12]
        is_rate = part.phase in MOVING and not over
        return f"{digest} {sizes:>15} {status}" if is_rate else f"{digest} {status}"
    name = f"  {part_name(part):<{_NAME}}"
    if width < _BAR_FROM - 1:
        return f"{name} {sizes:>15}  {status}"
    bar = line_bar(part.offset, size, min(max(width - 70, 8), 40))
    return f"{name} {bar} {sizes:>15}  {status}"


def _status_text(part: Part, rate: WindowMeter, now: float, *, over: bool) -> str:
    if part.phase is Phase.FAILED:
        return f"failed: {visible(part.message, 300)}"
    if part.phase not in MOVING:
        return visible(part.message, 300) or str(part.phase)
    if over:
        return "stopped"
    silent = now - rate.grown_at
    if silent >= _SILENT_S:
        return visible(part.message, 100) or (
            f"nothing from {visible(part.host, 60)} for {human_duration(silent)}"
        )
    speed = rate.rate(now)
    if not speed:
        return visible(part.message, 100) or str(part.phase)
    text = f"{human_rate(speed)}  {_left(part.descriptor.size - part.offset, speed)}"
    return f"{text}  {visible(part.message, 100)}" if part.message else text


def _left(size: int, rate: float) -> str:
    return f"{human_countdown(size / rate + 0.99)} left" if rate else ""
