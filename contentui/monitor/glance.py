"""Verdicts for a single command, which has no history: one look, and a short second one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from contentui.content.errors import FailedPrecondition, PermissionDenied
from contentui.content.helpers import lock_holders, refresh_statuses
from contentui.content.model import Liveness
from contentui.monitor.model import IngestRow, Thresholds, default_thresholds
from contentui.monitor.states import judge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from contentui.content.model import Holder, IngestId, Status
    from contentui.content.store import Store


def glance(
    store: Store,
    statuses: Sequence[Status],
    *,
    thresholds: Thresholds | None = None,
    second_look_s: float = 0.2,
    sleep: Callable[[float], object] = time.sleep,
    now_ns: Callable[[], int] = time.time_ns,
) -> list[IngestRow]:
    """A row for each of ``statuses`` that is still there, in their order.

    Silence is the age of the last change, confirmed by a second look at those that seem silent,
    and never assumed when that change lies in the future. A trickle can't be told this way.

    Args:
        store: where they come from.
        statuses: a first look, just taken.
        thresholds: when silence becomes a state.
        second_look_s: seconds until the second look; only waited when something seems silent.
        sleep: how to wait.
        now_ns: wall clock, nanoseconds since 1970.

    Raises:
        ContentError: the store can't be read.
    """
    limits = thresholds or default_thresholds(store)
    now = now_ns()
    silent = {s.id for s in statuses if (silence_s(s, now) or 0.0) >= limits.stalled_after_s}
    again: dict[IngestId, Status | None] = {}
    if silent:
        sleep(second_look_s)
        those = [status for status in statuses if status.id in silent]
        again = {
            old.id: new for old, new in zip(those, refresh_statuses(store, those), strict=True)
        }
    holders = _holders(store, [status.id for status in statuses])
    rows = []
    for first in statuses:
        status = again.get(first.id, first)
        if status is not None:
            rows.append(_row(first, status, holders, limits, now))
    return rows


def silence_s(status: Status, now_ns: int) -> float | None:
    """Seconds since the last change; None when that is unknown or lies in the future."""
    if status.updated_ns <= 0 or status.updated_ns > now_ns:
        return None
    return (now_ns - status.updated_ns) / 1e9


def _row(
    first: Status,
    status: Status,
    holders: Mapping[IngestId, Holder] | None,
    thresholds: Thresholds,
    now_ns: int,
) -> IngestRow:
    moved = (status.offset, status.updated_ns) != (first.offset, first.updated_ns)
    holder = holders.get(status.id) if holders is not None else None
    if holders is None:
        liveness = Liveness.UNKNOWN
    else:
        liveness = Liveness.HELD if holder is not None else Liveness.FREE
    state, reason = judge(
        status,
        liveness=liveness,
        silent_s=0.0 if moved else silence_s(status, now_ns),
        thresholds=thresholds,
        arriving=status.offset > first.offset,
        served=holder is not None and holder.serves,
    )
    last_byte_ns = now_ns if status.offset > first.offset else status.updated_ns
    return IngestRow(status, state, reason, liveness, holder, last_byte_ns=last_byte_ns)


def _holders(store: Store, ids: list[IngestId]) -> Mapping[IngestId, Holder] | None:
    try:
        return lock_holders(store, ids)
    except (PermissionDenied, FailedPrecondition):
        return None
