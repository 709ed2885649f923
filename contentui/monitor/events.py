"""What came, went or changed, as sentences for streams and logs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from contentui.content.digest import Digest
from contentui.content.model import ref_argument
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from contentui.content.model import Info, Status
    from contentui.monitor.ingests import Changes
    from contentui.monitor.model import IngestState
    from contentui.monitor.tracked import TrackedIngest

LIMIT = 200
"""Sentences in one view; what is beyond is counted."""
_NAME = 200


def name(status: Status) -> str:
    """An ingest's name, and its namespace where it has one, safe for a terminal."""
    where = f" ({visible(status.namespace, 80)})" if status.namespace else ""
    return visible(ref_argument(status), _NAME) + where


class CompletionMatcher:
    """Finds out what became of ingests that are no longer there.

    They wait here until the blobs have been listed after they went. 'committed' is said only
    when a new blob has the digest they wanted, or is the only one of their size.
    """

    def __init__(self) -> None:
        self._gone: list[tuple[Status, int]] = []

    def add(self, gone: list[TrackedIngest], now_ns: int) -> None:
        """These ingests vanished now."""
        self._gone += [(tracked.status, now_ns) for tracked in gone]

    @property
    def is_empty(self) -> bool:
        return not self._gone

    def resolve(self, came: list[Info], *, checked_ns: int) -> tuple[list[str], int]:
        """Match them with the blobs that came.

        Args:
            came: new blobs.
            checked_ns: when the blobs were listed, or known to be the same, last.

        Returns:
            Sentences, and the bytes that arrived unseen: between the last look at an ingest and
            its commit, or in blobs that never were an ingest of which we knew.
        """
        by_digest = {info.digest: info for info in came}
        sentences: list[str] = []
        waiting: list[tuple[Status, int]] = []
        lost: list[Status] = []
        unseen = 0
        for status, at_ns in self._gone:
            info = _wanted(status, by_digest)
            if info is not None:
                del by_digest[info.digest]
                sentences.append(_committed(status, info))
                unseen += max(info.size - status.offset, 0)
            elif at_ns <= checked_ns:
                lost.append(status)
            else:
                waiting.append((status, at_ns))
        self._gone = waiting
        rest, more = _by_size(lost, by_digest)
        return sentences + rest, unseen + more


def wanted(gone: Iterable[TrackedIngest]) -> list[Digest]:
    """The digests that ingests wanted, or that their refs name: what they may have become."""
    digests = (_wanted_digest(tracked.status) for tracked in gone)
    return list(dict.fromkeys(digest for digest in digests if digest is not None))


def _wanted_digest(status: Status) -> Digest | None:
    return status.expected or Digest.found_in(status.ref)


def _wanted(status: Status, came: dict[Digest, Info]) -> Info | None:
    """The new blob with the digest that the ingest wanted, or that its ref names."""
    if not came:
        return None
    digest = _wanted_digest(status)
    return came.get(digest) if digest is not None else None


def _by_size(lost: list[Status], came: dict[Digest, Info]) -> tuple[list[str], int]:
    """Decide about the rest; a new blob belongs to a lost ingest only where no other fits."""
    unseen = max(sum(info.size for info in came.values()) - sum(s.offset for s in lost), 0)
    sizes = Counter(info.size for info in came.values())
    claims = Counter(status.total or status.offset for status in lost)
    sure = {info.size: info for info in came.values() if sizes[info.size] == 1}
    sentences: list[str] = []
    for status in lost:
        size = status.total or status.offset
        info = sure.get(size) if claims[size] == 1 else None
        if info is not None and info.committed_ns >= status.started_ns:
            del came[info.digest]
            sentences.append(_committed(status, info))
        else:
            sentences.append(f"{name(status)} is gone at offset {status.offset}")
    sentences += [f"blob {info.digest} added, {info.size} bytes" for info in came.values()]
    return sentences, unseen


def _committed(status: Status, info: Info) -> str:
    return f"{name(status)} committed as {info.digest}, {info.size} bytes"


def appeared(status: Status) -> str:
    """A new ingest."""
    total = f" of {status.total}" if status.total else ""
    return f"{name(status)} appeared, {status.offset}{total} bytes"


def state_changes(tracked: TrackedIngest, before: IngestState) -> str:
    """A state changed."""
    return f"{name(tracked.status)} {before} → {tracked.state}"


def deleted(info: Info) -> str:
    """A blob went."""
    return f"blob {info.digest} deleted, {info.size} bytes"


def of_ingests(changes: Changes) -> list[str]:
    """What happened to ingests that are still there."""
    return [appeared(tracked.status) for tracked in changes.appeared] + [
        state_changes(tracked, before) for tracked, before in changes.state_changes
    ]


def limited(sentences: list[str]) -> tuple[str, ...]:
    """At most `LIMIT` of them."""
    if len(sentences) <= LIMIT:
        return tuple(sentences)
    return (*sentences[: LIMIT - 1], f"and {len(sentences) - LIMIT + 1} more changes")
