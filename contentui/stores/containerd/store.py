"""A daemon's socket as a store: containerd's, or our own server's."""

from __future__ import annotations

import os
import secrets
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from contentui.content.digest import HEX_LENGTHS, Digest
from contentui.content.errors import (
    AlreadyExists,
    FailedPrecondition,
    Locked,
    NotFound,
    ReadOnly,
)
from contentui.content.model import Status, Usage, backend_ref, ingest_id
from contentui.content.rules import check_ref, check_total, checked_labels
from contentui.content.traits import Roles, Traits
from contentui.protocol import wire
from contentui.stores.containerd.blobs import Blobs
from contentui.stores.containerd.client import Client
from contentui.stores.containerd.images import ContainerdImages, roots
from contentui.stores.containerd.ingests import Ingests
from contentui.stores.containerd.lease_manager import LeaseManager
from contentui.stores.containerd.leases import ContainerdLeases
from contentui.stores.containerd.lock_owners import LockOwners
from contentui.stores.containerd.transport import UNARY_TIMEOUT_S, Metadata
from contentui.stores.containerd.write_stream import WriteStream, write_once
from contentui.stores.containerd.writer import ContainerdWriter
from contentui.stores.source import UNIX, Source
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from contentui.content.model import Holder, Info, IngestId, Probe, Root
    from contentui.stores.containerd.reader import ContainerdReader

T = TypeVar("T")

_MAX_PUT = 8 << 20
"""Bytes that go in one message with their commit."""
_PUT_THREADS = 8


class ContainerdStore:
    """The content of a containerd or of our own server; safe to use from many threads.

    Reading never opens a Write stream, which would rehash the ingest. ``namespaces`` None: all that
    the daemon has, listed again every few seconds. ``roots_new`` False: new blobs get no label that
    protects them from garbage collection.
    """

    def __init__(
        self,
        socket: str,
        *,
        namespaces: Sequence[str] | None = None,
        read_only: bool = False,
        timeout_s: float = UNARY_TIMEOUT_S,
        roots_new: bool = True,
    ) -> None:
        """Raises Unavailable, PermissionDenied, InvalidArgument."""
        self.name = Source(socket, UNIX, socket, tuple(namespaces or ())).address
        self._read_only = read_only
        self._roots_new = roots_new
        self._client = Client(socket, namespaces, timeout_s)
        self._lock_owners = LockOwners(self._client)
        self._blobs = Blobs(self._client)
        self._ingests = Ingests(self._client, self._lock_owners)
        self._known_leases = ContainerdLeases(self._client, self._check_writable)
        self._leases = LeaseManager(self._client, self._known_leases)
        self._images = ContainerdImages(self._client, self._check_writable)
        self._mutex = threading.Lock()
        self._client.open()

    @property
    def traits(self) -> Traits:
        """A containerd collects garbage and has namespaces; a contentui service neither."""
        flat = self._client.server.flat
        return Traits(
            garbage_collected=not flat,
            buffered_writes=True,
            namespaced=not flat,
            algorithms=tuple(HEX_LENGTHS) if flat else ("sha256",),
            read_only_reason=self._read_only_reason,
        )

    @property
    def roles(self) -> Roles:
        """Its listings are walks, and it has no cheap version."""
        return Roles(
            probing=self,
            lock_holders=self,
            root_listing=self,
            image_naming=self,
            transfer_leases=self._leases,
            leasing=None if self._client.server.flat else self._known_leases,
            refreshing=self,
            batches=self,
            notifications=self,
            disk_usage=self,
        )

    @property
    def _read_only_reason(self) -> str:
        if self._read_only:
            return "it was opened read-only (--read-only)"
        return self._client.server.read_only_reason

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Those that are shown, sorted; one without a name for a server without namespaces."""
        return self._client.namespaces.all()

    @property
    def images(self) -> ContainerdImages:
        """The daemon's image names."""
        return self._images

    def notifications(self) -> list[str]:
        """What the user must learn once, one sentence each."""
        return self._client.notifications()

    def info(self, digest: Digest) -> Info:
        """Raises NotFound."""
        return self._blobs.info(digest)

    def walk(self, filters: Sequence[str] = ()) -> Iterator[Info]:
        """All blobs that any filter matches."""
        return self._blobs.walk(filters)

    def reader(self, digest: Digest) -> ContainerdReader:
        """Raises NotFound."""
        return self._blobs.reader(digest)

    def update(self, digest: Digest, labels: Mapping[str, str], mask: Sequence[str] = ()) -> Info:
        """Raises NotFound, InvalidArgument."""
        self._check_writable("cannot change labels")
        return self._blobs.update(digest, labels, mask)

    def delete(self, digest: Digest, *, if_match: Info | None = None) -> None:
        """Delete a blob from all namespaces that are shown. Raises NotFound, Changed."""
        self._check_writable("cannot delete a blob")
        self._blobs.delete(digest, if_match)

    def status(self, ref: str) -> Status:
        """Raises NotFound."""
        return self._ingests.status(ref)

    def statuses(self, filters: Sequence[str] = ()) -> list[Status]:
        """All ingests that any filter matches."""
        return self._ingests.statuses(filters)

    def refresh(self, statuses: Sequence[Status]) -> list[Status | None]:
        """Each of ``statuses`` as it is now, None where it is gone."""
        return self._ingests.refresh(statuses)

    def holders(self, ids: Iterable[IngestId]) -> Mapping[IngestId, Holder] | None:
        """The holders, from the daemon's open files; None if those cannot be read."""
        return self._lock_owners.holders(ids)

    def abort(self, ref: str, *, if_match: Status | None = None, force: bool = False) -> None:
        """Raises NotFound, Changed; Locked without ``force`` where a writer is known."""
        self._check_writable("cannot abort an ingest")
        self._ingests.abort(ref, if_match, force=force)

    def truncate(self, ref: str, *, if_match: Status | None = None) -> None:
        """Raises NotFound, Locked, Changed."""
        self._check_writable("cannot truncate an ingest")
        self._ingests.truncate(ref, if_match)

    def probe(self, ref: str, *, if_match: Status) -> Probe:
        """Raises NotFound, Changed."""
        self._check_writable("cannot probe an ingest")
        return self._ingests.probe(ref, if_match)

    def roots(self) -> list[Root]:
        """Image names and leases."""
        return roots(self._client, self._images, self._known_leases, self._leases.own())

    def usage(self) -> Usage | None:
        """Disk space of the content directory, if it can be read from here."""
        root = self._client.server.root
        try:
            if not root or not {"blobs", "ingest"} & set(os.listdir(root)):
                return None
            return Usage.of(os.statvfs(root))
        except (OSError, ValueError):
            return None

    def close(self) -> None:
        """Twice is fine."""
        with self._mutex:
            self._leases.close()
            self._client.connection.close()

    # Writing

    def writer(
        self,
        ref: str,
        *,
        total: int = 0,
        expected: Digest | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> ContainerdWriter:
        """Open the ref's one writer.

        Raises:
            Locked, AlreadyExists: as `Store.writer`.
            InvalidArgument: as `Store.writer`; the namespace to write to is not known.
        """
        self._check_writable("cannot open a writer")
        check_total(total)
        check_ref(ref)
        checked_labels(labels or {})
        namespace = self._client.namespaces.for_writing()
        ident = ingest_id(backend_ref(namespace, ref))
        delay = 0.005
        while True:
            try:
                return self._leased(
                    namespace, lambda: self._writer(namespace, ref, total, expected, labels)
                )
            except Locked as error:
                if not self._ingests.is_ending(ident):
                    raise self._ingests.locked(error, ref, ident) from None
            time.sleep(delay)
            delay = min(delay * 2, 0.1)

    def put(
        self,
        data: bytes,
        *,
        expected: Digest | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Info:
        """Store a blob in one message.

        Raises:
            FailedPrecondition: ``data`` has another digest than ``expected``.
        """
        self._check_writable("cannot store content")
        digest = Digest.of(data, expected.algorithm if expected else "sha256")
        if expected not in {None, digest}:
            raise FailedPrecondition(f"unexpected digest {digest}, expected {expected}")
        given = self.labels(checked_labels(labels or {}))
        namespace = self._client.namespaces.for_writing()
        ref = f"put-{secrets.token_hex(8)}-{digest}"
        try:
            if len(data) > _MAX_PUT:
                with self._writer(namespace, ref, len(data), digest, given) as writer:
                    writer.write(data)
                    return writer.commit(len(data), digest, given)
            self._leased(namespace, lambda: self._put_small(namespace, ref, data, digest, given))
        except AlreadyExists:
            pass
        except BaseException:
            self._drop(namespace, ref)
            raise
        return self._blobs.info(digest)

    def put_many(
        self, items: Iterable[bytes], *, labels: Mapping[str, str] | None = None
    ) -> list[Info]:
        """`put` for many, with several threads."""
        from concurrent.futures import ThreadPoolExecutor

        from contentui.stores.containerd.batches import in_order

        with ThreadPoolExecutor(_PUT_THREADS) as pool:
            return in_order(pool, lambda item: self.put(item, labels=labels), items, _PUT_THREADS)

    # For writers

    def status_of(self, writer: ContainerdWriter) -> Status:
        """A writer's ingest; before it is in a listing, what its stream reported."""
        try:
            found = self._ingests.status_in(writer.namespace, writer.ref)
        except NotFound:
            ident = ingest_id(backend_ref(writer.namespace, writer.ref))
            expected = writer.expected or Digest.found_in(writer.ref)
            started = writer.started_ns
            return Status(
                writer.ref,
                writer.offset,
                writer.total,
                started,
                started,
                expected,
                ident,
                namespace=writer.namespace,
            )
        expected = writer.expected or found.expected
        return found._replace(offset=writer.offset, expected=expected)

    def committed(self, writer: ContainerdWriter, digest: Digest) -> Info:
        """The blob that a writer committed."""
        self.touched(writer)
        return self._blobs.info(digest)

    def refused(self, writer: ContainerdWriter, digest: Digest) -> None:
        """A commit failed with another digest."""
        try:
            now = self._ingests.status_in(writer.namespace, writer.ref)
        except NotFound:
            return
        if now.offset >= now.total:
            self._ingests.refuse(now, digest)

    def touched(self, writer: ContainerdWriter) -> None:
        """A writer changes its bytes."""
        self._ingests.forget(ingest_id(backend_ref(writer.namespace, writer.ref)))

    def left(self, writer: ContainerdWriter) -> None:
        """A writer ends without a commit."""
        self._ingests.ended(ingest_id(backend_ref(writer.namespace, writer.ref)))
        self._leases.unfinished(writer.namespace)

    def labels(self, given: Mapping[str, str]) -> dict[str, str]:
        """The labels of a new blob."""
        return self._leases.labels(given) if self._roots_new else dict(given)

    # Helpers

    def _writer(
        self,
        namespace: str,
        ref: str,
        total: int,
        expected: Digest | None,
        labels: Mapping[str, str] | None,
    ) -> ContainerdWriter:
        session = self._session(namespace)
        try:
            writer = ContainerdWriter(
                self, session, namespace, ref, total=total, expected=expected, labels=labels
            )
            if writer.offset == 0 and self._has_bytes(writer):
                writer.start_over()
            return writer
        except BaseException:
            session.abandon()
            raise

    def _leased(self, namespace: str, work: Callable[[], T]) -> T:
        """``work`` under a lease of ours; once more if the lease was deleted."""
        try:
            return work()
        except NotFound:
            if not self._leases.forget(namespace):
                raise
        return work()

    def _session(self, namespace: str) -> WriteStream:
        """A Write stream under a lease of ours."""
        lease = self._leases.lease(namespace)
        return WriteStream(self._client.connection, Metadata(namespace, lease))

    def _has_bytes(self, writer: ContainerdWriter) -> bool:
        """Whether a new ingest's file still has bytes of an older one."""
        try:
            return self._ingests.status_in(writer.namespace, writer.ref).offset > 0
        except NotFound:
            return False

    def _put_small(
        self, namespace: str, ref: str, data: bytes, digest: Digest, labels: Mapping[str, str]
    ) -> None:
        request = wire.encode_write_request(
            wire.COMMIT,
            ref=ref.encode(),
            total=len(data),
            expected=digest,
            data=data,
            labels=labels,
        )
        meta = Metadata(namespace, self._leases.lease(namespace))
        write_once(self._client.connection, request, meta)

    def _drop(self, namespace: str, ref: str) -> None:
        """Remove the ingest that a failed `put` may have left."""
        from contentui.content.errors import ContentError

        try:
            self._ingests.remove(namespace, ref)
        except ContentError:
            return

    def _check_writable(self, what: str) -> None:
        reason = self._read_only_reason
        if reason:
            raise ReadOnly(f"{what}: {visible(self.name)} is read-only", advice=reason)
