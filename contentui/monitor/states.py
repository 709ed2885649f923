"""How an ingest is doing, and what to do about it: pure rules."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from contentui.content.model import Liveness
from contentui.monitor.model import IngestState
from contentui.text import human_duration, human_size, visible

if TYPE_CHECKING:
    from contentui.content.model import Status
    from contentui.monitor.model import Thresholds

ARRIVING = (IngestState.MOVING, "Bytes are arriving: nothing to do.")
UNCONFIRMED_REASON = "Seen for the first time: wait for a second look."
_UNCONFIRMED = (IngestState.MOVING, UNCONFIRMED_REASON)
_QUIET_FREE = (
    IngestState.MOVING,
    (
        "Its last byte is recent, but no writer holds it any more: "
        "run the same ingest again to resume it."
    ),
)
_POISONED = (
    IngestState.POISONED,
    (
        "All bytes are there, but they are not the ones that were asked for, and every retry will"
        " fail: abort it or truncate it, then ingest again from a good source."
    ),
)
_COMPLETE_HELD = (
    IngestState.COMPLETE,
    "All bytes are there, and a live writer holds it: wait for its commit.",
)
_COMPLETE_HUNG = (
    IngestState.COMPLETE,
    (
        "All bytes are there, but the live writer that holds it doesn't commit:"
        " look at that process; end it and run the same ingest again to commit."
    ),
)
_COMPLETE_HUNG_SERVED = (
    IngestState.COMPLETE,
    (
        "All bytes are there, but the daemon's client that holds it doesn't commit: look at the"
        " pull it belongs to; end that and start it again to commit."
    ),
)
_COMPLETE_FREE = (
    IngestState.COMPLETE,
    (
        "All bytes are there, but nobody commits them: run the same ingest again to commit, or"
        " abort it."
    ),
)
_COMPLETE_UNKNOWN = (
    IngestState.COMPLETE,
    "All bytes are there, not committed yet: wait, or run the same ingest again to commit.",
)
_TOO_MUCH = (
    IngestState.COMPLETE,
    (
        "More bytes are there than were announced, and a commit of the announced size will fail:"
        " look at its source, then abort it or truncate it."
    ),
)


def is_plain(status: Status) -> bool:
    """Whether nothing but the time of its last byte decides about an ingest."""
    incomplete = not status.total or status.offset < status.total
    return incomplete and not status.damage and status.refused is None


def judge(
    status: Status,
    *,
    liveness: Liveness,
    silent_s: float | None,
    thresholds: Thresholds,
    arriving: bool = False,
    confirmed: bool = True,
    slow: bool = False,
    served: bool = False,
) -> tuple[IngestState, str]:
    """The state of an ingest, and its reason: a sentence that ends with what to do.

    The reason holds no running numbers, so that an ingest to which nothing happens keeps it.

    Args:
        status: the ingest.
        liveness: whether a writer holds it.
        silent_s: seconds without a byte; None when its times can't be believed.
        thresholds: when silence becomes a state.
        arriving: we saw it grow ourselves, in the last seconds.
        confirmed: a second look confirmed the silence.
        slow: over the whole window it was below the threshold of a trickle.
        served: its writer is a client of a daemon, which nobody should end (`Holder.serves`).
    """
    if status.damage:
        return IngestState.DAMAGED, _damaged(status.damage)
    if status.refused is not None:
        return _POISONED
    silent = confirmed and silent_s is not None and silent_s >= thresholds.stalled_after_s
    if 0 < status.total <= status.offset:
        return _complete(status, liveness, silent=silent, served=served)
    if silent:
        return _silent(liveness, thresholds.stalled_after_s, served=served)
    if slow:
        return _trickle(thresholds.trickle_bytes_s, thresholds.trickle_window_s)
    if arriving:
        return ARRIVING
    if silent_s is None:
        return _future(thresholds.stalled_after_s)
    if not confirmed and silent_s >= thresholds.stalled_after_s:
        return _UNCONFIRMED
    return _QUIET_FREE if liveness is Liveness.FREE else _quiet(thresholds.stalled_after_s)


def _complete(
    status: Status, liveness: Liveness, *, silent: bool, served: bool
) -> tuple[IngestState, str]:
    if status.offset > status.total:
        return _TOO_MUCH
    if liveness is Liveness.FREE:
        return _COMPLETE_FREE
    if liveness is Liveness.UNKNOWN:
        return _COMPLETE_UNKNOWN
    if not silent:
        return _COMPLETE_HELD
    return _COMPLETE_HUNG_SERVED if served else _COMPLETE_HUNG


@lru_cache(maxsize=256)
def _damaged(damage: str) -> str:
    what = visible(damage, 300).rstrip(" .:;,")
    return f"Its files are damaged ({what}): abort it, then ingest again."


@lru_cache(maxsize=16)
def _silent(liveness: Liveness, after_s: float, *, served: bool) -> tuple[IngestState, str]:
    silence = f"No byte has arrived for {human_duration(after_s)} or longer"
    if served and liveness is Liveness.HELD:
        return IngestState.STALLED, (
            f"{silence}, while a live client of the daemon holds it: look at its source and at the"
            " pull it belongs to; end that pull and not the daemon, or abort it, which makes that"
            " pull fail."
        )
    if liveness is Liveness.HELD:
        return IngestState.STALLED, (
            f"{silence}, while a live writer holds it: look at that process and its source;"
            " end it to free the ref, then resume or abort."
        )
    if liveness is Liveness.FREE:
        return IngestState.ABANDONED, (
            f"{silence}, and no writer holds it: run the same ingest again to resume it, or abort"
            " it."
        )
    return IngestState.UNKNOWN, (
        f"{silence}, and nobody can tell whether its writer lives: ask for its lock (v, or"
        " 'contentui verify --ingest REF') before you abort it."
    )


@lru_cache(maxsize=16)
def _trickle(bytes_s: float, window_s: float) -> tuple[IngestState, str]:
    return IngestState.TRICKLE, (
        f"Bytes arrive, but fewer than {human_size(bytes_s)} a second over the last"
        f" {human_duration(window_s)}: look at its source and the network, or let it run."
    )


@lru_cache(maxsize=16)
def _quiet(after_s: float) -> tuple[IngestState, str]:
    return IngestState.MOVING, (
        "No byte in the last seconds, which is nothing unusual:"
        f" wait, after {human_duration(after_s)} it counts as stalled."
    )


@lru_cache(maxsize=16)
def _future(after_s: float) -> tuple[IngestState, str]:
    return IngestState.MOVING, (
        "Its last change lies in the future, so one look can't tell its silence:"
        f" watch it for longer than {human_duration(after_s)}."
    )
