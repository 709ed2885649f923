"""The cells of the terminal as they were last written, so that only what changed is written again.

Textual writes a whole widget line, each piece with all of its colours, when one cell of it changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.cells import get_character_cell_size
from rich.color import ColorSystem
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console
    from rich.style import Style
    from textual.strip import Strip

_JOINED_GAP = 4
"""Up to so many unchanged cells of one style are cheaper to write again than to jump over."""
_ATTRIBUTES = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "21", "51", "52", "53")
"""The SGR codes of the bits of a Rich style's attributes."""


class Look(NamedTuple):
    """A style as SGR codes."""

    attributes: frozenset[str] = frozenset()
    foreground: str = "39"
    background: str = "49"


PLAIN = Look()
Cell = tuple[str, Look]
"""A character with the marks that combine with it; empty text: the right half of a wide one."""


class ChangedCells(CompositorUpdate):
    """An update that has been turned into what the terminal must be sent."""

    def __init__(self, sequence: str) -> None:
        self.sequence = sequence

    def render_segments(self, console: Console) -> str:  # noqa: ARG002 - done already
        return self.sequence


class ScreenCells:
    """What the terminal shows. Call `changes` with each update, in order."""

    def __init__(self) -> None:
        self._rows: dict[int, list[Cell | None]] = {}
        self._looks: dict[Style, Look] = {}
        self._transitions: dict[tuple[Look, Look], str] = {}

    def forget(self) -> None:
        """The terminal may show anything: write every cell of the next update."""
        self._rows.clear()

    def changes(self, update: CompositorUpdate, console: Console) -> ChangedCells | None:
        """What to write for an update; None when the terminal shows it already."""
        colors = console._color_system or ColorSystem.TRUECOLOR  # noqa: SLF001 - as Textual does
        out: list[str] = []
        look = PLAIN
        for y, x, strip in _strips(update):
            look = self._write(y, x, strip, colors, look, out)
        if not out:
            return None
        out.append(self._transition(look, PLAIN))
        return ChangedCells("".join(out))

    def _write(
        self, y: int, x: int, strip: Strip, colors: ColorSystem, look: Look, out: list[str]
    ) -> Look:
        """Append what changes in one piece of a line; returns the style that is then set."""
        cells, is_simple = self._cells(strip, colors)
        row = self._rows.setdefault(y, [])
        if len(row) < x + len(cells):
            row += [None] * (x + len(cells) - len(row))
        old = row[x : x + len(cells)]
        if old == cells:
            return look
        row[x : x + len(cells)] = cells
        whole = not is_simple or any(cell is not None and len(cell[0]) != 1 for cell in old)
        runs = [(0, len(cells))] if whole else _changed_runs(old, cells)
        for start, end in runs:
            out.append(f"\x1b[{y + 1};{x + start + 1}H")
            for text, wanted in cells[start:end]:
                if wanted is not look and wanted != look:
                    out.append(self._transition(look, wanted))
                    look = wanted
                out.append(text)
        return look

    def _cells(self, strip: Strip, colors: ColorSystem) -> tuple[list[Cell], bool]:
        """The cells of a strip, and whether each holds one character of one cell."""
        cells: list[Cell] = []
        is_simple = True
        for text, style, _ in strip:
            look = PLAIN if style is None else self._look(style, colors)
            if text.isascii():
                cells += [(char, look) for char in text]
                continue
            for char in text:
                width = get_character_cell_size(char)
                if width == 1:
                    cells.append((char, look))
                    continue
                is_simple = False
                if width == 2:
                    cells += [(char, look), ("", look)]
                elif cells:
                    before, its_look = cells[-1]
                    cells[-1] = before + char, its_look
        return cells, is_simple

    def _look(self, style: Style, colors: ColorSystem) -> Look:
        look = self._looks.get(style)
        if look is None:
            look = self._looks[style] = _look_of(style, colors)
        return look

    def _transition(self, before: Look, after: Look) -> str:
        sequence = self._transitions.get((before, after))
        if sequence is None:
            sequence = self._transitions[before, after] = transition(before, after)
        return sequence


def _strips(update: CompositorUpdate) -> Iterator[tuple[int, int, Strip]]:
    """The pieces of an update with the line and column where each begins."""
    if isinstance(update, LayoutUpdate):
        for y, line in enumerate(update.strips, update.region.y):
            yield from _side_by_side(y, update.region.x, line)
    elif isinstance(update, ChopsUpdate):
        for y, x1, x2 in update.spans:
            for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
                if strip is not None and x <= x2 and end > x1:
                    yield y, x, strip if end <= x2 else strip.crop(0, x2 - x)
    else:
        raise TypeError(f"unknown kind of screen update: {type(update).__name__}")


def _side_by_side(y: int, x: int, line: Iterable[Strip]) -> Iterator[tuple[int, int, Strip]]:
    for strip in line:
        yield y, x, strip
        x += strip.cell_length


def _changed_runs(old: list[Cell | None], new: list[Cell]) -> list[tuple[int, int]]:
    """Ranges of cells to write: those that differ, joined where the gap is cheap to write."""
    runs: list[tuple[int, int]] = []
    for place, (before, after) in enumerate(zip(old, new, strict=True)):
        if before is after or before == after:
            continue
        if runs and _is_cheap_gap(new, runs[-1][1], place):
            runs[-1] = runs[-1][0], place + 1
        else:
            runs.append((place, place + 1))
    return runs


def _is_cheap_gap(cells: list[Cell], start: int, end: int) -> bool:
    look = cells[start - 1][1]
    return end - start <= _JOINED_GAP and all(each == look for _, each in cells[start : end + 1])


def _look_of(style: Style, colors: ColorSystem) -> Look:
    attributes = style._attributes & style._set_attributes  # noqa: SLF001 - Rich gives no other way
    codes = frozenset(code for bit, code in enumerate(_ATTRIBUTES) if attributes & 1 << bit)
    foreground = background = ""
    if style.color is not None:
        foreground = ";".join(style.color.downgrade(colors).get_ansi_codes())
    if style.bgcolor is not None:
        found = style.bgcolor.downgrade(colors).get_ansi_codes(foreground=False)
        background = ";".join(found)
    return Look(codes, foreground or PLAIN.foreground, background or PLAIN.background)


def transition(before: Look, after: Look) -> str:
    """The shortest SGR sequence from one style to another."""
    if before == after:
        return ""
    codes: list[str] = []
    if not before.attributes <= after.attributes or after == PLAIN:
        before = PLAIN
        codes.append("0" if after != PLAIN else "")
    codes += sorted(after.attributes - before.attributes)
    if after.foreground != before.foreground:
        codes.append(after.foreground)
    if after.background != before.background:
        codes.append(after.background)
    return f"\x1b[{';'.join(codes)}m"
