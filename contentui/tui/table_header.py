"""The first line of a table: its columns' titles, and the arrow at the one that sorts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.segment import Segment

from contentui.glyphs import GLYPHS
from contentui.present.cells import elide, pad
from contentui.present.columns import GAP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style

    from contentui.present.columns import Column


def titles(
    fitted: Sequence[tuple[Column[Any], int]],
    sort: tuple[str, bool] | None,
    style: Style,
    arrow_style: Style,
) -> list[Segment]:
    """The titles of columns with their widths; ``sort``: the key of one, and whether it falls."""
    segments: list[Segment] = []
    for column, width in fitted:
        if sort is not None and sort[0] == column.key:
            arrow = GLYPHS.falling if sort[1] else GLYPHS.rising
            segments += _sorted_title(column, width, arrow, segments, style, arrow_style)
        else:
            title = pad(elide(column.title, width), width, column.right) + " " * GAP
            segments.append(Segment(title, style))
    return segments


def _sorted_title(
    column: Column[Any],
    width: int,
    arrow: str,
    before: list[Segment],
    style: Style,
    arrow_style: Style,
) -> list[Segment]:
    """The title with its arrow, which may use the gap beside it."""
    if not column.right:
        title = elide(column.title, width) + arrow
        return [Segment(title, arrow_style), Segment(" " * (width + GAP - len(title)), style)]
    if len(column.title) >= width and before:
        before[-1] = Segment(before[-1].text[:-1], before[-1].style)
        width += 1
    title = arrow + elide(column.title, width - 1)
    blank = " " * (width - len(title))
    return [Segment(blank, style), Segment(title, arrow_style), Segment(" " * GAP, style)]
