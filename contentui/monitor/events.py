"""What appeared, changed or went between two views of a store, as typed values.

Sentences for them are made by `contentui.present.events`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from contentui.content.model import Info, Status
    from contentui.monitor.states import IngestState

LIMIT = 200
"""Events in one view, unless a monitor is told otherwise; `EventsOmitted` counts the others."""


class IngestAppeared(NamedTuple):
    """An ingest that was not there before."""

    status: Status


class IngestStateChanged(NamedTuple):
    """An ingest turned quiet or stalled, resumed, was completed, ..."""

    status: Status
    before: IngestState
    after: IngestState


class IngestCommitted(NamedTuple):
    """An ingest became a blob."""

    status: Status
    """The ingest as it was seen last."""
    info: Info
    """The blob."""


class IngestGone(NamedTuple):
    """An ingest went without becoming a blob that is known: aborted, here or elsewhere."""

    status: Status
    """As it was seen last: `Status.offset` is what was lost, bytes."""


class BlobAdded(NamedTuple):
    """A blob that was no ingest under watch."""

    info: Info


class BlobRemoved(NamedTuple):
    """A blob is no longer there."""

    info: Info


class ConnectionLost(NamedTuple):
    """The store can't be read."""

    reason: str
    """Safe for a terminal; with what to do or what happens next."""


class ConnectionRestored(NamedTuple):
    """The store can be read again."""


class EventsOmitted(NamedTuple):
    """More happened than fits into one view."""

    number: int


Event = (
    IngestAppeared
    | IngestStateChanged
    | IngestCommitted
    | IngestGone
    | BlobAdded
    | BlobRemoved
    | ConnectionLost
    | ConnectionRestored
    | EventsOmitted
)


class Counters(NamedTuple):
    """How often each event happened since the monitor was made. None of them ever shrinks."""

    received_bytes: int = 0
    """Bytes that arrived in ingests, committed ones included."""
    ingests_appeared: int = 0
    ingests_committed: int = 0
    ingests_gone: int = 0
    blobs_added: int = 0
    """Those of committed ingests not included."""
    blobs_removed: int = 0
    connections_lost: int = 0

    def plus(self, events: Iterable[Event], received_bytes: int) -> Counters:
        """With these events, and with so many more bytes."""
        counts = dict.fromkeys(_COUNTED, 0)
        for event in events:
            if type(event) in counts:
                counts[type(event)] += 1
        _, *before = self
        return Counters(
            self.received_bytes + max(received_bytes, 0),
            *(old + new for old, new in zip(before, counts.values(), strict=True)),
        )


_COUNTED = (IngestAppeared, IngestCommitted, IngestGone, BlobAdded, BlobRemoved, ConnectionLost)
"""In the order of the fields of `Counters` behind the bytes."""


def limited(events: Sequence[Event], limit: int | None) -> tuple[Event, ...]:
    """At most ``limit`` of them, the last one with the number of omitted ones; None: all."""
    if limit is None or len(events) <= limit:
        return tuple(events)
    return (*events[: limit - 1], EventsOmitted(len(events) - limit + 1))
