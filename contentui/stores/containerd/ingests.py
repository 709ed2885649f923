"""A daemon's ingests, in all namespaces that are shown."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from contentui.content.errors import Changed, FailedPrecondition, Locked, NotFound
from contentui.content.filters import status_filter
from contentui.content.model import IngestId, Liveness, Probe, backend_ref, ingest_id, ref_bytes
from contentui.content.rules import check_ingest_match, check_ref
from contentui.protocol import names, wire
from contentui.stores.containerd.messages import digest_or_none
from contentui.stores.containerd.namespaces import ambiguous
from contentui.stores.containerd.statuses import StatusDecoder
from contentui.stores.containerd.transport import Metadata
from contentui.stores.containerd.write_stream import HASHING_TIMEOUT_S, WriteStream
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contentui.content.digest import Digest
    from contentui.content.model import Status
    from contentui.stores.containerd.client import Client
    from contentui.stores.containerd.lock_owners import LockOwners

_MAX_REFUSED = 10_000
_MAX_ENDED = 1000
_ENDING_S = 1.0


class Ingests:
    """Calls of a daemon's content service for ingests, and the wrong digests that were found."""

    def __init__(self, client: Client, lock_owners: LockOwners) -> None:
        self._client = client
        self._lock_owners = lock_owners
        self._mutex = threading.Lock()
        self._decoders: dict[str, StatusDecoder] = {}
        self._places: dict[IngestId, tuple[str, str]] = {}
        self._refused: dict[IngestId, tuple[int, int, Digest]] = {}
        self._ended_at: dict[IngestId, float] = {}
        self._generation = 0

    # Reading

    def statuses(self, filters: Sequence[str] = ()) -> list[Status]:
        """All ingests that any filter matches."""
        matches = status_filter(filters)
        found = [status for name in self._client.namespaces.all() for status in self._listed(name)]
        self._places = {status.id: (status.namespace, status.ref) for status in found}
        found = self._marked(found)
        return [status for status in found if matches(status)] if matches else found

    def refresh(self, statuses: Sequence[Status]) -> list[Status | None]:
        """Each of ``statuses`` as it is now: one ListStatuses for each of their namespaces."""
        if not statuses:
            return []
        now: dict[IngestId, Status] = {}
        for name in sorted({status.namespace for status in statuses}):
            now.update((status.id, status) for status in self._listed(name))
        found = [now.get(status.id) for status in statuses]
        return [each and self._mark(each) for each in found] if self._refused else found

    def status(self, ref: str) -> Status:
        """Raises NotFound; InvalidArgument if the ref exists in several namespaces."""
        if isinstance(ref, IngestId):
            return self._by_id(ref)
        found = []
        for namespace in self._client.namespaces.all():
            try:
                found.append(self._one(namespace, ref))
            except NotFound:
                continue
        if not found:
            raise _not_found(ref)
        if len(found) > 1:
            raise ambiguous(f"ingest {ref}", [status.namespace for status in found])
        return found[0]

    def status_in(self, namespace: str, ref: str) -> Status:
        """Raises NotFound."""
        return self._one(namespace, ref)

    # Changing

    def abort(self, ref: str, if_match: Status | None, *, force: bool) -> None:
        """Raises NotFound, Changed, and Locked without ``force`` where a writer is known."""
        now = self.status(ref)
        if not force:
            self._refuse_held(now)
        check_ingest_match(now, if_match, visible(ref, 160))
        self.remove(now.namespace, now.ref)

    def remove(self, namespace: str, ref: str) -> None:
        """Abort without checking."""
        self._client.call(names.CONTENT, "Abort", wire.encode_name(ref_bytes(ref)), namespace)
        self._lock_owners.forget(ingest_id(backend_ref(namespace, ref)))

    def truncate(self, ref: str, if_match: Status | None) -> None:
        """Truncate over a Write stream, the only way; the server hashes all bytes first.

        Raises:
            NotFound, Locked, Changed: as `Store.truncate`.
            FailedPrecondition: the daemon does not pass truncations to its proxy plugin.
        """
        now = self.status(ref)
        self._refuse_held(now)
        check_ingest_match(now, if_match, visible(ref, 160))
        session = self._opened(now)
        try:
            self._refuse_new(session.last, now)
            if (session.last.started_ns, session.last.offset) != (now.started_ns, now.offset):
                raise _changed(now.ref)
            self.forget(now.id)
            session.send(wire.encode_write_request(wire.WRITE))
            session.send(wire.encode_write_request(wire.STAT))  # only STAT reports the new offset
            left = session.drain(HASHING_TIMEOUT_S).offset
        finally:
            session.finish()
            self.ended(now.id)
        if left:
            raise FailedPrecondition(
                f"ingest {visible(now.ref, 160)} was not truncated: this daemon does not pass "
                "truncations to its proxy plugin",
                advice="abort the ingest instead",
            )

    def probe(self, ref: str, if_match: Status) -> Probe:
        """One Status and one STAT.

        Raises:
            NotFound, Changed: as `Store.probe`.
        """
        now = self.status(ref)
        if (now.id, now.started_ns) != (if_match.id, if_match.started_ns):
            raise Changed(f"ingest {visible(now.ref, 160)} was begun anew", advice="look again")
        try:
            session = self._opened(now)
        except Locked as error:
            return Probe(now, Liveness.HELD, error.holder)
        found = session.last
        try:
            self._refuse_new(found, now)
        finally:
            session.finish()
            self.ended(now.id)
        digest = digest_or_none(found.digest)
        now = now._replace(offset=found.offset)
        if digest and _is_wrong(now, digest):
            self.refuse(now, digest)
        return Probe(self._mark(now), Liveness.FREE, None, digest)

    def refuse(self, status: Status, digest: Digest) -> None:
        """Record that these bytes have the wrong digest, which the protocol cannot express."""
        if len(self._refused) >= _MAX_REFUSED:
            self._refused.clear()
        self._refused[status.id] = (status.offset, status.started_ns, digest)

    def forget(self, ident: IngestId) -> None:
        """The bytes change: drop the record of a wrong digest."""
        self._refused.pop(ident, None)

    def ended(self, ident: IngestId) -> None:
        """A Write stream of ours has ended; the ref may stay locked for a moment."""
        with self._mutex:
            if len(self._ended_at) > _MAX_ENDED:
                self._ended_at.clear()
            self._ended_at[ident] = time.monotonic()

    def is_ending(self, ident: IngestId) -> bool:
        """Whether a Write stream of ours has just ended.

        The lock of a containerd with a proxy plugin is held a little longer than the stream.
        """
        with self._mutex:
            return time.monotonic() - self._ended_at.get(ident, float("-inf")) < _ENDING_S

    def marked(self, status: Status) -> Status:
        """With the digest that was found to be wrong."""
        return self._mark(status)

    def locked(self, error: Locked, ref: str, ident: IngestId) -> Locked:
        """The error with what is known about the holder."""
        holder = self._lock_owners.completed(error.holder, ident)
        name = visible(ref, 160)
        return Locked(f"{name}: {error.message}", holder=holder, advice=error.advice)

    # Helpers

    def _listed(self, namespace: str) -> Sequence[Status]:
        message = self._client.call(names.CONTENT, "ListStatuses", b"", namespace)
        with self._mutex:
            return self._decoder(namespace).list(message)

    def _one(self, namespace: str, ref: str) -> Status:
        request = wire.encode_name(ref_bytes(ref))
        message = self._client.call(names.CONTENT, "Status", request, namespace)
        with self._mutex:
            return self._mark(self._decoder(namespace).one(message))

    def _decoder(self, namespace: str) -> StatusDecoder:
        if self._generation != self._client.generation:
            self._decoders.clear()
            self._generation = self._client.generation
        return self._decoders.setdefault(namespace, StatusDecoder(namespace))

    def _by_id(self, ident: IngestId) -> Status:
        place = self._places.get(ident)
        if place is None:
            self.statuses()
            place = self._places.get(ident)
        if place is None:
            raise NotFound(f"ingest id:{visible(ident, 160)}: not found")
        return self._one(*place)

    def _marked(self, found: list[Status]) -> list[Status]:
        return [self._mark(status) for status in found] if self._refused else found

    def _mark(self, status: Status) -> Status:
        known = self._refused.get(status.id)
        if known is None or known[:2] != (status.offset, status.started_ns):
            return status
        return status._replace(refused=known[2])

    def _refuse_held(self, status: Status) -> None:
        holders = self._lock_owners.holders([status.id])
        if holders and (holder := holders.get(status.id)):
            raise Locked(
                f"{visible(status.ref, 160)}: a writer holds this ref",
                holder=holder,
                advice="wait for that writer, or stop it",
            )

    def _opened(self, status: Status) -> WriteStream:
        """A Write stream of the ref, after one STAT."""
        check_ref(status.ref)
        delay = 0.005
        while True:
            session = WriteStream(self._client.connection, Metadata(status.namespace))
            try:
                session.send(wire.encode_write_request(wire.STAT, ref=ref_bytes(status.ref)))
                session.drain(HASHING_TIMEOUT_S)
            except Locked as error:
                if not self.is_ending(status.id):
                    raise self.locked(error, status.ref, status.id) from None
            else:
                return session
            time.sleep(delay)
            delay = min(delay * 2, 0.1)

    def _refuse_new(self, found: wire.WriteResponse, status: Status) -> None:
        """Remove an ingest that opening created because the one that was listed is gone.

        Before the stream ends: afterwards the ref may be another writer's.
        """
        if found.offset == 0 and found.started_ns != status.started_ns:
            self.remove(status.namespace, status.ref)
            raise _not_found(status.ref)


def _is_wrong(status: Status, digest: Digest) -> bool:
    expected = status.expected
    return (
        status.is_complete
        and expected is not None
        and expected.algorithm == digest.algorithm
        and expected != digest
    )


def _not_found(ref: str) -> NotFound:
    return NotFound(f"ingest {visible(ref, 160)}: not found")


def _changed(ref: str) -> Changed:
    return Changed(
        f"ingest {visible(ref, 160)} has changed since it was shown",
        advice="check the ingest again",
    )
