"""Listing ingests cheaply for whoever asks again and again."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from contentui.content.filters import status_filter
from contentui.content.model import ingest_id
from contentui.protocol import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    import grpc

    from contentui.content.model import IngestId, Status
    from contentui.content.store import Store

_SETTLED_S = 0.05
"""How long a version must stand before it is trusted: directories' times move in jumps."""


def encoded_status(status: Status) -> bytes:
    """A StatusResponse."""
    return _encode(status, _parts(status))


def _parts(status: Status) -> tuple[bytes, bytes, bytes]:
    return wire.encode_status_parts(
        status.ref, status.started_ns, status.total, status.expected or ""
    )


def _encode(status: Status, parts: tuple[bytes, bytes, bytes]) -> bytes:
    return wire.encode_status(parts, status.updated_ns or status.started_ns, status.offset)


class Statuses:
    """All ingests of a store; between two looks at everything only at what grows."""

    def __init__(self, store: Store, mono: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._version: Callable[[], Hashable] = getattr(store, "ingests_version", lambda: None)
        self._mono = mono
        self._mutex = threading.Lock()
        self._seen: list[Status] = []
        self._seen_version: Hashable = None
        self._stands_since = self._looked_at = 0.0
        self._rows: dict[IngestId, tuple[Status, bytes]] = {}

    def answer(self, message: bytes, _: grpc.ServicerContext) -> bytes:
        """A ListStatusesResponse. Raises ContentError, Malformed."""
        filters = wire.decode_filters(message)
        matches = status_filter(filters) if any(filters) else None
        if "" in filters:
            matches = None
        with self._mutex:
            found = self._look()
            if matches is not None:
                return b"".join(encoded_status(status) for status in found if matches(status))
            return self._encoded(found)

    def _look(self) -> list[Status]:
        """All ingests that can be named, as they are now."""
        version, now = self._version(), self._mono()
        if version is None or version != self._seen_version:
            self._seen_version, self._stands_since = version, now
        elif self._looked_at - self._stands_since >= _SETTLED_S:
            refreshed = self._store.refresh(self._seen)
            self._seen = [status for status in refreshed if status is not None]
            return self._seen
        found = self._store.statuses()
        self._looked_at = now
        self._seen = [status for status in found if _nameable(status)]
        return self._seen

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
    """Whether a client can ask for it by its ref: containerd leaves others out as well."""
    return not status.damage or (bool(status.ref) and ingest_id(status.ref) == status.id)
