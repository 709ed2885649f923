"""List and ListStatuses: messages that are encoded once for as long as nothing changes."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from contentui.content.filters import status_filter
from contentui.content.helpers import refresh_statuses
from contentui.content.model import ingest_id
from contentui.protocol import names, wire

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    import grpc

    from contentui.content.digest import Digest
    from contentui.content.model import Info, IngestId, Status
    from contentui.content.store import Store

_by_digest = itemgetter(0)
_MAX_ROWS = 250_000
"""Encoded blobs that are kept: about 100 MB."""
_MAX_BYTES = 128 << 20
"""Bytes of all encoded blobs that are kept: labels can make them long."""
_COARSE_S = 0.1
"""Seconds between two changes after which the times of directories differ for certain."""
_SETTLED_S = 0.05
"""Seconds for which a version of the ingests must be the same to be relied on."""
_UNKNOWN = {names.LABELS_UNKNOWN: "true"}
_MAX_LISTED = 4 << 20
"""Bytes of a message above which each of its blobs is sent in a message of its own."""


def encoded_info(info: Info) -> bytes:
    """An InfoResponse. An unknown time is sent as the other one."""
    digest, size, committed, updated, labels, _ = info
    created = committed or updated
    sent = _UNKNOWN if labels is None else labels
    return wire.encode_info(digest, size, created, updated or created, sent)


def encoded_status(status: Status) -> bytes:
    """A StatusResponse. An unknown time of change is sent as the start."""
    updated = status.updated_ns or status.started_ns
    parts = wire.encode_status_parts(
        status.ref, status.started_ns, status.total, status.expected or ""
    )
    return wire.encode_status(parts, updated, status.offset)


class BlobLister:
    """A store's blobs as ListContentResponses, sorted by digest; no message if there is none."""

    def __init__(self, store: Store, chunk: int) -> None:
        """``chunk``: blobs in one message."""
        self._store = store
        self._chunk = chunk
        self._rows = _Rows({}, {})
        self._versions = store.roles.blob_versions
        self._token: Hashable = None
        self._token_since = 0.0
        self._kept: tuple[Hashable, list[bytes]] | None = None

    def messages(self, filters: Sequence[str]) -> Iterator[bytes]:
        """All blobs that any of ``filters`` matches. Raises ContentError."""
        if any(filters):
            yield from self._walked(filters)
            return
        token, settled = self._state()
        kept = self._kept
        if kept is not None and kept[0] == token:
            yield from kept[1]
            return
        made: list[bytes] = []
        size = 0
        for message in self._walked(()):
            size += len(message)
            if settled and size <= _MAX_BYTES:
                made.append(message)
            yield message
        if settled and size <= _MAX_BYTES:
            self._kept = (token, made)

    def _state(self) -> tuple[Hashable, bool]:
        """A token that differs after blobs or labels changed, and whether it can be relied on.

        A change right after another one may not change the directory's time, so a token is
        relied on only after it has been the same for a while.
        """
        if self._versions is None or (version := self._versions.blobs_version()) is None:
            return None, False
        token, now = (version, self._versions.labels_version()), time.monotonic()
        if token != self._token:
            self._token, self._token_since = token, now
        return token, now - self._token_since >= _COARSE_S

    def _walked(self, filters: Sequence[str]) -> Iterator[bytes]:
        with _gc_paused():
            infos = sorted(self._store.walk(filters), key=_by_digest)
        rows = _Rows({}, {})
        size = 0
        for start in range(0, len(infos), self._chunk):
            for message in _messages(self._encoded(infos[start : start + self._chunk], rows)):
                size += len(message)
                yield message
        if not any(filters) and len(infos) <= _MAX_ROWS and size <= _MAX_BYTES:
            self._rows = rows

    def _encoded(self, infos: Sequence[Info], rows: _Rows) -> list[bytes]:
        """Each of ``infos`` encoded; unchanged ones are taken from the last listing."""
        known, old = self._rows
        facts, new = rows
        found = []
        for info in infos:
            digest = info[0]
            facts[digest] = now = _facts(info)
            row = old[digest] if known.get(digest) == now else encoded_info(info)
            new[digest] = row
            found.append(row)
        return found


def _messages(rows: Sequence[bytes]) -> Iterator[bytes]:
    """One message, or several where one would be longer than clients accept."""
    whole = b"".join(rows)
    if len(whole) <= _MAX_LISTED:
        yield whole
        return
    yield from rows


@contextlib.contextmanager
def _gc_paused() -> Iterator[None]:
    """Pause garbage collection, which would scan 100,000 new tuples again and again."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class _Rows(NamedTuple):
    """What the last listing of everything encoded; replaced as a whole, never changed.

    ``facts`` holds hashes instead of tuples: 100,000 tuples would cost each garbage collection
    more than encoding the blobs again.
    """

    facts: dict[Digest, int]
    rows: dict[Digest, bytes]


def _facts(info: Info) -> int:
    """A hash of all fields of an encoded blob except its digest."""
    _, size, committed, updated, labels, _ = info
    if labels:
        return hash((size, committed, updated, frozenset(labels.items())))
    return hash((size, committed, updated, labels is None))


class StatusLister:
    """A store's ingests as ListStatusesResponses.

    While the set of ingests is the same, only the known ones are read again.
    """

    def __init__(self, store: Store, mono: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._listing = store.roles.ingest_listing
        self._mono = mono
        self._mutex = threading.Lock()
        self._last: list[Status] = []
        self._last_version: Hashable = None
        self._same_since = self._listed_at = 0.0
        self._rows: dict[IngestId, tuple[Status, bytes]] = {}

    def response(self, message: bytes, _: grpc.ServicerContext) -> bytes:
        """A ListStatusesResponse. Raises ContentError, Malformed."""
        filters = wire.decode_filters(message)
        matches = status_filter(filters) if any(filters) else None
        if "" in filters:
            matches = None
        with self._mutex:
            found = self._current()
            if matches is not None:
                return b"".join(encoded_status(status) for status in found if matches(status))
            return self._encoded(found)

    def _current(self) -> list[Status]:
        """All ingests with a ref that clients can name."""
        version = None if self._listing is None else self._listing.ingests_version()
        now = self._mono()
        if version is None or version != self._last_version:
            self._last_version, self._same_since = version, now
        elif self._listed_at - self._same_since >= _SETTLED_S:
            refreshed = refresh_statuses(self._store, self._last)
            self._last = [status for status in refreshed if status is not None]
            return self._last
        found = self._store.statuses()
        self._listed_at = now
        self._last = [status for status in found if _nameable(status)]
        return self._last

    def _encoded(self, found: list[Status]) -> bytes:
        known, rows = self._rows, {}
        for status in found:
            row = known.get(status.id)
            if row is None or (row[0] is not status and row[0] != status):
                row = (status, encoded_status(status))
            rows[status.id] = row
        self._rows = rows
        return b"".join([row for _, row in rows.values()])


def _nameable(status: Status) -> bool:
    """Whether the ref names this ingest; containerd leaves out others as well."""
    return not status.damage or (bool(status.ref) and ingest_id(status.ref) == status.id)
