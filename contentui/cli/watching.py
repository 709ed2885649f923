"""``active`` with a second check: states once, or changes until the reader closes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from contentui.cli.exits import Exit
from contentui.cli.output import print_error
from contentui.content.errors import Unavailable
from contentui.monitor.events import IngestCommitted, IngestGone
from contentui.monitor.model import Freshness
from contentui.monitor.monitor import Monitor
from contentui.monitor.states import Thresholds, default_thresholds
from contentui.present.columns import COLUMN_BY_KEY, ref_text, state_words
from contentui.present.records import change_record, ingest_record, json_line
from contentui.present.texts import holder_short
from contentui.text import human_size, visible

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterable, Iterator

    from contentui.cli.context import Context
    from contentui.content.model import Info, IngestId, Status
    from contentui.content.store import Store
    from contentui.monitor.events import Event
    from contentui.monitor.model import IngestRow, StoreView

_HEADER: tuple[str, ...] = ("REF", "OFFSET", "TOTAL", "RATE", "ETA", "AGE", "STATE", "HELD BY")
_SHOWN = ("offset", "total", "rate", "eta", "started")
"""The columns of the screen between the first and the last two."""
_SECOND_LOOK_S = 0.5


def print_verdicts(args: Namespace, context: Context, store: Store) -> None:
    """Print how each ingest is doing, after two looks."""
    monitor = _monitor(args, store)
    monitor.tick()
    time.sleep(_SECOND_LOOK_S)
    view = monitor.tick()
    _tell_notices(view)
    if view.health.freshness is Freshness.STALE:
        raise Unavailable(view.health.reason)
    rows = sorted(_matching(args, view), key=_order)
    if args.json:
        context.out.lines(json_line(ingest_record(row)) for row in rows)
        return
    from contentui.present.table import table, with_column

    width = None if args.wide else context.out.width
    header, cells = _HEADER, [_cells(row, view.taken_ns) for row in rows]
    right: tuple[int, ...] = (1, 2, 3, 4, 5)
    flexible: tuple[int, ...] = (0, 7)
    if any(row.status.namespace for row in rows):
        spaces = [visible(row.status.namespace) for row in rows]
        header, cells = with_column(header, cells, "NAMESPACE", spaces)
        right, flexible = (2, 3, 4, 5, 6), (1, 8)
    context.out.lines(table(header, cells, right=right, flexible=flexible, width=width))


def watch(args: Namespace, context: Context, store: Store) -> int:
    """Print a line for each ingest that came, changed or went, until Ctrl-C.

    While the store can't be read, nothing is printed but that, on standard error; it continues by
    itself when the store is back.
    """
    from contentui.cli.signals import Signalled, interruptible

    as_line: Callable[[str, IngestRow, int, Info | None], str]
    as_line = _json_change if args.json else _text_change
    monitor = _monitor(args, store)
    changes = _Changes()
    health = _HealthTeller()
    with interruptible():
        try:
            while True:
                view = monitor.tick()
                health.report(view)
                for change, row, info in changes.between(_matching(args, view), view.events):
                    context.out.lines((as_line(change, row, view.taken_ns, info),))
                context.out.flush()
                time.sleep(max(args.interval, monitor.next_tick_s or 0, monitor.retry_s))
        except Signalled as error:
            return Exit.DONE if error.signum == 2 else 128 + error.signum


class _Changes:
    """What came, changed and went between one view and the next."""

    def __init__(self) -> None:
        self._known: dict[IngestId, IngestRow] = {}
        self._ended: dict[IngestId, IngestRow] = {}
        """Ingests that went; an event reports what became of them, in the same view or later."""

    def between(
        self, rows: Iterable[IngestRow], events: Iterable[Event]
    ) -> Iterator[tuple[str, IngestRow, Info | None]]:
        """Each change with its row, and the blob that an ingest was committed as.

        A row that did not change is the same object as before.
        """
        before, self._known = self._known, {row.status.id: row for row in rows}
        self._ended.update((key, before[key]) for key in before.keys() - self._known.keys())
        for event in events:
            if isinstance(event, IngestCommitted | IngestGone):
                row = self._ended.pop(event.status.id, None) or before.get(event.status.id)
                if row is not None and isinstance(event, IngestCommitted):
                    yield "committed", row, event.info
                elif row is not None:
                    yield "gone", row, None
        for key, row in self._known.items():
            if key not in before:
                yield "appeared", row, None
            elif before[key] is not row and _shown(before[key]) != _shown(row):
                yield "changed", row, None


class _HealthTeller:
    """Reports on standard error when the store is lost, and when it is back."""

    def __init__(self) -> None:
        self._lost = False

    def report(self, view: StoreView) -> None:
        """Print a change of the health, and the notifications of the store."""
        _tell_notices(view)
        lost = view.health.freshness is Freshness.STALE
        if lost and not self._lost:
            print_error(f"the store can't be read: {view.health.reason}")
        elif self._lost and not lost:
            print_error("the store can be read again")
        self._lost = lost


def _tell_notices(view: StoreView) -> None:
    for notice in view.notices:
        print_error(notice)


def _order(row: IngestRow) -> tuple[str, ...]:
    return row.status.ref, row.status.namespace, row.status.id


def _monitor(args: Namespace, store: Store) -> Monitor:
    return Monitor(store, thresholds=_thresholds(args, store), max_events=None)


def _thresholds(args: Namespace, store: Store) -> Thresholds:
    if args.stalled_after is None:
        return default_thresholds(store)
    return Thresholds(stalled_after_s=args.stalled_after)


def _matching(args: Namespace, view: StoreView) -> list[IngestRow]:
    from contentui.content.filters import status_filter

    matches: Callable[[Status], bool] | None = status_filter(args.match)
    return [row for row in view.ingests if matches is None or matches(row.status)]


def _shown(row: IngestRow) -> tuple[object, ...]:
    """What a line shows, except the rate, which fades for seconds after the last byte."""
    return row.status, row.state, row.holder


def _json_change(change: str, row: IngestRow, now_ns: int, info: Info | None) -> str:
    return json_line(change_record(change, row, now_ns, info))


def _text_change(change: str, row: IngestRow, now_ns: int, info: Info | None) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(now_ns // 10**9))
    ref, offset, total, rate, _, _, state, holder = _cells(row, now_ns)
    if row.status.namespace:
        ref = f"{visible(row.status.namespace)}  {ref}"
    line = f"{clock}  {change:<9}  {ref}"
    if info is not None:
        return f"{line}  as {info.digest}, {human_size(info.size)}"
    if change == "gone":
        return f"{line}  at {offset}"
    return f"{line}  {offset} of {total}  {rate}  {state}  {holder}".rstrip()


def _cells(row: IngestRow, now_ns: int) -> tuple[str, ...]:
    shown = (COLUMN_BY_KEY[key].text(row, now_ns) for key in _SHOWN)
    holder = holder_short(row.holder) if row.holder else ""
    return (ref_text(row), *shown, state_words(row, now_ns), holder)
