"""``active`` with a second check: states once, or changes until the reader closes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from contentui.cli.exits import Exit
from contentui.cli.output import print_error
from contentui.content.errors import Unavailable
from contentui.content.model import ref_argument
from contentui.monitor.model import Freshness
from contentui.monitor.monitor import Monitor
from contentui.monitor.states import Thresholds, default_thresholds
from contentui.present.records import change_record, ingest_record, json_line
from contentui.present.texts import holder_short
from contentui.text import human_age, human_countdown, human_rate, human_size, visible

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator, Mapping

    from contentui.cli.context import Context
    from contentui.content.model import Status
    from contentui.content.store import Store
    from contentui.monitor.model import IngestRow, RowKey, StoreView

_HEADER: tuple[str, ...] = ("REF", "OFFSET", "TOTAL", "RATE", "ETA", "AGE", "VERDICT", "HELD BY")
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

    as_line: Callable[[str, IngestRow, int], str] = _json_change if args.json else _text_change
    monitor = _monitor(args, store)
    known: dict[RowKey, IngestRow] = {}
    health = _HealthTeller()
    with interruptible():
        try:
            while True:
                view = monitor.tick()
                health.report(view)
                now = {row.key: row for row in _matching(args, view)}
                for change, row in _changes(known, now):
                    context.out.lines((as_line(change, row, view.taken_ns),))
                context.out.flush()
                known = now
                time.sleep(max(args.interval, monitor.retry_s))
        except Signalled as error:
            return Exit.DONE if error.signum == 2 else 128 + error.signum


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
    return Monitor(store, thresholds=_thresholds(args, store))


def _thresholds(args: Namespace, store: Store) -> Thresholds:
    if args.stalled_after is None:
        return default_thresholds(store)
    return Thresholds(stalled_after_s=args.stalled_after)


def _matching(args: Namespace, view: StoreView) -> list[IngestRow]:
    from contentui.content.filters import status_filter

    matches: Callable[[Status], bool] | None = status_filter(args.match)
    return [row for row in view.ingests if matches is None or matches(row.status)]


def _changes(
    before: Mapping[RowKey, IngestRow], now: Mapping[RowKey, IngestRow]
) -> Iterator[tuple[str, IngestRow]]:
    """What came, changed and went; a row that did not change is the same object."""
    for key, row in now.items():
        if key not in before:
            yield "appeared", row
        elif before[key] is not row and _shown(before[key]) != _shown(row):
            yield "changed", row
    for key, row in before.items():
        if key not in now:
            yield "gone", row


def _shown(row: IngestRow) -> tuple[object, ...]:
    """What a line shows, except the rate, which fades for seconds after the last byte."""
    return row.status, row.state, row.holder


def _json_change(change: str, row: IngestRow, now_ns: int) -> str:
    return json_line(change_record(change, row, now_ns))


def _text_change(change: str, row: IngestRow, now_ns: int) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(now_ns // 10**9))
    ref, offset, total, rate, _, _, verdict, holder = _cells(row, now_ns)
    if row.status.namespace:
        ref = f"{visible(row.status.namespace)}  {ref}"
    if change == "gone":
        return f"{clock}  {change:<8}  {ref}  at {offset}"
    return f"{clock}  {change:<8}  {ref}  {offset} of {total}  {rate}  {verdict}  {holder}".rstrip()


def _cells(row: IngestRow, now_ns: int) -> tuple[str, ...]:
    status = row.status
    return (
        visible(status.ref or ref_argument(status)),
        human_size(status.offset),
        human_size(status.total) if status.total else "?",
        human_rate(row.rate),
        "" if row.eta_s is None else human_countdown(row.eta_s),
        human_age(status.started_ns, now_ns),
        str(row.state),
        holder_short(row.holder) if row.holder else "",
    )
