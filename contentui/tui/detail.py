"""The pane with every field of the item under the cursor: wrapped, never cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

from rich.segment import Segment
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from contentui.monitor.model import BlobRow, Group, IngestRow
from contentui.present.cells import cell_len, pad
from contentui.present.detail import detail_fields, sentences
from contentui.text import visible
from contentui.tui.styling import component_style
from contentui.tui.text_view import wrap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from contentui.monitor.model import RowKey


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


def _state(row: IngestRow | BlobRow | Group) -> list[Field]:
    return [Field("", text, style, whole_line=True) for text, style in sentences(row)]


# In a pane that shows three lines: how fast where bytes arrive, else who holds it since when.
_ARRIVING_FIRST = ("offset", "rate", "history", "holder", "started", "updated", "namespace", "ref")
_AT_REST_FIRST = ("offset", "holder", "updated", "started", "damage", "namespace", "ref",
                  "expected", "refused", "on disk", "argument")  # fmt: skip


class DetailPane(ScrollView, can_focus=True):
    """The detail of one row: its state first, then its fields, in columns where they fit."""

    ALLOW_SELECT = False
    STYLES: ClassVar[tuple[str, ...]] = ("base", "label", "good", "warn", "bad", "graph")
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"detail-pane--{word}" for word in STYLES}
    DEFAULT_CSS = """
    DetailPane {
        height: 1fr; background: $surface; color: $foreground;
        overflow: hidden auto; scrollbar-size-vertical: 1;
        .detail-pane--label { color: $text-muted; }
        .detail-pane--good { color: $text-success; }
        .detail-pane--warn { color: $text-warning; }
        .detail-pane--bad { color: $text-error; text-style: bold; }
        .detail-pane--graph { color: $primary; }
        &:ansi { .detail-pane--label { text-style: dim; } }
    }
    """

    _fields: tuple[Field, ...] = ()
    _lines: tuple[tuple[Span, ...], ...] = ()
    _subject: RowKey | None = None

    def show_ingest(self, row: IngestRow, history: Sequence[float], now_ns: int) -> None:
        """Show an ingest; ``history``: its rate in bytes per second, oldest first."""
        self._show_row(row, now_ns, history)

    def show_blob(self, row: BlobRow, now_ns: int) -> None:
        """Show a blob."""
        self._show_row(row, now_ns)

    def show_group(self, group: Group, now_ns: int) -> None:
        """Show a pull or push."""
        self._show_row(group, now_ns)

    def show_nothing(self, text: str) -> None:
        """Show plain ``text`` where there is no row."""
        self._show(None, [Field("", visible(line), "label", True) for line in text.splitlines()])

    @property
    def plain(self) -> str:
        """What is shown, as text."""
        return "\n".join("".join(text for text, _ in line).rstrip() for line in self._lines)

    def _show_row(
        self, row: IngestRow | BlobRow | Group, now_ns: int, history: Sequence[float] = ()
    ) -> None:
        pairs = [pair for pair in detail_fields(row, now_ns, history) if pair[0] != "state"]
        if isinstance(row, IngestRow):
            order = _ARRIVING_FIRST if row.rate else _AT_REST_FIRST
            pairs.sort(key=lambda pair: order.index(pair[0]) if pair[0] in order else len(order))
        fields = [Field(*pair, "graph" if pair[0] == "history" else "base") for pair in pairs]
        self._show(row.key, _state(row) + fields)

    def _show(self, subject: RowKey | None, fields: list[Field]) -> None:
        self._fields = tuple(fields)
        if subject != self._subject:
            self._subject = subject
            self.scroll_home(animate=False)
        self._lay_out()

    def _lay_out(self) -> None:
        width = self.scrollable_content_region.width
        lines = tuple(lay_out(self._fields, width - 2)) if width > 0 else ()
        old, self._lines = self._lines, lines
        if len(old) != len(lines) or self.virtual_size.width != width:
            self.virtual_size = Size(width, len(lines))
            self.refresh()
            return
        top = self.scroll_offset.y
        changed = [place - top for place, line in enumerate(lines) if line != old[place]]
        seen = [y for y in changed if 0 <= y < self.size.height]
        if seen:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in seen))

    def on_resize(self) -> None:
        self._lay_out()

    def render_line(self, y: int) -> Strip:
        base = component_style(self, "detail-pane--base")
        place = y + self.scroll_offset.y
        line = self._lines[place] if place < len(self._lines) else ()
        segments = [Segment(" ", base)]
        segments += [
            Segment(text, component_style(self, f"detail-pane--{word}")) for text, word in line
        ]
        return Strip(segments).adjust_cell_length(self.size.width, base)
