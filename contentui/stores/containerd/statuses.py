"""Lists of ingests from the wire, with what didn't change since the last one not read again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.content.digest import Digest
from contentui.content.errors import DataLoss
from contentui.content.model import IngestId, Status, backend_ref, ingest_id
from contentui.protocol import wire
from contentui.stores.containerd.messages import decoded, digest_or_none

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_KNOWN = 100_000


class Listing:
    """The ingests of one namespace as the daemon told them last."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self._message: bytes | None = None
        self._list: list[Status] = []
        self._entries: dict[bytes, Status] = {}
        self._refs: dict[bytes, tuple[str, IngestId, Digest | None]] = {}

    def read(self, message: bytes) -> list[Status]:
        """The statuses in an answer to ListStatuses. Not to be changed by the caller.

        Raises:
            DataLoss: the answer can't be read.
        """
        if message != self._message:
            self._list = list(self._changed(message))
            self._message = message
        return self._list

    def one(self, message: bytes) -> Status:
        """The status in an answer to Status.

        Raises:
            DataLoss: there is none in it.
        """
        for each in decoded(wire.submessages, message, "ListStatuses"):
            return self._status(each)
        raise DataLoss("the service's answer tells of no ingest")

    def _changed(self, message: bytes) -> Iterator[Status]:
        before, now = self._entries, {}
        for each in decoded(wire.submessages, message, "ListStatuses"):
            status = before.get(each) or self._status(each)
            now[each] = status
            yield status
        self._entries = now

    def _status(self, message: bytes) -> Status:
        entry = decoded(wire.decode_status, message, "ListStatuses")
        known = self._refs.get(entry.ref)
        if known is None:
            known = self._known(entry.ref)
        ref, ident, wanted = known
        expected = digest_or_none(entry.expected) if entry.expected else None
        return Status(
            ref,
            entry.offset,
            entry.total,
            entry.started_ns,
            entry.updated_ns,
            expected or wanted,
            ident,
            namespace=self.namespace,
        )

    def _known(self, data: bytes) -> tuple[str, IngestId, Digest | None]:
        """What a ref alone tells, kept because hashing it each time would cost the most."""
        ref = data.decode("utf-8", "surrogateescape")
        ident = ingest_id(backend_ref(self.namespace, ref))
        if len(self._refs) >= _MAX_KNOWN:
            self._refs.clear()
        self._refs[data] = found = (ref, ident, Digest.found_in(ref))
        return found
