"""One of the two panes: a table, the order of its rows, and a border with its title."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic

from textual import work
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message

from contentui.glyphs import GLYPHS
from contentui.present.columns import Column, Row
from contentui.present.texts import count_text
from contentui.text import visible
from contentui.tui.groups import GroupHeading, arrange
from contentui.tui.live_table import LiveTable
from contentui.tui.query import Query, parse
from contentui.tui.view_state import ViewState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from textual.app import ComposeResult

    from contentui.monitor.model import RowKey
    from contentui.present.columns import Heading
    from contentui.tui.view_state import Task


class Pane(Vertical, Generic[Row]):
    """Feeds its table; the screen decides when."""

    class Ordered(Message):
        """Many rows have been put in order: call `Pane.feed` to show them."""

    def __init__(
        self,
        name: str,
        columns: Sequence[Column[Row]],
        search_text: Callable[[Row], str],
        *,
        sort: str,
        descending: bool,
        pane_id: str,
        settle_s: float = 0.0,
    ) -> None:
        super().__init__(id=pane_id)
        self.title_word = name
        self.view: ViewState[Row] = ViewState(
            columns, search_text, sort=sort, descending=descending, settle_s=settle_s
        )
        self.table: LiveTable[Row] = LiveTable(columns, id=f"{pane_id}-table")
        self.empty_text = ""
        self.is_loading = True
        """There are more rows than were read so far."""
        self._all: Sequence[Row] = ()
        self._shown: Sequence[Row] = ()
        self._keys: tuple[Sequence[Row], frozenset[RowKey]] = ((), frozenset())
        self._title_shown = ""
        self._ordering: tuple[Task[Row], float] | None = None
        self._groups: Sequence[GroupHeading] = ()
        self._arranged: tuple[object, object, Sequence[Row | Heading]] = ((), (), ())

    def compose(self) -> ComposeResult:
        yield self.table

    def use(self, columns: Sequence[Column[Row]]) -> None:
        """Show these columns, and sort by one of them, from now on."""
        self.view.use(columns)
        self.table.use(columns)

    def is_using(self, key: str) -> bool:
        """Whether it has the column, with room or without."""
        return self.view.has(key)

    def feed(
        self,
        rows: Sequence[Row],
        now_ns: int,
        now_s: float,
        groups: Sequence[GroupHeading] = (),
    ) -> None:
        """Show these rows, filtered and in order, in groups; the same rows when paused.

        Many rows are put in order on a thread: they are shown at a later call, for which
        `Ordered` asks.
        """
        if not self.view.paused:
            self._all, self._groups = rows, groups
        task = None if self._ordering is not None else self.view.task(rows, now_s)
        if task is not None and task.is_big:
            self._ordering = task, now_s
            self._put_in_order()
        elif task is not None:
            self.view.take(task, task.run(), now_s)
        self._show(now_ns)

    def dim(self, stale: bool) -> None:
        """Paint the rows dimmed while they are out of date."""
        if self.table.has_class("-stale") is not stale:
            self.table.set_class(stale, "-stale")
            self.table.notify_style_update()
            self.table.refresh()

    def settle(self, now_ns: int, now_s: float) -> None:
        """Show the rows as they were asked for, now: what follows depends on what is shown."""
        self.view.order(self._all, now_s)
        self._show(now_ns)

    @work(group="order")
    async def _put_in_order(self) -> None:
        # No arguments: Textual spells out those of a worker, all their rows included.
        assert self._ordering is not None
        task, now_s = self._ordering
        order = await asyncio.to_thread(task.run)
        self._ordering = None
        self.view.take(task, order, now_s)
        self.post_message(self.Ordered())

    def _show(self, now_ns: int) -> None:
        self._shown = self.view.shown
        self.table.empty_text = self._empty()
        self.table.sort_by(self.view.sort, self.view.descending)
        self.table.show(self._grouped(), now_ns, self._exists)
        self.update_title()

    def _grouped(self) -> Sequence[Row | Heading]:
        """The same object as long as nothing about it changed."""
        if not self._groups:
            return self._shown
        if self._arranged[0] is not self._shown or self._arranged[1] is not self._groups:
            test = self.view.query.test if self.view.query else None
            made = arrange(self._shown, self._groups, test)
            self._arranged = self._shown, self._groups, made
        return self._arranged[2]

    def _exists(self, key: RowKey) -> bool:
        if self._keys[0] is not self._all:
            self._keys = (self._all, frozenset(row.key for row in self._all))
        return key in self._keys[1]

    def _empty(self) -> str:
        if self._all and self.view.query:
            return (
                f"Nothing here matches {visible(self.view.query.text, 200)}\nesc shows everything"
            )
        return self.empty_text

    def update_title(self) -> None:
        """Bring the border's title up to date."""
        title = f" {GLYPHS.dot} ".join([self._count(), *self._notes()])
        if title != self._title_shown:
            self._title_shown = title
            self.border_title = Content(title)

    def _order(self) -> str:
        """What the rows are sorted by, where no title can bear the arrow."""
        if self.table.has_column(self.view.sort) or not self.table.size:
            return ""
        arrow = GLYPHS.falling if self.view.descending else GLYPHS.rising
        return f"by {self.view.sort_title.lower()} {arrow}"

    def _count(self) -> str:
        total = count_text(len(self._all), is_loading=self.is_loading)
        if not self.view.query:
            return f"{self.title_word} {total}"
        count = f"{len(self._shown):,} of {total}"
        return f"{self.title_word} {count} {GLYPHS.dot} /{visible(self.view.query.text, 60)}"

    def _notes(self) -> Iterator[str]:
        if marks := self.table.mark_count:
            hidden = marks - len(self.table.marked_rows())
            yield f"{marks:,} marked" + (f", {hidden:,} of them filtered away" if hidden else "")
        if order := self._order():
            yield order
        if self.view.paused:
            yield "PAUSED"

    @property
    def total(self) -> int:
        """Rows before the filter."""
        return len(self._all)

    @property
    def shown(self) -> Sequence[Row]:
        """Rows after the filter."""
        return self._shown

    def targets(self) -> Sequence[Row]:
        """What a key would act on: the marked rows that are shown, else what is under the cursor.

        Under a group's heading that is all of its rows. Marks and rows that a filter hides don't
        count: nothing unseen is destroyed.
        """
        if marked := self.table.marked_rows():
            return marked
        heading = self.table.cursor_heading
        if isinstance(heading, GroupHeading) and not self.table.mark_count:
            return [row for row in self._shown if row.key in heading.members]
        row: Any = self.table.cursor_row  # none where a heading is
        return [] if row is None or self.table.mark_count else [row]

    def filter(self, text: str) -> Query:
        """Show only what matches; returns the query, with its problem when it has one."""
        query = parse(text)
        self.view.query = query
        return query
