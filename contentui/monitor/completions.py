"""Finds out what became of ingests that are no longer there."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from contentui.content.digest import Digest
from contentui.monitor.events import BlobAdded, Event, IngestCommitted, IngestGone

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from contentui.content.model import Info, Status
    from contentui.monitor.tracked import TrackedIngest


class CompletionMatcher:
    """Matches ingests that went with blobs that came.

    They wait here until the blobs have been listed after they went. One counts as committed only
    when a new blob has the digest that it expected, or is the only one of its size.
    """

    def __init__(self) -> None:
        self._gone: list[tuple[Status, int]] = []

    def add(self, gone: list[TrackedIngest], now_ns: int) -> None:
        """These ingests vanished now."""
        self._gone += [(tracked.status, now_ns) for tracked in gone]

    @property
    def is_empty(self) -> bool:
        return not self._gone

    def resolve(self, came: Sequence[Info], *, checked_ns: int) -> tuple[list[Event], int]:
        """Match them with the blobs that came.

        Args:
            came: new blobs.
            checked_ns: when the blobs were listed, or known to be the same, last.

        Returns:
            Events, and the bytes that arrived unseen: between the last check of an ingest and
            its commit, or in blobs that never were an ingest of which we knew.
        """
        by_digest = {info.digest: info for info in came}
        events: list[Event] = []
        waiting: list[tuple[Status, int]] = []
        lost: list[Status] = []
        unseen = 0
        for status, at_ns in self._gone:
            digest = _expected_digest(status)
            info = by_digest.pop(digest, None) if digest is not None else None
            if info is not None:
                events.append(IngestCommitted(status, info))
                unseen += max(info.size - status.offset, 0)
            elif at_ns <= checked_ns:
                lost.append(status)
            else:
                waiting.append((status, at_ns))
        self._gone = waiting
        rest, more = _match_sizes(lost, by_digest)
        return events + rest, unseen + more


def expected_digests(gone: Iterable[TrackedIngest]) -> list[Digest]:
    """The digests that these ingests expected, or that their refs name."""
    digests = (_expected_digest(tracked.status) for tracked in gone)
    return list(dict.fromkeys(digest for digest in digests if digest is not None))


def _expected_digest(status: Status) -> Digest | None:
    return status.expected or Digest.found_in(status.ref)


def _match_sizes(lost: list[Status], came: dict[Digest, Info]) -> tuple[list[Event], int]:
    """Match the rest; a new blob is a lost ingest's only where no other has its size."""
    unseen = max(sum(info.size for info in came.values()) - sum(s.offset for s in lost), 0)
    sizes = Counter(info.size for info in came.values())
    counts = Counter(status.total or status.offset for status in lost)
    unique = {info.size: info for info in came.values() if sizes[info.size] == 1}
    events: list[Event] = []
    for status in lost:
        size = status.total or status.offset
        info = unique.get(size) if counts[size] == 1 else None
        if info is not None and info.committed_ns >= status.started_ns:
            del came[info.digest]
            events.append(IngestCommitted(status, info))
        else:
            events.append(IngestGone(status))
    events += map(BlobAdded, came.values())
    return events, unseen
