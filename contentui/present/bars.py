"""Progress bars and sparklines as strings of block characters."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from contentui.glyphs import GLYPHS

if TYPE_CHECKING:
    from collections.abc import Sequence

_EIGHTHS = GLYPHS.eighths
_LEVELS = GLYPHS.levels


@lru_cache(maxsize=128)
def _bars(width: int) -> tuple[str, ...]:
    """All bars of one width, from empty to full, an eighth of a cell apart."""
    ready = []
    for eighths in range(width * 8 + 1):
        full, rest = divmod(eighths, 8)
        bar = GLYPHS.full * full + (_EIGHTHS[rest] if rest else "")
        ready.append(bar.ljust(width))
    return tuple(ready)


def bar(fraction: float, width: int) -> str:
    """A bar of ``width`` cells; empty only at 0 and full only at 1 and above."""
    if width <= 0:
        return ""
    bars = _bars(width)
    last = len(bars) - 1
    if fraction <= 0:
        return bars[0]
    if fraction >= 1:
        return bars[last]
    return bars[min(max(int(fraction * last), 1), last - 1)]


def line_bar(offset: int, total: int, width: int) -> str:
    """A thin bar of ``width`` cells for lines of text; ``total`` 0: full."""
    done, rest = GLYPHS.line_done, GLYPHS.line_rest
    filled = min(width * offset // total, width) if total else width
    return done * filled + rest * (width - filled)


@lru_cache(maxsize=128)
def unknown_bar(width: int) -> str:
    """The bar of an ingest whose total is undeclared: a pattern that shows no share."""
    return (GLYPHS.unknown_bar * (width // 3 + 1))[:width]


def resample(samples: Sequence[float], width: int) -> list[float]:
    """The newest samples as at most ``width`` values: as they are, or the peak of each group."""
    count = len(samples)
    if width <= 0 or count <= width:
        return list(samples) if width > 0 else []
    edges = [count * step // width for step in range(width + 1)]
    return [max(samples[a:b]) for a, b in pairwise(edges)]


def sparkline(samples: Sequence[float], width: int, top: float | None = None) -> str:
    """``samples`` as one line of blocks, newest right; ``top``: the value of a full block.

    A sample above zero has at least the smallest block.
    """
    values = resample(samples, width)
    peak = max(values, default=0.0) if top is None else top
    if peak <= 0:
        return _LEVELS[0] * width
    levels = [min(8, max(1, round(v / peak * 8))) if v > 0 else 0 for v in values]
    return "".join(_LEVELS[level] for level in levels).rjust(width, _LEVELS[0])
