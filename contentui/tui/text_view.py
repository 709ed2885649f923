"""A scrolling view of styled plain text: thousands of lines, no markup, wrapped when drawn."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from contentui.tui.styling import component_style

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.style import Style as RichStyle


class Line(NamedTuple):
    """One paragraph: a label in its own column, then text that wraps beside it."""

    text: str
    """Already safe for a terminal."""
    style: str = "plain"
    """One of `STYLES`."""
    label: str = ""
    label_style: str = "dim"
    indent: int = 0
    """Cells before the label."""
    hang: int = 0
    """Cells that the label's column takes; the text starts behind it on every row."""


STYLES = ("plain", "dim", "title", "good", "warn", "bad", "key")


def wrap(text: str, width: int) -> list[str]:
    """``text`` in rows of at most ``width`` cells, broken at spaces where there are any."""
    if cell_len(text) <= width:
        return [text]
    rows: list[str] = []
    row = ""
    for word in text.split(" "):
        longer = f"{row} {word}" if row else word
        if cell_len(longer) <= width:
            row = longer
            continue
        if row:
            rows.append(row)
        *full, row = chop_cells(word, max(width, 2)) or [""]
        rows.extend(full)
    rows.append(row)
    return rows


def _rows(line: Line, width: int) -> Iterator[tuple[tuple[str, str], ...]]:
    room = max(width - line.indent - line.hang, 8)
    for number, text in enumerate(wrap(line.text, room)):
        label = line.label if number == 0 else ""
        pad = " " * max(line.hang - cell_len(label), 0)
        yield (
            (" " * line.indent + label + pad, line.label_style),
            (text, line.style),
        )


class TextView(ScrollView, can_focus=True):
    """Shows lines of text, as many as there are, and scrolls with the usual keys."""

    ALLOW_SELECT = True
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"text-view--{style}" for style in STYLES}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_up", "Up", show=False),
        Binding("down", "scroll_down", "Down", show=False),
        Binding("pageup,ctrl+b", "page_up", "Page up", show=False),
        Binding("pagedown,ctrl+f", "page_down", "Page down", show=False),
        Binding("home", "scroll_home", "Top", show=False),
        Binding("end", "scroll_end", "End", show=False),
    ]

    def __init__(self, lines: Sequence[Line] = (), *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._lines = tuple(lines)
        self._rows: list[tuple[tuple[str, str], ...]] = []
        self._wrapped_at = -1
        self._styles: dict[str, RichStyle] = {}

    def show(self, lines: Iterable[Line]) -> None:
        """Replace everything that is shown; the place that was scrolled to stays."""
        self._lines = tuple(lines)
        self._wrapped_at = -1
        self._wrap()
        self.refresh()

    @property
    def plain(self) -> str:
        """The text as it is shown, for copying and for tests."""
        return "\n".join(
            "".join(text for text, _ in row).rstrip()
            for line in self._lines
            for row in _rows(line, 10_000)
        )

    def rows_at(self, width: int) -> int:
        """How many rows the text takes at a width."""
        return sum(1 for line in self._lines for _ in _rows(line, width))

    def _wrap(self) -> None:
        width = self.scrollable_content_region.width
        if width and width != self._wrapped_at:
            self._wrapped_at = width
            self._rows = [row for line in self._lines for row in _rows(line, width)]
            self.virtual_size = Size(width, len(self._rows))

    def on_resize(self) -> None:
        self._wrap()

    def notify_style_update(self) -> None:
        self._styles.clear()
        super().notify_style_update()

    def _style(self, name: str) -> RichStyle:
        if name not in self._styles:
            self._styles[name] = component_style(self, f"text-view--{name}")
        return self._styles[name]

    def render_line(self, y: int) -> Strip:
        """One row of the terminal."""
        self._wrap()
        width = self.size.width
        index = y + self.scroll_offset.y
        plain = self._style("plain")
        if index >= len(self._rows):
            return Strip.blank(width, plain)
        segments = [Segment(text, self._style(style)) for text, style in self._rows[index] if text]
        return Strip(segments).adjust_cell_length(width, plain)


def columns(pairs: Iterable[tuple[str, str]], style: str = "plain") -> list[Line]:
    """Label and text of each pair, the texts aligned."""
    pairs = list(pairs)
    hang = max((cell_len(label) for label, _ in pairs), default=0) + 2
    return [Line(text, style, label, hang=hang) for label, text in pairs]


def spaced(groups: Iterable[Sequence[Line]]) -> list[Line]:
    """Groups of lines with an empty line between them."""
    kept = [list(group) for group in groups if group]
    lines = [line for group, _ in pairwise(kept) for line in (*group, Line(""))]
    return lines + (kept[-1] if kept else [])
