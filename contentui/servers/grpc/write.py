"""The Write stream: one stream, one ref, one writer.

Source of the rules: ``Write`` in containerd's
``plugins/services/content/contentserver/contentserver.go``; they are listed in
``docs/internals/content-service.md``.
"""

from __future__ import annotations

import contextlib
import threading
import time
from enum import Enum, auto
from typing import TYPE_CHECKING

import grpc

from contentui.content.digest import Digest
from contentui.content.errors import AlreadyExists, ContentError, Locked, NotFound
from contentui.content.helpers import put_blob
from contentui.protocol import wire
from contentui.servers.grpc import errors
from contentui.servers.grpc.errors import Code, StatusError, parsed_digest
from contentui.servers.grpc.grpcio import client_has_closed
from contentui.servers.grpc.limits import StreamSlots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from contentui.content.store import Store
    from contentui.content.streams import Writer
    from contentui.protocol.wire import WriteRequest
    from contentui.servers.grpc.limits import Limits

SMALL_BLOB = 1 << 20
"""Bytes of a blob up to which a commit in the first message is stored without an ingest."""


class WriteSession:
    """One stream's writer and the values of its last request. Leaving ``with`` never commits."""

    def __init__(
        self, store: Store, first: WriteRequest, refs: OpenRefs, stream: OpenStream
    ) -> None:
        """Open the ref's writer. Raises StatusError, ContentError."""
        if not first.ref:
            raise StatusError(Code.INVALID_ARGUMENT, "first message must have a reference")
        self._store = store
        self._refs = refs
        self._stream = stream
        self._ref = first.ref
        self._expected = _digest_or_none(first.expected)
        self._total = max(first.total, 0)
        self._times = b""
        self._shown_total = 0
        self.committed = False
        self._writer = self._open()
        self._known_missing = self._expected  # opening has checked that it does not exist

    def _open(self) -> Writer:
        def opening() -> Writer:
            return self._store.writer(self._ref, total=self._total, expected=self._expected)

        try:
            return self._refs.open(self._ref, self._stream, opening)
        except Locked as error:
            raise errors.ref_locked(self._ref, error.holder) from None
        except AlreadyExists:
            if self._expected is None:
                raise
            raise errors.blob_exists(self._expected) from None

    def __enter__(self) -> WriteSession:
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self._writer.close()
        finally:
            self._refs.released(self._ref, self._stream)

    def response(self, request: WriteRequest, context: grpc.ServicerContext) -> bytes:
        """Carry out a request. Raises StatusError, ContentError."""
        self._adopt(request)
        offset = self._writer.offset
        digest: Digest | None = None
        if request.action == wire.STAT:
            status = self._writer.status()
            self._times = wire.encode_write_times(status.started_ns, status.updated_ns)
            self._shown_total = self._total
        elif request.action in (wire.WRITE, wire.COMMIT):
            offset = self._write(request)
            if request.action == wire.COMMIT:
                digest = self._commit(request, context)
        return wire.encode_write_response(
            request.action,
            offset,
            digest or self._writer.digest(),
            total=self._shown_total,
            times=self._times,
        )

    def _adopt(self, request: WriteRequest) -> None:
        """Take a new total or expected digest; an expected blob that exists ends the ingest."""
        if request.expected:
            self._expected = _digest_or_none(request.expected)
            if self._expected is not None and self._exists(self._expected):
                self._abort()
                text = f"blob with expected digest {self._expected} exists"
                raise StatusError(Code.ALREADY_EXISTS, text)
        if request.total > 0:
            self._total = request.total

    def _exists(self, digest: Digest) -> bool:
        if digest == self._known_missing:
            self._known_missing = None  # the check at opening holds for the first request only
            return False
        try:
            self._store.info(digest)
        except NotFound:
            return False
        return True

    def _abort(self) -> None:
        self._writer.close()
        with contextlib.suppress(ContentError):  # another writer may hold it by now
            self._store.abort(self._ref)

    def _write(self, request: WriteRequest) -> int:
        """Truncate and append as the request's offset asks; the new offset."""
        writer, current = self._writer, self._writer.offset
        if request.offset > 0 and request.offset != current:
            text = f"write @{request.offset} must occur at current offset {current}"
            raise StatusError(Code.OUT_OF_RANGE, text)
        if request.offset == 0 and current > 0:
            writer.truncate(0)
        if len(request.data):
            writer.write(request.data)
        return writer.offset

    def _commit(self, request: WriteRequest, context: grpc.ServicerContext) -> Digest:
        writer = self._writer
        _check_present(context)
        if self._total and self._total != writer.offset:
            raise StatusError(
                Code.FAILED_PRECONDITION,
                f"{errors.quoted(self._ref)} failed size validation:"
                f" {writer.offset} != {self._total}: failed precondition",
            )
        digest = self._expected or writer.digest()
        try:
            info = writer.commit(expected=self._expected, labels=request.labels)
        except AlreadyExists:
            raise errors.blob_exists(digest) from None
        except NotFound as error:  # the ingest was aborted; content/local's rename fails likewise
            raise StatusError(Code.UNKNOWN, f"{error.message}: no such file or directory") from None
        self.committed = True
        return info.digest


def _digest_or_none(text: str) -> Digest | None:
    return parsed_digest(text) if text else None


def _put(
    store: Store, request: WriteRequest, refs: OpenRefs, context: grpc.ServicerContext
) -> bytes | None:
    """Store a small blob whose first message has all of it and commits; returns the response.

    None unless the request is the simple case: then a `WriteSession` carries it out.
    """
    size = len(request.data)
    if request.action != wire.COMMIT or request.offset > 0 or not 0 < size <= SMALL_BLOB:
        return None
    if not request.ref or request.ref in refs or request.total not in (0, size):
        return None
    digest = Digest.of(request.data)
    if request.expected not in ("", digest) or _is_known(store, request.ref, digest):
        return None
    _check_present(context)
    try:
        info = put_blob(store, bytes(request.data), expected=digest, labels=request.labels)
    except ContentError:
        return None  # the session reports why, and leaves the ingest that containerd would leave
    labels = {key: value for key, value in (request.labels or {}).items() if value}
    if labels and info.labels != labels:
        raise errors.blob_exists(digest)  # another client stored it meanwhile, with its own labels
    return wire.encode_write_response(request.action, size, digest, times=b"")


def _check_present(context: grpc.ServicerContext) -> None:
    """Raises StatusError if the client is gone: it never commits then."""
    if not context.is_active():
        raise StatusError(Code.CANCELLED, "the client disconnected before its commit")


def _is_known(store: Store, ref: str, digest: Digest) -> bool:
    """Whether there is an ingest of this ref, or the blob already."""
    for lookup in (lambda: store.status(ref), lambda: store.info(digest)):
        try:
            lookup()
        except NotFound:
            continue
        return True
    return False


class WriteHandler:
    """The handler of Write: at most ``limits.writers`` sessions, each in its stream's thread."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self._store = store
        self._slots = StreamSlots(limits.writers, "Write streams")
        self._refs = OpenRefs()

    def __call__(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """Respond to each request; the last response is sent twice, as containerd sends it."""
        try:
            with self._slots:
                yield from self._responses(requests, context)
        except grpc.RpcError:
            raise  # the client is gone
        except Exception as error:
            errors.abort(context, error)

    def _responses(
        self, requests: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        message = next(requests, None)
        if message is None:
            raise StatusError(Code.INVALID_ARGUMENT, "first message must have a reference")
        request = wire.decode_write_request(message)
        response = _put(self._store, request, self._refs, context)
        if response is not None:
            yield response
            yield response
            return
        stream = OpenStream(context)
        with WriteSession(self._store, request, self._refs, stream) as session:
            while True:
                response = session.response(request, context)
                del message, request  # frees up to 16 MiB while waiting for the client
                stream.responding()
                yield response
                message = None if session.committed else stream.next(requests)
                if message is None:
                    break
                request = wire.decode_write_request(message)
        yield response


_RELEASE_TIMEOUT_S = 1.0
"""How long a stream waits for a ref whose client has closed the stream that holds it."""
_SETTLE_S = 0.05
"""How long a close may take to be noticed while the stream's thread does nothing else."""
_POLL_S = 0.002


class _Phase(Enum):
    BUSY = auto()
    """A request is being carried out."""
    RESPONDING = auto()
    """A response is being sent; grpcio reports a close only once the next request is awaited."""
    WAITING = auto()
    """Waiting for the client's next request or its close."""


class OpenStream:
    """A Write stream that holds a ref, and the state of its client."""

    def __init__(self, context: grpc.ServicerContext) -> None:
        self.received = 0
        """Requests since the ref was opened."""
        self.released = threading.Event()
        """Set when the ref is free."""
        self._context = context
        self._requests_ended = False
        self._phase, self._since = _Phase.BUSY, time.monotonic()

    def responding(self) -> None:
        """A response is about to be sent."""
        self._enter(_Phase.RESPONDING)

    def next(self, requests: Iterator[bytes]) -> bytes | None:
        """The client's next request; None when it has closed the stream. Raises grpc.RpcError."""
        self._enter(_Phase.WAITING)
        message = next(requests, None)
        if message is None:
            self._requests_ended = True
        else:
            self.received += 1
            self._enter(_Phase.BUSY)
        return message

    def _enter(self, phase: _Phase) -> None:
        self._phase, self._since = phase, time.monotonic()

    @property
    def has_closed(self) -> bool:
        """Whether the client is known to have closed the stream or to be gone."""
        return self._requests_ended or client_has_closed(self._context)

    def may_have_closed(self, received: int, waited_s: float) -> bool:
        """Whether the client may have sent a close that has not been noticed for ``waited_s``.

        ``received``: the requests before that wait; one more shows that the client continues, or
        that it sent several at once.
        """
        if self.received != received and waited_s >= _SETTLE_S:
            return False
        if self._phase is _Phase.RESPONDING:
            return True
        if self._phase is _Phase.WAITING:
            return time.monotonic() - self._since < _SETTLE_S
        return waited_s < _SETTLE_S


class OpenRefs:
    """The refs that the streams of one server hold.

    A client that closes a stream need not wait for its end, and containerd's Go client does not.
    Until the server has noticed the end and released the ref, milliseconds later, a stream that
    opens the same ref would fail with Unavailable.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._streams: dict[str, OpenStream] = {}

    def __contains__(self, ref: str) -> bool:
        """Whether a stream holds ``ref``, also after its ingest was aborted."""
        return ref in self._streams

    def open(self, ref: str, stream: OpenStream, opening: Callable[[], Writer]) -> Writer:
        """Open a ref's writer for ``stream``.

        Waits up to a second for another stream of this server that holds the ref after its client
        has closed it. `released` must follow.

        Raises:
            Locked: another writer holds the ref.
            ContentError: see `Store.writer`.
        """
        begun = time.monotonic()
        holder = self._streams.get(ref)
        received = holder.received if holder else 0
        while True:
            try:
                writer = opening()
                break
            except Locked:
                if holder is None or not _is_released(holder, received, begun):
                    raise
            holder = self._streams.get(ref)
            received = holder.received if holder else 0
        with self._mutex:
            self._streams[ref] = stream
        return writer

    def released(self, ref: str, stream: OpenStream) -> None:
        """The ref that ``stream`` held is free."""
        with self._mutex:
            if self._streams.get(ref) is stream:
                del self._streams[ref]
        stream.released.set()


def _is_released(holder: OpenStream, received: int, begun: float) -> bool:
    """Wait until ``holder`` has released its ref; False once its client is known to be active."""
    while True:
        waited = time.monotonic() - begun
        if waited >= _RELEASE_TIMEOUT_S:
            return False
        if holder.released.wait(_POLL_S):
            return True
        if not (holder.has_closed or holder.may_have_closed(received, waited)):
            return False
