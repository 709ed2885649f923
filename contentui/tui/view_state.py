"""Which rows a table shows and in which order: filter, sort, pause. Knows no screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from contentui.tui.query import ALL, Query

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from contentui.tui.columns import Column, Keyed

Row = TypeVar("Row", bound="Keyed")

QUIET_S = 1.0
"""Seconds after a key press in which rows keep their places, and between two live sorts."""


class ViewState(Generic[Row]):
    """The order of one table's rows. Clocks are seconds of any monotonic clock.

    Rows never move under a finger: within `QUIET_S` of `touched`, new rows go to the end and
    the others keep their places; the sort is made up for by the first `order` afterwards.
    """

    def __init__(
        self,
        columns: Sequence[Column[Row]],
        haystack: Callable[[Row], str],
        *,
        sort: str,
        descending: bool | None = None,
    ) -> None:
        """``haystack``: the text of a row that filters look at; depends on the row alone."""
        self._columns = {column.key: column for column in columns}
        self._haystack = haystack
        self._texts: dict[int, str] = {}  # id of a row -> its text; for the rows of `_read`
        self._read: Sequence[Row] = ()
        self._query = ALL
        self._sort = self._columns[sort]
        self._descending = self._sort.descending if descending is None else descending
        self._source: Sequence[Row] = ()
        self._frozen: Sequence[Row] | None = None
        self._ordered: list[Row] = []
        self._asked = True  # query or sort changed: obey at once
        self._unsorted = False  # a sort is owed
        self._sorted_at = -QUIET_S
        self._touched_at = -QUIET_S

    @property
    def query(self) -> Query:
        return self._query

    @query.setter
    def query(self, query: Query) -> None:
        if query.text != self._query.text:
            self._query, self._asked = query, True

    @property
    def sort(self) -> str:
        """The key of the column sorted by."""
        return self._sort.key

    @property
    def descending(self) -> bool:
        return self._descending

    @property
    def paused(self) -> bool:
        return self._frozen is not None

    def sort_by(self, key: str, descending: bool | None = None) -> None:
        """Sort by a column: by the one already sorted by, in the other direction."""
        column = self._columns[key]
        if descending is None:
            descending = not self._descending if column is self._sort else column.descending
        self._sort, self._descending, self._asked = column, descending, True

    def sort_next(self, step: int = 1) -> None:
        """Sort by the next column, or by the one before."""
        keys = list(self._columns)
        self.sort_by(keys[(keys.index(self._sort.key) + step) % len(keys)])

    def reverse(self) -> None:
        """The same column in the other direction."""
        self.sort_by(self._sort.key)

    def pause(self, on: bool) -> None:
        """Keep the rows that were shown last; filter and sort go on working on them."""
        self._frozen = self._source if on else None

    def touched(self, now_s: float) -> None:
        """A key was pressed: rows keep their places for a while."""
        self._touched_at = now_s

    def order(self, rows: Sequence[Row], now_s: float) -> list[Row]:
        """The rows to show. The same list object again as long as nothing about it changed."""
        if self._frozen is not None:
            rows = self._frozen
        changed = rows is not self._source
        if changed and self._sort.live:
            self._unsorted = True
        sort_now = self._asked or (self._unsorted and self._may_sort(now_s))
        if not changed and not sort_now:
            return self._ordered
        self._source = rows
        kept, new = self._kept(self._filtered(rows))
        if sort_now:
            self._ordered = self._sorted(kept + new)  # stable: equal rows stay as they were
            self._asked, self._unsorted, self._sorted_at = False, False, now_s
            return self._ordered
        if new:
            self._unsorted = True
        self._ordered = kept + self._sorted(new)
        return self._ordered

    def _may_sort(self, now_s: float) -> bool:
        last = self._touched_at
        if self._sort.live:
            last = max(last, self._sorted_at)
        return now_s - last >= QUIET_S

    def _sorted(self, rows: list[Row]) -> list[Row]:
        return sorted(rows, key=self._sort.sort_key, reverse=self._descending)

    def _kept(self, shown: Sequence[Row]) -> tuple[list[Row], list[Row]]:
        """The rows shown before, in their old order, and the new ones.

        By identity first: of 100,000 blobs hardly any differs from what was shown before.
        """
        before, now = set(map(id, self._ordered)), set(map(id, shown))
        fresh = {row.key: row for row in shown if id(row) not in before}
        kept = []
        for old in self._ordered:
            row = old if id(old) in now else fresh.pop(old.key, None)
            if row is not None:
                kept.append(row)
        return kept, list(fresh.values())

    def _filtered(self, rows: Sequence[Row]) -> Sequence[Row]:
        if not self._query:
            return rows
        if rows is not self._read:
            known, haystack = self._texts, self._haystack
            self._texts = {id(row): known.get(id(row)) or haystack(row).casefold() for row in rows}
            self._read = rows  # keeps the rows alive, and their ids with them
        test, texts = self._query.test, self._texts
        return [row for row in rows if test(texts[id(row)])]
