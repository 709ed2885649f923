"""The table of live rows: draws the visible lines itself, and only those that changed."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Generic

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from contentui.present.columns import GAP, Column, Heading, Row, fit
from contentui.tui.styling import component_style
from contentui.tui.table_header import titles
from contentui.tui.table_lines import GUTTER, Line, LineCells, empty_cells, paint, thumb_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual import events

    from contentui.monitor.model import RowKey

_WHEEL_LINES = 3
_NEAR = 64
_BELOW = Line(())
"""A line below the last row."""


class LiveTable(Widget, Generic[Row], can_focus=True):
    """A table of rows that change all the time. It knows columns and keys, and no store.

    Feed it with `show`; call `touch` to update times. ``cursor_key`` and ``marks`` name rows
    by their key, so that they stay with their item however the rows are ordered. What marks,
    sorts and filters is bound elsewhere and calls `toggle_mark`, `mark_all`, `clear_marks`,
    `sort_by`.
    """

    ALLOW_SELECT = False
    STYLES: ClassVar[tuple[str, ...]] = (
        "base", "strong", "muted", "good", "warn", "bad", "kind", "mark", "pointer", "thumb",
        "bar", "bar-warn", "bar-bad", "bar-unknown", "empty",
    )  # fmt: skip
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        *(f"live-table--{word}" for word in STYLES),
        "live-table--header", "live-table--sorted", "live-table--cursor",
        "live-table--cursor-blurred", "live-table--marked",
    }  # fmt: skip
    DEFAULT_CSS = """
    LiveTable {
        height: 1fr; background: $surface; color: $foreground; overflow: hidden hidden;
        .live-table--header { color: $text-muted; }
        .live-table--sorted { color: $primary; text-style: bold; }
        .live-table--strong { text-style: bold; }
        .live-table--muted { color: $text-muted; }
        .live-table--empty { color: $text-muted; }
        .live-table--good { color: $text-success; }
        .live-table--warn { color: $text-warning; }
        .live-table--bad { color: $text-error; text-style: bold; }
        .live-table--kind { color: $text-accent; }
        .live-table--mark { color: $warning; }
        .live-table--pointer { color: $primary; text-style: bold; }
        .live-table--thumb { color: $foreground 35%; }
        .live-table--bar { color: $primary; background: $foreground 10%; }
        .live-table--bar-warn { color: $warning; background: $foreground 10%; }
        .live-table--bar-bad { color: $error; background: $foreground 10%; }
        .live-table--bar-unknown { color: $primary 60%; }
        .live-table--marked { background: $warning 15%; }
        .live-table--cursor { background: $primary 30%; text-style: bold; }
        .live-table--cursor-blurred { background: $foreground 10%; }
        &:ansi {
            .live-table--header, .live-table--muted, .live-table--empty { text-style: dim; }
            .live-table--bar, .live-table--bar-warn, .live-table--bar-bad,
            .live-table--cursor { background: ansi_default; }
            .live-table--cursor { text-style: reverse; }
            .live-table--marked, .live-table--cursor-blurred {
                background: ansi_default; text-style: bold;
            }
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Up", show=False, id="table.up"),
        Binding("down", "move(1)", "Down", show=False, id="table.down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="table.page-up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="table.page-down"),
        Binding("home", "edge(-1)", "First", show=False, id="table.first"),
        Binding("end", "edge(1)", "Last", show=False, id="table.last"),
        Binding("enter", "choose", "Details", show=False, id="table.choose"),
    ]

    class TableMessage(Message):
        """Anything that a table reports."""

        def __init__(self, table: LiveTable[Any]) -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> LiveTable[Any]:
            return self.table

    class CursorMoved(TableMessage):
        """The cursor is on another item, or on none."""

        def __init__(self, table: LiveTable[Any], key: RowKey | None) -> None:
            super().__init__(table)
            self.key = key

    class MarksChanged(TableMessage):
        """The set of marks changed."""

        def __init__(
            self, table: LiveTable[Any], marks: frozenset[RowKey], vanished: frozenset[RowKey]
        ) -> None:
            super().__init__(table)
            self.marks = marks
            self.vanished = vanished
            """Marks that are gone because their items are; empty when a person changed them."""

    class HeaderClicked(TableMessage):
        """The header of a column was clicked."""

        def __init__(self, table: LiveTable[Any], column: str) -> None:
            super().__init__(table)
            self.column = column
            """The column's key."""

    class Chosen(TableMessage):
        """Enter, or a double click, on an item."""

        def __init__(self, table: LiveTable[Any], key: RowKey) -> None:
            super().__init__(table)
            self.key = key

    def __init__(
        self,
        columns: Sequence[Column[Row]],
        *,
        empty_text: str = "",
        name: str | None = None,
        id: str | None = None,  # noqa: A002 - Textual's own word
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._columns = tuple(columns)
        self._rows: Sequence[Row | Heading] = ()
        self._now_ns = 0
        self._top = 0
        self._cursor = 0
        self._cursor_key: RowKey | None = None
        self._visited = False  # the focus or a hand was here
        self._marks: set[RowKey] = set()  # replaced, never changed
        self._marked: tuple[Sequence[object], set[RowKey], Sequence[Row]] = ((), self._marks, ())
        self._sort: tuple[str, bool] | None = None
        self._empty_text = empty_text
        self._empty: tuple[tuple[str, int, int], list[Line]] = ("", 0, 0), []
        """What the lines of a table without rows were made from, and those lines."""
        self._fitted: tuple[int, list[tuple[Column[Row], int]]] = (-1, [])
        self._cells = LineCells()
        self._painted: dict[int, Line] = {}  # line on the screen -> what is there
        self._strips: LRUCache[Any, Strip] = LRUCache(1024)
        self._styles_ready: dict[str, Style] = {}

    # -- what it shows -----------------------------------------------------------------------

    def show(
        self,
        rows: Sequence[Row | Heading],
        now_ns: int,
        exists: Callable[[RowKey], bool] | None = None,
    ) -> None:
        """Show these rows in this order; cheap when it is the same sequence object again.

        ``now_ns`` is the wall clock in nanoseconds, for ages. Marks on items that aren't there
        any more are dropped: those that aren't among ``rows``, or, where a filter may hide some,
        those whose key ``exists`` denies.
        """
        if rows is not self._rows:
            old, self._rows = self._rows, rows
            self._follow(old)
            self._drop_marks(exists)
        self.touch(now_ns)

    def touch(self, now_ns: int) -> None:
        """Repaint the visible lines that differ from what is on the screen, and no others."""
        self._now_ns = now_ns
        if not self.is_attached or self.app.screen is not self.screen or not self.size:
            return
        width, height = self.size
        lines = {y: self._line(y) for y in range(1, height)}
        dirty = [y for y, line in lines.items() if self._painted.get(y) != line]
        self._painted = lines
        if len(dirty) >= height - 1:
            self.refresh(Region(0, 1, width, height - 1))
        elif dirty:
            self.refresh(*(Region(0, y, width, 1) for y in dirty))

    @property
    def empty_text(self) -> str:
        """Shown when there are no rows; plain text of one or more lines."""
        return self._empty_text

    @empty_text.setter
    def empty_text(self, text: str) -> None:
        if text != self._empty_text:
            self._empty_text = text
            if not self._rows:
                self.touch(self._now_ns)

    def sort_by(self, column: str | None, descending: bool = False) -> None:
        """Show the arrow of the order at a column's title. The rows come in order already."""
        sort = None if column is None else (column, descending)
        if sort != self._sort:
            self._sort = sort
            self.refresh(Region(0, 0, self.size.width, 1))

    def has_column(self, key: str) -> bool:
        """Whether a column has room, and so its title may bear the arrow."""
        return any(column.key == key for column, _ in self._fit())

    def use(self, columns: Sequence[Column[Row]]) -> None:
        """Show these columns from now on."""
        if tuple(columns) != self._columns:
            self._columns, self._fitted = tuple(columns), (-1, [])
            self._painted.clear()
            self.refresh()

    @property
    def rows(self) -> Sequence[Row | Heading]:
        """All rows, in their order, and the headings between them."""
        return self._rows

    def visible_keys(self) -> list[RowKey]:
        """The keys of the rows that are on the screen."""
        shown = self._rows[self._top : self._top + self._body_height]
        return [row.key for row in shown if not isinstance(row, Heading)]

    # -- cursor and marks --------------------------------------------------------------------

    @property
    def cursor_key(self) -> RowKey | None:
        """The key of the item under the cursor; None when there are no rows."""
        return self._cursor_key

    @cursor_key.setter
    def cursor_key(self, key: RowKey | None) -> None:
        place = self._find(key)
        if place is not None:
            self._move_to(place)

    @property
    def cursor_row(self) -> Row | None:
        """The item under the cursor; None where there is none, or a heading."""
        row = self._rows[self._cursor] if self._rows else None
        return None if isinstance(row, Heading) else row

    @property
    def cursor_heading(self) -> Heading | None:
        """The heading under the cursor."""
        row = self._rows[self._cursor] if self._rows else None
        return row if isinstance(row, Heading) else None

    @property
    def marks(self) -> set[RowKey]:
        """The keys of the marked items; a copy."""
        return set(self._marks)

    @marks.setter
    def marks(self, keys: set[RowKey]) -> None:
        self._set_marks(set(keys))

    @property
    def mark_count(self) -> int:
        """How many items are marked."""
        return len(self._marks)

    def marked_rows(self) -> Sequence[Row]:
        """The marked items among the rows, in their order."""
        rows, marks = self._rows, self._marks
        if self._marked[0] is not rows or self._marked[1] is not marks:
            self._marked = rows, marks, [r for r in self._items() if r.key in marks]
        return self._marked[2]

    @property
    def is_cursor_marked(self) -> bool:
        """Whether the item under the cursor is marked."""
        return self._cursor_key in self._marks

    def visit(self) -> None:
        """The user acted on the table: from now on its cursor stays on its item."""
        self._visited |= bool(self._rows)

    def toggle_mark(self, key: RowKey | None = None) -> None:
        """Mark or unmark an item: the one under the cursor, which then goes down one."""
        target = self._cursor_key if key is None else key
        if target is None:
            return
        if self.cursor_heading is None or self._cursor_key != target:
            self._set_marks(self._marks ^ {target})
        if key is None:
            self._move_to(self._cursor + 1)

    def mark_all(self) -> None:
        """Mark all rows; when all are marked already, none."""
        items = self._items()
        shown = {row.key for row in items}
        if shown <= self._marks:
            self._set_marks(self._marks - shown)
        else:
            self._set_marks(self._marks | shown)
            self._marked = self._rows, self._marks, items

    def _items(self) -> list[Row]:
        return [row for row in self._rows if not isinstance(row, Heading)]

    def clear_marks(self) -> None:
        """Unmark all."""
        self._set_marks(set())

    def _set_marks(self, marks: set[RowKey], vanished: frozenset[RowKey] = frozenset()) -> None:
        if marks == self._marks:
            return
        self._marks = marks
        self.post_message(self.MarksChanged(self, frozenset(marks), vanished))
        self.touch(self._now_ns)

    def _drop_marks(self, exists: Callable[[RowKey], bool] | None) -> None:
        if not self._marks:
            return
        if exists is None:
            exists = {row.key for row in self._rows}.__contains__
        gone = {key for key in self._marks if not exists(key)}
        self._set_marks(self._marks - gone, frozenset(gone))

    def _follow(self, old: Sequence[Row | Heading]) -> None:
        """Keep the cursor on its item, and the item on its line of the screen.

        A view from the very top stays there, to show what comes in; and before anybody has
        been in the table, its cursor stays on the first row.
        """
        rows, key, line = self._rows, self._cursor_key, self._cursor - self._top
        if not rows or key is None or not self._visited:
            self._cursor = 0
        elif not (self._cursor < len(rows) and rows[self._cursor].key == key):
            self._cursor = self._place_of(key, old)
        self._top = self._top_near(self._cursor - line if self._top else 0)
        self._cursor_is_on(rows[self._cursor].key if rows else None)

    def _place_of(self, key: RowKey, old: Sequence[Row | Heading]) -> int:
        """Where an item is now, or its nearest neighbour of before, the one below first."""
        found = self._find(key)
        if found is not None:
            return found
        for neighbour in old[self._cursor + 1 : self._cursor + 4]:
            if (found := self._find_near(neighbour.key)) is not None:
                return found
        places = {row.key: place for place, row in enumerate(self._rows)}
        below = (old[place].key for place in range(self._cursor + 1, len(old)))
        above = (old[place].key for place in range(self._cursor - 1, -1, -1))
        neighbours = chain(below, above)
        place = next((places[near] for near in neighbours if near in places), self._cursor)
        return min(place, len(self._rows) - 1)

    def _find(self, key: RowKey | None) -> int | None:
        """The place of an item, looked for near the cursor first: few rows move far."""
        found = self._find_near(key)
        if found is not None:
            return found
        return next((place for place, row in enumerate(self._rows) if row.key == key), None)

    def _find_near(self, key: RowKey | None) -> int | None:
        start = max(0, self._cursor - _NEAR)
        near = enumerate(self._rows[start : self._cursor + _NEAR], start)
        return next((place for place, row in near if row.key == key), None)

    def _cursor_is_on(self, key: RowKey | None) -> None:
        if key != self._cursor_key:
            self._cursor_key = key
            self.post_message(self.CursorMoved(self, key))

    def _move_to(self, place: int) -> None:
        if not self._rows:
            return
        self._visited = True
        self._cursor = max(0, min(place, len(self._rows) - 1))
        self._cursor_is_on(self._rows[self._cursor].key)
        self._scroll(self._top)

    def _scroll(self, top: int) -> None:
        self._top = self._top_near(top)
        self.touch(self._now_ns)

    def _top_near(self, top: int) -> int:
        """The first row on the screen: ``top``, or as near to it as keeps the cursor in sight."""
        height = max(self._body_height, 1)
        return self._bounded_top(min(max(top, self._cursor - height + 1), self._cursor))

    def _bounded_top(self, top: int) -> int:
        return max(0, min(top, len(self._rows) - self._body_height))

    # -- keys and mouse ----------------------------------------------------------------------

    def action_move(self, lines: int) -> None:
        self._move_to(self._cursor + lines)

    def action_page(self, pages: int) -> None:
        step = pages * max(self._body_height - 1, 1)
        self._top = self._bounded_top(self._top + step)
        self._move_to(self._cursor + step)

    def action_edge(self, side: int) -> None:
        self._move_to(0 if side < 0 else len(self._rows) - 1)

    def action_choose(self) -> None:
        if self._cursor_key is not None:
            self.post_message(self.Chosen(self, self._cursor_key))

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None:
            return
        if offset.y == 0:
            column = self._column_at(offset.x)
            if column is not None:
                self.post_message(self.HeaderClicked(self, column.key))
            return
        place = self._top + offset.y - 1
        if place >= len(self._rows):
            return
        self._move_to(place)
        if offset.x < GUTTER:
            self.toggle_mark(self._cursor_key)
        elif event.chain == 2:
            self.action_choose()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self._wheel(_WHEEL_LINES)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self._wheel(-_WHEEL_LINES)

    def _wheel(self, lines: int) -> None:
        """Scroll; the cursor comes along, so that no key can hit an item out of sight."""
        if not self._rows:
            return
        self._top = self._bounded_top(self._top + lines)
        last = min(self._top + max(self._body_height, 1), len(self._rows)) - 1
        self._move_to(max(self._top, min(self._cursor, last)))

    def on_focus(self) -> None:
        self._visited |= bool(self._rows)
        self.touch(self._now_ns)
        self._repaint_cursor()

    def on_blur(self) -> None:
        self._repaint_cursor()

    def _repaint_cursor(self) -> None:
        self.refresh(Region(0, 1 + self._cursor - self._top, self.size.width, 1))

    def on_resize(self) -> None:
        self._scroll(self._top)
        self.refresh()

    # -- painting ----------------------------------------------------------------------------

    @property
    def size(self) -> Size:
        """Its size in cells. Without border and padding that is all of it: quicker to find."""
        return self.outer_size

    @property
    def _body_height(self) -> int:
        return max(self.size.height - 1, 0)

    def _fit(self) -> list[tuple[Column[Row], int]]:
        width = self.size.width
        if self._fitted[0] != width:
            self._fitted = (width, fit(self._columns, max(width - GUTTER - 1, 1)))
            self._cells.clear()
        return self._fitted[1]

    def _column_at(self, x: int) -> Column[Row] | None:
        left = GUTTER
        for column, width in self._fit():
            if left <= x < left + width + GAP:
                return column
            left += width + GAP
        return None

    def _line(self, y: int) -> Line:
        """What line ``y`` of the widget, 1 or more, has to look like now."""
        width, height = self.size
        place = self._top + y - 1
        if place >= len(self._rows):
            return _BELOW if self._rows else self._empty_line(y, width, height)
        row = self._rows[place]
        cells = self._cells.of(y, row, self._fit(), self._now_ns)
        thumb = y in thumb_lines(self._top, height - 1, len(self._rows))
        return Line(cells, place == self._cursor, row.key in self._marks, thumb)

    def _empty_line(self, y: int, width: int, height: int) -> Line:
        text = self._empty_text
        if self._empty[0] != (text, width, height):
            lines = [Line(cells) for cells in empty_cells(text, width, height)]
            self._empty = (text, width, height), lines
        return self._empty[1][y]

    def render_line(self, y: int) -> Strip:
        if y == 0:
            return self._header()
        line = self._painted[y] = self._line(y)
        width, focused = self.size.width, self.has_focus if line.cursor else False
        strip = self._strips.get((line, width, focused))
        if strip is None:
            strip = paint(line, width, self._style, focused=focused)
            self._strips[line, width, focused] = strip
        return strip

    def _header(self) -> Strip:
        header, arrow = self._style("header"), self._style("sorted")
        segments = [Segment(" " * GUTTER, header), *titles(self._fit(), self._sort, header, arrow)]
        return Strip(segments).adjust_cell_length(self.size.width, self._style("base"))

    # -- styles ------------------------------------------------------------------------------

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles_ready.clear()
        self._strips.clear()

    def _style(self, word: str, look: str = "") -> Style:
        """A component's style, on the line's own look."""
        ready = self._styles_ready.get(word + look)
        if ready is None:
            names = [f"live-table--{name}" for name in (look, word) if name]
            ready = component_style(self, *names)
            if self.has_class("-stale"):
                ready += Style(dim=True)
            if ready.reverse and word.startswith("bar"):  # a reversed bar shows what is missing
                ready += Style(reverse=False)
            self._styles_ready[word + look] = ready
        return ready
