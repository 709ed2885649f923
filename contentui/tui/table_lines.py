"""The lines of a table: the cells of each, and what they look like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from textual.strip import Strip

from contentui.glyphs import GLYPHS
from contentui.present.cells import elide
from contentui.present.columns import GAP, Cells, Column, cells_later, cells_of
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.style import Style

GUTTER = 2
"""Cells at the left of each line: the mark, then the cursor."""
MARK, CURSOR = GLYPHS.mark, GLYPHS.cursor
THUMB = GLYPHS.thumb


class Line(NamedTuple):
    """A line as it is painted: equal lines look the same."""

    cells: Cells
    """(text, style word) of each column; none for a line below the last row."""
    cursor: bool = False
    marked: bool = False
    thumb: bool = False
    """The scroll indicator is in this line."""


class LineCells:
    """The cells of each line, made again only where the row or the second is another one."""

    def __init__(self) -> None:
        self._lines: dict[int, tuple[Any, int, Cells]] = {}

    def clear(self) -> None:
        """The columns or their widths have changed."""
        self._lines.clear()

    def of(self, y: int, row: Any, fitted: Sequence[tuple[Column[Any], int]], now_ns: int) -> Cells:
        """The cells of ``row``, which is in line ``y``."""
        second = now_ns // 1_000_000_000
        shown, shown_second, cells = self._lines.get(y, (None, 0, ()))
        if shown is not row:
            cells = cells_of(row, fitted, now_ns)
        elif shown_second != second:
            cells = cells_later(row, fitted, now_ns, cells)
        else:
            return cells
        self._lines[y] = row, second, cells
        return cells


def thumb_lines(top: int, height: int, count: int) -> range:
    """The lines of the scroll indicator, where line 1 shows row ``top`` of ``count``."""
    if count <= height:
        return range(0)
    length = max(1, height * height // count)
    start = top * (height - length) // (count - height) + 1
    return range(start, start + length)


def empty_cells(text: str, width: int, height: int) -> list[Cells]:
    """The lines of a table without rows, its header too: a text, centred as a block."""
    lines = [visible(line) for line in text.splitlines()]
    above = max(1, (height - len(lines)) // 2)
    left = max(0, (width - GUTTER - 1 - max(map(cell_len, lines), default=0)) // 2)
    room = width - GUTTER - 1 - left
    shown: list[Cells] = [()] * above
    shown += [((" " * left + elide(line, room), "empty"),) for line in lines]
    return [*shown, *[()] * height][:height]


def paint(line: Line, width: int, style: Callable[[str, str], Style], *, focused: bool) -> Strip:
    """A line of ``width`` cells; ``style`` returns the style of a word on the line's look."""
    look = ""
    if line.cursor:
        look = "cursor" if focused else "cursor-blurred"
    elif line.marked:
        look = "marked"
    segments = [
        Segment(MARK if line.marked else " ", style("mark", look)),
        Segment(CURSOR if line.cursor else " ", style("pointer", look)),
    ]
    base = style("base", look)
    blank = Segment(" " * GAP, base)
    for text, word in line.cells:
        segments.append(Segment(text, style(word, look)))
        segments.append(blank)
    end = Segment(THUMB if line.thumb else " ", style("thumb", look))
    room = width - 1 - sum(cell_len(segment.text) for segment in segments)
    if room < 0:
        segments = list(Strip(segments).adjust_cell_length(max(width - 1, 0), base))
        return Strip([*segments, end]).adjust_cell_length(width)
    return Strip([*segments, Segment(" " * room, base), end], width)
