"""Labels and values, wrapped and never cut, side by side where a pane is wide."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from contentui.present.cells import cell_len, pad
from contentui.tui.text_view import wrap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LABEL_CELLS = 10
_GAP = 2
_LEAST_COLUMN = 38
"""Cells that a column of fields has at least where there are several."""

Span = tuple[str, str]
"""Text and its style word."""


class Field(NamedTuple):
    """One label and its value, both safe for a terminal."""

    label: str
    value: str
    style: str = "base"
    whole_line: bool = False
    """A paragraph without a label, as wide as the pane."""


def _lines_of(field: Field, width: int) -> Iterator[tuple[Span, ...]]:
    if field.whole_line:
        yield from (((text, field.style),) for text in wrap(field.value, width))
        return
    label = field.label
    for text in wrap(field.value, width - LABEL_CELLS):
        yield (pad(label, LABEL_CELLS), "label"), (text, field.style)
        label = ""


def _span(field: Field, column: int) -> int:
    """How many columns a field takes."""
    return -(-(LABEL_CELLS + cell_len(field.value) + _GAP) // (column + _GAP))


def lay_out(fields: Sequence[Field], width: int) -> Iterator[tuple[Span, ...]]:
    """The lines of a pane of ``width`` cells.

    Fields share a line as long as they fit its columns; a longer one has lines of its own.
    """
    width = max(width, LABEL_CELLS + 8)
    count = max(1, (width + _GAP) // (_LEAST_COLUMN + _GAP))
    column = (width + _GAP) // count - _GAP
    shared: list[Span] = []
    used = 0
    for place, field in enumerate(fields):
        follows = place + 1 < len(fields) and not fields[place + 1].label
        span = _span(field, column)
        alone = field.whole_line or not field.label or follows or span > count
        if shared and (alone or used + span > count):
            yield tuple(shared)
            shared, used = [], 0
        if alone:
            yield from _lines_of(field, width)
            continue
        cells = span * (column + _GAP) - LABEL_CELLS
        shared += [(pad(field.label, LABEL_CELLS), "label"), (pad(field.value, cells), field.style)]
        used += span
    if shared:
        yield tuple(shared)
