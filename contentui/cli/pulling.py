"""A transfer on standard error: a line for each part and one for the whole, or lines for logs."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from contentui.cli.columns import cut
from contentui.text import human_duration, human_rate, human_size, visible
from contentui.transfers.model import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from contentui.cli.progress import Mode
    from contentui.transfers.model import Part, Transfer

_REDRAW_S = 0.125
_LOG_EVERY_S = 1.0
"""A part is told of in a log at most so often, unless its phase changes."""
_WINDOW_S = 5.0
_SILENT_S = 3.0
"""Silence that is worth a word, seconds."""
_ENDED = (Phase.DONE, Phase.EXISTS, Phase.MOUNTED)
_BUSY = (Phase.DOWNLOADING, Phase.UPLOADING, Phase.RETRYING, Phase.VERIFYING, Phase.FAILED)


class Rate:
    """Bytes per second over the last seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()
        self.grown_at = 0.0
        """When the offset grew last."""

    def see(self, offset: int, now: float) -> None:
        """Note an offset, in bytes."""
        if not self._samples or offset != self._samples[-1][1]:
            self.grown_at = now
        self._samples.append((now, offset))
        while len(self._samples) > 2 and now - self._samples[0][0] > _WINDOW_S:
            self._samples.popleft()

    def bytes_s(self, now: float) -> float:
        """The rate; 0.0 while nothing grows."""
        if len(self._samples) < 2:
            return 0.0
        then, first = self._samples[0]
        return max(self._samples[-1][1] - first, 0) / max(now - then, 0.001)


class TransferView:
    """Shows a `Transfer` as it changes; call it with each new state. A context manager."""

    def __init__(self, mode: Mode, clock: Callable[[], float] = time.monotonic) -> None:
        self._mode = mode
        self._clock = clock
        self._transfer: Transfer | None = None
        self._rates: dict[str, Rate] = {}
        self._whole = Rate()
        self._told: dict[str, tuple[float, Phase, str]] = {}
        self._drawn = 0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._redraw, daemon=True)

    def __call__(self, transfer: Transfer) -> None:
        now = self._clock()
        with self._lock:
            self._transfer = transfer
            for part in transfer.parts:
                self._rates.setdefault(part.descriptor.digest, Rate()).see(part.offset, now)
            self._whole.see(transfer.offset, now)
            if self._mode in ("plain", "json"):
                self._log(transfer, now)

    def __enter__(self) -> TransferView:
        if self._mode == "bar":
            self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        if self._mode == "bar":
            self._thread.join()
            with self._lock:
                self._draw()

    def _redraw(self) -> None:
        while not self._ended.wait(_REDRAW_S):
            with self._lock:
                self._draw()

    def _draw(self) -> None:
        """Paint over the last frame. Never more lines than the window has."""
        if self._transfer is None:
            return
        columns, height = _window()
        lines = frame(self._transfer, self._rates, self._whole, self._clock(), columns, height - 1)
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        gone = max(self._drawn - len(lines), 0)
        text = up + "".join(f"\r{line}\x1b[K\n" for line in lines)
        text += "\r\x1b[K\n" * gone + (f"\x1b[{gone}A" if gone else "")
        self._drawn = len(lines)
        _write(text)

    def _log(self, transfer: Transfer, now: float) -> None:
        for part in transfer.parts:
            key = part.descriptor.digest
            at, phase, _ = self._told.get(key, (-_LOG_EVERY_S, None, ""))
            news = part.phase is not phase
            if not news and (part.phase in _ENDED or now - at < _LOG_EVERY_S):
                continue
            if not news and part.phase is Phase.WAITING:
                continue
            self._told[key] = (now, part.phase, part.words)
            rate = self._rates[key].bytes_s(now)
            _write(self._json(transfer, part, rate) if self._mode == "json" else _plain(part, rate))
        if transfer.words and self._told.get("", (0, None, ""))[2] != transfer.words:
            self._told[""] = (now, Phase.WAITING, transfer.words)
            if self._mode == "plain":
                _write(f"{visible(transfer.image)}: {visible(transfer.words)}\n")

    def _json(self, transfer: Transfer, part: Part, rate: float) -> str:
        from contentui.cli.records import json_line

        record: dict[str, Any] = {
            "image": visible(transfer.image),
            "ref": visible(part.ref),
            "digest": part.descriptor.digest,
            "phase": str(part.phase),
            "words": visible(part.words) or None,
            "offset_bytes": part.offset,
            "total_bytes": part.descriptor.size,
            "resumed_from_bytes": part.resumed,
            "rate_bytes_per_s": round(rate),
            "host": visible(part.host) or None,
        }
        return json_line(record) + "\n"


def frame(
    transfer: Transfer,
    rates: dict[str, Rate],
    whole: Rate,
    now: float,
    columns: int,
    height: int,
) -> list[str]:
    """The lines of one picture: the whole, then its parts, those that move first to be kept."""
    lines = [cut(_whole_line(transfer, whole, now), columns - 1)]
    shown, hidden = _fitting(transfer.parts, max(height - 1, 1))
    for part in shown:
        rate = rates.get(part.descriptor.digest) or Rate()
        lines.append(cut(_part_line(part, rate, now, columns), columns - 1))
    if hidden:
        lines.append(cut(f"  … {_counts(hidden)}", columns - 1))
    return lines


def _fitting(parts: Iterable[Part], room: int) -> tuple[list[Part], list[Part]]:
    """Which parts get a line, in their order, and which are only counted."""
    parts = list(parts)
    if len(parts) <= room:
        return parts, []
    busy = [part for part in parts if part.phase in _BUSY]
    rest = [part for part in parts if part.phase not in _BUSY]
    chosen = (busy + rest)[: room - 1]
    names = {part.descriptor.digest for part in chosen}
    shown = [part for part in parts if part.descriptor.digest in names]
    return shown, [part for part in parts if part.descriptor.digest not in names]


def _counts(parts: Iterable[Part]) -> str:
    found: dict[Phase, int] = {}
    for part in parts:
        found[part.phase] = found.get(part.phase, 0) + 1
    return ", ".join(f"{count} {phase}" for phase, count in found.items())


def _whole_line(transfer: Transfer, whole: Rate, now: float) -> str:
    image = visible(transfer.image, 200)
    if transfer.error:
        return f"{image}  failed: {visible(transfer.error)}"
    if transfer.words:
        return f"{image}  {visible(transfer.words)}"
    ended = sum(part.phase in _ENDED for part in transfer.parts)
    sizes = f"{human_size(transfer.offset)} of {human_size(transfer.total)}"
    text = f"{image}  {ended}/{len(transfer.parts)} parts  {sizes}"
    rate = whole.bytes_s(now)
    if rate and ended < len(transfer.parts):
        text += f"  {human_rate(rate)}  {_left(transfer.total - transfer.offset, rate)}"
    return text


def _part_line(part: Part, rate: Rate, now: float, columns: int) -> str:
    size = part.descriptor.size
    name = f"  {_name(part):<20}"
    words = visible(part.words, 300) or str(part.phase)
    if part.phase is Phase.DOWNLOADING or part.phase is Phase.UPLOADING:
        words = _moving_words(part, rate, now)
    bar = _bar(part.offset, size, min(max(columns - 74, 8), 40))
    sizes = f"{human_size(part.offset)}/{human_size(size)}"
    return f"{name} {bar} {sizes:>15}  {words}"


def _moving_words(part: Part, rate: Rate, now: float) -> str:
    silent = now - rate.grown_at
    if silent >= _SILENT_S:
        return f"nothing from {visible(part.host, 60)} for {human_duration(silent)}"
    speed = rate.bytes_s(now)
    said = f"{human_rate(speed)}  {_left(part.descriptor.size - part.offset, speed)}"
    return f"{said}  {visible(part.words, 100)}" if part.words else said


def _left(size: int, rate: float) -> str:
    return f"{human_duration(size / rate + 0.99)} left" if rate else ""


def _name(part: Part) -> str:
    """``layer 84ff92691f90``."""
    kind = part.ref.partition("-")[0]
    return f"{visible(kind, 8)} {part.descriptor.digest.encoded[:12]}"


def _bar(offset: int, size: int, width: int) -> str:
    done, rest = ("━", "─") if _is_unicode() else ("#", "-")
    filled = min(width * offset // size, width) if size else width
    return done * filled + rest * (width - filled)


def _plain(part: Part, rate: float) -> str:
    sizes = f"{human_size(part.offset)} of {human_size(part.descriptor.size)}"
    words = visible(part.words, 300) or str(part.phase)
    speed = f"  {human_rate(rate)}" if part.phase is Phase.DOWNLOADING and rate else ""
    return f"{_name(part)}: {words}  {sizes}{speed}\n"


def _window() -> tuple[int, int]:
    """Columns and lines of the terminal behind standard error."""
    try:
        size = os.get_terminal_size(sys.stderr.fileno())
    except OSError:
        return 80, 24
    return size.columns or 80, max(size.lines or 24, 4)


def _is_unicode() -> bool:
    return (sys.stderr.encoding or "").lower().replace("-", "") == "utf8"


def _write(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass  # a closed terminal must not end the work that it was told about
