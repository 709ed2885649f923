"""Decodes lists of ingests; entries that have not changed since the last list are reused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.content.digest import Digest
from contentui.content.errors import DataLoss
from contentui.content.model import IngestId, Status, backend_ref, ingest_id
from contentui.protocol import wire
from contentui.stores.containerd.messages import decoded, digest_or_none

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MAX_KNOWN = 100_000


class StatusDecoder:
    """Decodes the statuses of one namespace."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self._message: bytes | None = None
        self._last: Sequence[Status] = ()
        self._by_message: dict[bytes, Status] = {}
        self._refs: dict[bytes, tuple[str, IngestId, Digest | None]] = {}

    def list(self, message: bytes) -> Sequence[Status]:
        """The statuses of a ListStatusesResponse.

        Raises:
            DataLoss: it cannot be decoded.
        """
        if message != self._message:
            self._last = tuple(self._statuses(message))
            self._message = message
        return self._last

    def one(self, message: bytes) -> Status:
        """The status of a StatusResponse.

        Raises:
            DataLoss: it cannot be decoded, or is empty.
        """
        for each in decoded(wire.submessages, message, "ListStatuses"):
            return self._status(each)
        raise DataLoss("the response to Status is empty")

    def _statuses(self, message: bytes) -> Iterator[Status]:
        before, now = self._by_message, {}
        for each in decoded(wire.submessages, message, "ListStatuses"):
            status = before.get(each) or self._status(each)
            now[each] = status
            yield status
        self._by_message = now

    def _status(self, message: bytes) -> Status:
        entry = decoded(wire.decode_status, message, "ListStatuses")
        known = self._refs.get(entry.ref)
        if known is None:
            known = self._parsed_ref(entry.ref)
        ref, ident, named = known
        expected = digest_or_none(entry.expected) if entry.expected else None
        return Status(
            ref,
            entry.offset,
            entry.total,
            entry.started_ns,
            entry.updated_ns,
            expected or named,
            ident,
            namespace=self.namespace,
        )

    def _parsed_ref(self, data: bytes) -> tuple[str, IngestId, Digest | None]:
        """A ref, its ingest's id and the digest in it; cached, because hashing costs the most."""
        ref = data.decode("utf-8", "surrogateescape")
        ident = ingest_id(backend_ref(self.namespace, ref))
        if len(self._refs) >= _MAX_KNOWN:
            self._refs.clear()
        self._refs[data] = found = (ref, ident, Digest.found_in(ref))
        return found
