"""Which rows a table shows and in which order: filter, sort, pause. Knows no screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from contentui.tui.query import ALL, Query

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from contentui.present.columns import Column, Keyed

Row = TypeVar("Row", bound="Keyed")

QUIET_S = 1.0
"""Seconds after a key press in which rows keep their places, and between two live sorts."""


BIG = 5_000
"""Rows from which on putting them in order is worth a thread."""


class Order(NamedTuple, Generic[Row]):
    """Rows in an order, as `Task` found it."""

    base: list[Row]
    """All rows, in the order of the column."""
    shown: list[Row]
    """Those of them that the filter lets through."""
    texts: dict[int, str]
    """The id of a row -> what the filter looks at; only for the rows that it was needed for."""
    sorted: bool
    """False: the old places were kept, and what was new is at the end."""
    came: bool
    """Some row wasn't shown before."""


class Task(NamedTuple, Generic[Row]):
    """All that an order depends on: `run` may be called on any thread."""

    number: int
    rows: Sequence[Row]
    changed: bool
    sort_now: bool
    column: Column[Row]
    descending: bool
    query: Query
    search_text: Callable[[Row], str]
    before: Order[Row]
    base_is_right: bool
    """The rows are those of ``before``, and its base is in the order of the column."""

    @property
    def is_big(self) -> bool:
        """Whether it takes longer than a key may wait."""
        return len(self.rows) > BIG

    def run(self) -> Order[Row]:
        """Filter and sort, as far as it is needed."""
        before, came = self.before, False
        if self.base_is_right:
            base = before.base
        else:
            kept, new = _kept(before.base, self.rows)
            came = bool(new)
            # Stable: equal rows stay as they were.
            base = self._sorted(kept + new) if self.sort_now else kept + self._sorted(new)
        if not self.query:
            return Order(base, base, {}, self.sort_now, came)
        texts = before.texts
        if self.changed or not texts:
            known, text = texts.get, self.search_text
            texts = {id(row): known(id(row)) or text(row).casefold() for row in self.rows}
        test = self.query.test
        shown = [row for row in base if test(texts[id(row)])]
        if not self.sort_now:
            kept, new = _kept(before.shown, shown)
            shown, came = kept + self._sorted(new), came or bool(new)
        return Order(base, shown, texts, self.sort_now, came)

    def _sorted(self, rows: Sequence[Row]) -> list[Row]:
        return sorted(rows, key=self.column.sort_key, reverse=self.descending)


def _kept(before: Sequence[Row], now: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The rows of before that are still there, in their old order, and the new ones.

    By identity first: of 100,000 blobs hardly any differs from what was shown before.
    """
    old_ids, now_ids = set(map(id, before)), set(map(id, now))
    fresh = {row.key: row for row in now if id(row) not in old_ids}
    kept = []
    for old in before:
        row = old if id(old) in now_ids else fresh.pop(old.key, None)
        if row is not None:
            kept.append(row)
    return kept, list(fresh.values())


class ViewState(Generic[Row]):
    """The order of one table's rows. Clocks are seconds of any monotonic clock.

    Rows never move under a finger: within `QUIET_S` of `touched`, new rows go to the end and
    the others keep their places; the sort is made up for by the first `order` afterwards.
    """

    def __init__(
        self,
        columns: Sequence[Column[Row]],
        search_text: Callable[[Row], str],
        *,
        sort: str,
        descending: bool | None = None,
        settle_s: float = 0.0,
    ) -> None:
        """``search_text``: the text of a row that filters look at; depends on the row alone.

        ``settle_s``: in the first seconds live sorts don't wait: the first looks find out most.
        """
        self._settle_s = settle_s
        self._columns = {column.key: column for column in columns}
        self._search_text = search_text
        self._query = ALL
        self._sort = self._columns[sort]
        self._descending = self._sort.descending if descending is None else descending
        self._source: Sequence[Row] = ()
        self._frozen: Sequence[Row] | None = None
        self._order: Order[Row] = Order([], [], {}, True, False)
        self._obeyed: tuple[Column[Row], bool, Query] | None = None
        self._number = 0
        self._unsorted = False  # a sort is owed
        self._began_at: float | None = None
        self._sorted_at = -QUIET_S
        self._touched_at = -QUIET_S

    @property
    def query(self) -> Query:
        return self._query

    @query.setter
    def query(self, query: Query) -> None:
        if query.text != self._query.text:
            self._query = query

    @property
    def sort(self) -> str:
        """The key of the column sorted by."""
        return self._sort.key

    @property
    def sort_title(self) -> str:
        """The title of the column sorted by."""
        return self._sort.title

    @property
    def descending(self) -> bool:
        return self._descending

    @property
    def paused(self) -> bool:
        return self._frozen is not None

    @property
    def shown(self) -> list[Row]:
        """The rows as they were put in order last."""
        return self._order.shown

    def use(self, columns: Sequence[Column[Row]]) -> None:
        """Sort by one of these columns from now on; the one sorted by stays when it is there."""
        self._columns = {column.key: column for column in columns}
        if self._sort.key not in self._columns:
            self._sort = columns[0]

    def has(self, key: str) -> bool:
        """Whether there is such a column."""
        return key in self._columns

    def sort_by(self, key: str, descending: bool | None = None) -> None:
        """Sort by a column: by the one already sorted by, in the other direction."""
        column = self._columns[key]
        if descending is None:
            descending = not self._descending if column is self._sort else column.descending
        self._sort, self._descending = column, descending

    def sort_next(self, step: int = 1) -> None:
        """Sort by the next column, or by the one before."""
        keys = list(self._columns)
        self.sort_by(keys[(keys.index(self._sort.key) + step) % len(keys)])

    def reverse(self) -> None:
        """The same column in the other direction."""
        self.sort_by(self._sort.key)

    def pause(self, on: bool) -> None:
        """Keep the rows that were shown last; filter and sort still apply to them."""
        self._frozen = self._source if on else None
        self._number += 1  # what is being put in order now comes too late

    def touched(self, now_s: float) -> None:
        """A key was pressed: rows keep their places for a while."""
        self._touched_at = now_s

    def order(self, rows: Sequence[Row], now_s: float) -> list[Row]:
        """The rows to show. The same list object again as long as nothing about it changed."""
        task = self.task(rows, now_s)
        if task is not None:
            self.take(task, task.run(), now_s)
        return self._order.shown

    def task(self, rows: Sequence[Row], now_s: float) -> Task[Row] | None:
        """What has to be done before the rows can be shown; None: nothing."""
        if self._frozen is not None:
            rows = self._frozen
        changed = rows is not self._source
        if changed and self._sort.live:
            self._unsorted = True
        wanted = (self._sort, self._descending, self._query)
        sort_now = self._obeyed != wanted or (self._unsorted and self._may_sort(now_s))
        if not changed and not sort_now:
            return None
        same_column = self._obeyed is not None and self._obeyed[:2] == wanted[:2]
        self._number += 1
        return Task(
            self._number, rows, changed, sort_now, *wanted, self._search_text, self._order,
            base_is_right=same_column and not changed and not self._unsorted,
        )  # fmt: skip

    def take(self, task: Task[Row], order: Order[Row], now_s: float) -> bool:
        """Show this order from now on; False when it comes too late.

        ``now_s``: when the task was made.
        """
        if task.number != self._number:
            return False
        self._source, self._order = task.rows, order
        if order.sorted:
            self._unsorted, self._sorted_at = False, now_s
            self._obeyed = task.column, task.descending, task.query
        self._unsorted |= order.came and not order.sorted
        if task.rows and self._began_at is None:
            self._began_at = now_s
        return True

    def _may_sort(self, now_s: float) -> bool:
        last = self._touched_at
        settled = self._began_at is not None and now_s - self._began_at >= self._settle_s
        if self._sort.live and settled:
            last = max(last, self._sorted_at)
        return now_s - last >= QUIET_S
