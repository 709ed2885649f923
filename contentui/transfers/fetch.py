"""One blob from a registry into a store: resumed, retried, verified, never started over."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from contentui.content.digest import Digest
from contentui.content.errors import AlreadyExists, FailedPrecondition, Locked, NotFound
from contentui.content.helpers import has_ingest
from contentui.oci.stored import SMALL_BLOB, size_of
from contentui.remotes.errors import Refused, RetryableError
from contentui.remotes.retry import RetryBudget, Stopped, check_part, wait_to_retry
from contentui.text import human_size, visible
from contentui.transfers.model import Part, Phase

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence

    from contentui.content.model import Descriptor
    from contentui.content.store import Store
    from contentui.content.streams import Writer
    from contentui.remotes.body import Body
    from contentui.remotes.registry import Registry
    from contentui.transfers.batcher import BlobBatcher

_PIECE = 1 << 20
_LOCK_POLL_S = 0.25
"""How often a ref that another writer holds is tried again, seconds."""


class _StillEncoded(Exception):
    """The bytes are wrong, and came with an encoding that was not requested and can be undone."""


class Fetch:
    """Gets one blob; `run` returns when it is in the store, or raises.

    Args:
        store: the destination.
        registry: the source.
        descriptor: the blob's.
        ref: its ingest's ref.
        labels: for the blob.
        urls: other places of the blob, tried first.
        report: gets every change of state, in the thread that runs this.
        stop: ends everything soon after it is set.
        batcher: stores small blobs, together with those of other threads.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        descriptor: Descriptor,
        ref: str,
        *,
        labels: Mapping[str, str],
        urls: Sequence[str],
        report: Callable[[Part], None],
        stop: threading.Event,
        batcher: BlobBatcher,
    ) -> None:
        self._store = store
        self._registry = registry
        self._descriptor = descriptor
        self._labels = labels
        self._urls = urls
        self._report = report
        self._stop = stop
        self._budget = RetryBudget(registry.attempts)
        self._batcher = batcher
        self._part = Part(descriptor, ref, Phase.WAITING)
        self._decoded = False
        """Undo a Content-Encoding: without that the bytes were wrong."""
        self._body: Body | None = None
        """The current response, or the last one."""

    def run(self) -> Part:
        """Get it; returns its last state, EXISTS or DONE.

        A small blob may not be stored yet: the batcher reports when it is.

        Raises:
            ContentError: from the registry or the store, or after the last retry.
            Stopped: ``stop`` was set.
        """
        descriptor = self._descriptor
        exists = size_of(self._store, descriptor.digest) is not None
        # Opening its writer adds it to our lease, which keeps it from the garbage collector.
        if exists and not self._store.traits.garbage_collected:
            return self._set(Phase.EXISTS, offset=descriptor.size)
        if (
            descriptor.size <= SMALL_BLOB
            and not exists
            and not has_ingest(self._store, self._part.ref)
        ):
            return self._fetch_small()
        while True:
            try:
                with self._open() as writer:
                    return self._fetch_into(writer)
            except AlreadyExists:
                return self._set(Phase.EXISTS, offset=descriptor.size)
            except _StillEncoded:
                self._decoded = True

    def _fetch_small(self) -> Part:
        try:
            return self._fetch_into_memory()
        except _StillEncoded:
            self._decoded = True
            return self._fetch_into_memory()

    def _fetch_into_memory(self) -> Part:
        data = bytearray(self._descriptor.size)
        view = memoryview(data)
        filled = 0

        def append(piece: memoryview) -> None:
            nonlocal filled
            view[filled : filled + len(piece)] = piece
            filled += len(piece)

        self._receive(lambda: filled, append)
        expected = self._descriptor.digest
        found = Digest.of(view, expected.algorithm)
        if found != expected:
            error = FailedPrecondition(f"unexpected digest {found}, expected {expected}")
            raise self._digest_mismatch(error)
        part = self._set(Phase.VERIFYING, offset=filled)
        self._batcher.put(part, bytes(data))
        return part._replace(phase=Phase.DONE)

    def _fetch_into(self, writer: Writer) -> Part:
        size = self._descriptor.size
        # Bytes that are known to be wrong are not resumed.
        if self._decoded or writer.status().refused is not None or writer.offset > size:
            writer.truncate(0)
        self._part = self._part._replace(resumed=writer.offset)
        self._receive(lambda: writer.offset, writer.write)
        self._set(Phase.VERIFYING, offset=size)
        try:
            writer.commit(size, self._descriptor.digest, self._labels)
        except FailedPrecondition as error:
            raise self._digest_mismatch(error) from None
        return self._set(Phase.DONE, offset=size)

    def _digest_mismatch(self, error: FailedPrecondition) -> FailedPrecondition:
        """The same error, with the host that sent the bytes.

        Raises `_StillEncoded` instead, if the bytes have an encoding that can be undone.
        """
        self._check_encoding()
        if self._body is not None:
            self._registry.demote(self._body)
        host = f", from {visible(self._body.host)}" if self._body else ""
        return FailedPrecondition(
            f"{error.message}{host}",
            advice="the next attempt starts over: if it happens again, the registry or a proxy"
            " alters the content",
        )

    def _receive(self, offset: Callable[[], int], append: Callable[[memoryview], object]) -> None:
        """Move bytes until all are there, over as many connections as that takes."""
        while offset() < self._descriptor.size:
            began = offset()
            try:
                self._receive_once(began, append)
                host = self._body.host if self._body else ""
                check_part(offset() - began, self._descriptor.size - offset(), host)
            except Refused:
                self._check_encoding()
                raise
            except RetryableError as error:
                if self._body is not None:
                    self._registry.demote(self._body)
                self._budget.progressed(offset() - began)
                report = partial(self._set_retrying, offset(), error)
                wait_to_retry(error, self._budget, self._stop, report)

    def _check_encoding(self) -> None:
        """Raises `_StillEncoded` if the body came encoded, and was taken as it came."""
        if self._body is not None and self._body.encoding and not self._decoded:
            raise _StillEncoded

    def _receive_once(self, offset: int, append: Callable[[memoryview], object]) -> None:
        self._body = None
        with self._registry.open(
            self._descriptor, offset, self._urls, decoded=self._decoded
        ) as body:
            self._body = body
            message = ""
            if body.skipping:
                message = f"the server ignores ranges: reading {human_size(body.skipping)} again"
            self._set(Phase.DOWNLOADING, offset=offset, message=message, host=body.host)
            body.skip(self._check_stop)
            view = memoryview(bytearray(min(_PIECE, max(self._descriptor.size - offset, 1))))
            while size := body.readinto(view):
                append(view[:size])
                offset += size
                self._set(Phase.DOWNLOADING, offset=offset, host=body.host)
                self._check_stop()

    def _set_retrying(self, offset: int, error: RetryableError, message: str) -> None:
        self._set(Phase.RETRYING, offset=offset, message=message, host=error.host)

    def _open(self) -> Writer:
        """The ref's writer; waits while another writer holds its lock.

        Raises:
            AlreadyExists: the other writer committed the blob.
        """
        descriptor = self._descriptor
        while True:
            try:
                return self._store.writer(
                    self._part.ref, total=descriptor.size, expected=descriptor.digest
                )
            except Locked as error:
                self._wait_for(error)

    def _wait_for(self, error: Locked) -> None:
        holder = error.holder
        who = f"pid {holder.pid}" if holder is not None and holder.pid else "another writer"
        command = f" ({visible(holder.command, 60)})" if holder and holder.command else ""
        try:
            offset = self._store.status(self._part.ref).offset
        except NotFound:
            offset = self._part.offset
        self._set(Phase.WAITING, offset=offset, message=f"waiting for {who}{command}")
        self._stop.wait(_LOCK_POLL_S)
        self._check_stop()

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise Stopped

    def _set(self, phase: Phase, *, offset: int, message: str = "", host: str = "") -> Part:
        self._part = self._part._replace(phase=phase, offset=offset, message=message, host=host)
        self._report(self._part)
        return self._part
