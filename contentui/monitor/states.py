"""The one function that decides an ingest's state, and the sentence that explains it. Pure.

The dashboard, ``active --verdict``, selections such as ``abort --abandoned`` and whatever else
shows a state call `ingest_state`; they differ only in how long they have watched.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from contentui.content.model import Liveness
from contentui.text import human_duration, human_size, visible

if TYPE_CHECKING:
    from contentui.content.model import Status
    from contentui.content.store import Store


class IngestState(StrEnum):
    """The state of an ingest, worst last."""

    MOVING = "moving"
    COMPLETE = "complete"
    """All bytes are there, not committed yet."""
    QUIET = "quiet"
    """No byte for some seconds, which is nothing unusual."""
    UNKNOWN = "unknown"
    """No byte was seen, and whether a writer holds it can't be determined."""
    TRICKLE = "trickle"
    """Bytes arrive, but very slowly."""
    STALLED = "stalled"
    """No byte for long, and it is not known to be free."""
    ABANDONED = "abandoned"
    """Incomplete, and no writer holds it."""
    POISONED = "poisoned"
    """Complete with the wrong digest: every retry fails until it is removed."""
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When silence changes an ingest's state. All are settings."""

    quiet_after_s: float = 10.0
    """Silence in seconds before quiet."""
    stalled_after_s: float = 30.0
    """Silence in seconds before stalled or unknown; 120 where clients buffer what they write."""
    trickle_bytes_s: float = 16_000.0
    """A rate in bytes per second below which an ingest trickles."""
    trickle_window_s: float = 120.0
    """Seconds over which that rate is measured."""


def default_thresholds(store: Store) -> Thresholds:
    """What suits those who write into ``store``.

    Where they hold back what they received, as containerd's clients do, silence means less.
    """
    return Thresholds(stalled_after_s=120.0) if store.traits.buffered_writes else Thresholds()


GROWING_S = 1.0
"""A byte within this many seconds means a live writer, even without a lock."""
ARRIVING = (IngestState.MOVING, "Bytes are arriving: nothing to do.")
UNCONFIRMED_REASON = "Seen once, and its last change is old: wait for the second look."
_UNCONFIRMED = (IngestState.QUIET, UNCONFIRMED_REASON)
_RECENT = (IngestState.MOVING, "Its last byte is recent: nothing to do, or wait.")
_ABANDONED = (
    IngestState.ABANDONED,
    (
        "It is incomplete and no writer holds it: run the same pull or ingest again to resume it,"
        " or abort it."
    ),
)
_POISONED = (
    IngestState.POISONED,
    (
        "All bytes are there, but they do not have the expected digest, so every retry fails:"
        " abort or truncate it, then ingest again from a good source."
    ),
)
_COMPLETE_HELD = (
    IngestState.COMPLETE,
    "All bytes are there, and a live writer holds it: wait for its commit.",
)
_COMPLETE_HUNG = (
    IngestState.COMPLETE,
    (
        "All bytes are there, but the live writer that holds it does not commit:"
        " look at that process; end it and run the same ingest again to commit."
    ),
)
_COMPLETE_HUNG_SERVED = (
    IngestState.COMPLETE,
    (
        "All bytes are there, but the daemon's client that holds it does not commit: look at the"
        " pull it is part of; end that pull and start it again to commit."
    ),
)
_COMPLETE_FREE = (
    IngestState.COMPLETE,
    (
        "All bytes are there, but no writer is left to commit them: run the same ingest again to"
        " commit, or abort it."
    ),
)
_COMPLETE_UNKNOWN = (
    IngestState.COMPLETE,
    "All bytes are there, not committed yet: wait, or run the same ingest again to commit.",
)
_TOO_MUCH = (
    IngestState.COMPLETE,
    (
        "There are more bytes than its declared total, so a commit of that size will fail:"
        " look at its source, then abort or truncate it."
    ),
)


def is_plain(status: Status) -> bool:
    """Whether only its holder and the time of its last byte decide an ingest's state."""
    return not status.is_complete and not status.damage and status.refused is None


def ingest_state(
    status: Status,
    *,
    liveness: Liveness,
    silent_s: float,
    thresholds: Thresholds,
    grown_s: float | None = None,
    confirmed: bool = True,
    slow: bool = False,
    served: bool = False,
) -> tuple[IngestState, str]:
    """The state of an ingest, and its reason: a sentence that ends with what to do.

    The reason holds no running numbers, so that it stays the same object while nothing happens.

    Args:
        status: the ingest.
        liveness: whether a writer holds it.
        silent_s: seconds since its last byte, as far as known; 0 where times can't be believed.
        thresholds: when silence changes the state.
        grown_s: seconds since we saw its offset grow ourselves; None: never.
        confirmed: a second check showed that nothing has changed since the first.
        slow: its rate over the whole window was below the threshold of a trickle.
        served: its writer is a client of a daemon (`Holder.daemon`), which must not be ended.
    """
    if status.damage:
        return IngestState.DAMAGED, _damaged(status.damage)
    if status.refused is not None:
        return _POISONED
    silent = confirmed and silent_s >= thresholds.stalled_after_s
    if status.is_complete:
        return _complete(status, liveness, silent=silent, served=served)
    if liveness is Liveness.FREE and (grown_s is None or grown_s >= GROWING_S):
        return _ABANDONED
    if silent:
        return _silent(
            liveness, thresholds.stalled_after_s, served=served, grew=grown_s is not None
        )
    if slow:
        return _trickle(thresholds.trickle_bytes_s, thresholds.trickle_window_s)
    if silent_s < thresholds.quiet_after_s:
        return ARRIVING if grown_s is not None and grown_s <= silent_s else _RECENT
    if not confirmed:
        return _UNCONFIRMED
    return _quiet(thresholds.quiet_after_s, thresholds.stalled_after_s)


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
def _silent(
    liveness: Liveness, after_s: float, *, served: bool, grew: bool
) -> tuple[IngestState, str]:
    silence = f"No byte has arrived for {human_duration(after_s)} or longer"
    if liveness is Liveness.HELD and served:
        return IngestState.STALLED, (
            f"{silence}, while a live client of the daemon holds it: look at its source and at the"
            " pull it is part of; end that pull and not the daemon, or abort it, which makes that"
            " pull fail."
        )
    if liveness is Liveness.HELD:
        return IngestState.STALLED, (
            f"{silence}, while a live writer holds it: look at that process and its source;"
            " end it to free the ref, then resume or abort."
        )
    return IngestState.STALLED if grew else IngestState.UNKNOWN, (
        f"{silence}, and whether its writer lives can't be determined: probe its lock (v, or"
        " 'contentui verify --ingest REF') before you abort it."
    )


@lru_cache(maxsize=16)
def _trickle(bytes_s: float, window_s: float) -> tuple[IngestState, str]:
    return IngestState.TRICKLE, (
        f"Bytes arrive, but fewer than {human_size(bytes_s)} a second over the last"
        f" {human_duration(window_s)}: look at its source and the network, or let it run."
    )


@lru_cache(maxsize=16)
def _quiet(quiet_s: float, stalled_s: float) -> tuple[IngestState, str]:
    return IngestState.QUIET, (
        f"No byte has arrived for {human_duration(quiet_s)} or longer, as happens in most"
        f" downloads: wait; after {human_duration(stalled_s)} it counts as stalled."
    )
