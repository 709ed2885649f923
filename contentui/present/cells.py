"""How many cells of a terminal a text takes, and text cut and padded to cells.

The widths are those of Rich, which paints the screen, without importing it: plain verbs use them.
A character that Python's Unicode has not assigned counts as one cell.
"""

from __future__ import annotations

import re
from functools import lru_cache

from contentui.glyphs import GLYPHS

ELLIPSIS = GLYPHS.cut
_MAX_CHARS_PER_CELL = 4
"""Combining marks take no cells: a name may not bring hundreds of them into one."""

_ZERO = (
    (0x1160, 0x11FF),  # Hangul vowels and final consonants join the consonant before them
    (0xD7B0, 0xD7FF),
    (0x13430, 0x13440),  # joiners of hieroglyphs
    (0x1BCA0, 0x1BCA3),  # controls of shorthand
    (0x1D173, 0x1D17A),  # controls of musical notation
    (0x1F3FB, 0x1F3FF),  # skin tones
)
"""Characters of no width that their category doesn't show."""
_TWO = (
    (0x2630, 0x2637),
    (0x268A, 0x268F),
    (0x4DC0, 0x4DFF),
    (0x1D300, 0x1D356),
    (0x1D360, 0x1D376),
)
"""Wide since Unicode 16, which older Pythons don't know."""


def cell_len(text: str) -> int:
    """How many cells a terminal gives to ``text``, which holds no control characters."""
    return len(text) if text.isascii() else _cell_len(text)


@lru_cache(maxsize=4096)
def _cell_len(text: str) -> int:
    return sum(map(_width, text))


@lru_cache(maxsize=4096)
def _width(char: str) -> int:
    from unicodedata import category, east_asian_width

    code, kind = ord(char), category(char)
    if kind in ("Mn", "Mc", "Me") or _in(code, _ZERO):
        return 0
    wide = kind != "Cn" and east_asian_width(char) in "WF"  # unassigned ones are "F" there
    return 2 if wide or _in(code, _TWO) else 1


def _in(code: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= code <= last for first, last in ranges)


def take(text: str, width: int) -> str:
    """The longest start of ``text`` that fits ``width`` cells."""
    if text.isascii():
        return text[:width]
    text = text[: width * _MAX_CHARS_PER_CELL]
    while text and cell_len(text) > width:
        text = text[: -max(1, (cell_len(text) - width) // 2)]
    return text


def take_end(text: str, width: int) -> str:
    """The longest end of ``text`` that fits ``width`` cells."""
    if width <= 0:
        return ""
    if text.isascii():
        return text[-width:]
    text = text[-width * _MAX_CHARS_PER_CELL :]
    while text and cell_len(text) > width:
        text = text[max(1, (cell_len(text) - width) // 2) :]
    return text


def fits(text: str, width: int) -> bool:
    """Whether ``text`` fits ``width`` cells, and isn't made of invisible characters."""
    if text.isascii():
        return len(text) <= width
    return len(text) <= width * _MAX_CHARS_PER_CELL and cell_len(text) <= width


def elide(text: str, width: int) -> str:
    """``text`` with its end left out where it doesn't fit ``width`` cells."""
    if fits(text, width):
        return text
    return take(text, width - 1) + ELLIPSIS if width > 0 else ""


_HEX_END = re.compile("[0-9a-f]{32}$")


def elide_middle(text: str, width: int, tail: int = 0) -> str:
    """``text`` with its middle left out: ``layer-sha256:8f7c…90d1``.

    ``tail`` cells stay at its end; by default 4 of a digest, half of anything else.
    """
    if fits(text, width):
        return text
    if not tail:
        tail = 4 if _HEX_END.search(text) else max((width - 1) // 2, 1)
    if width < tail + 3:
        return elide(text, width)
    return take(text, width - 1 - tail) + ELLIPSIS + take_end(text, tail)


def elide_image(name: str, width: int) -> str:
    """An image's name with its host and path left out first: its end is the most specific."""
    cut = ELLIPSIS + "/"
    while not fits(name, width) and "/" in name.removeprefix(cut):
        short = name.removeprefix(cut).partition("/")[2]
        name = cut + short if fits(cut + short, width) or "/" in short else short
    return elide_middle(name, width)


def pad(text: str, width: int, right: bool = False) -> str:
    """``text``, which fits, filled with spaces to exactly ``width`` cells."""
    if text.isascii():
        return text.rjust(width) if right else text.ljust(width)
    blank = " " * (width - cell_len(text))
    return blank + text if right else text + blank
