"""Text cut and padded to terminal cells, wide characters included."""

from __future__ import annotations

import re

from rich.cells import cell_len

ELLIPSIS = "…"
_MAX_CHARS_PER_CELL = 4
"""Combining marks take no cells: a name may not bring hundreds of them into one."""


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
    """An image's name with its host and folders left out first: the end of it tells most."""
    while not fits(name, width) and "/" in name.removeprefix("…/"):
        short = name.removeprefix("…/").partition("/")[2]
        name = f"…/{short}" if fits(f"…/{short}", width) or "/" in short else short
    return elide_middle(name, width)


def pad(text: str, width: int, right: bool = False) -> str:
    """``text``, which fits, filled with spaces to exactly ``width`` cells."""
    if text.isascii():
        return text.rjust(width) if right else text.ljust(width)
    blank = " " * (width - cell_len(text))
    return blank + text if right else text + blank
