"""The Write session: one stream, one ref, one writer (content-store.md 4.3)."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import grpc

from contentui.content.digest import Digest
from contentui.content.errors import AlreadyExists, ContentError, InvalidArgument, Locked, NotFound
from contentui.protocol import wire
from contentui.servers.grpc import answers
from contentui.servers.grpc.answers import Code, Refusal
from contentui.servers.grpc.reopening import OpenRefs, OpenStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contentui.content.store import Store, Writer
    from contentui.protocol.wire import WriteRequest
    from contentui.servers.grpc.limits import Limits


SMALL = 1 << 20
"""Bytes of content that needs no ingest when it comes whole."""


class Session:
    """What one stream has said so far, and its writer. Leaving its ``with`` block never commits."""

    def __init__(
        self, store: Store, first: WriteRequest, refs: OpenRefs, stream: OpenStream
    ) -> None:
        """Open the ref's writer. Raises Refusal, ContentError."""
        if not first.ref:
            raise Refusal(Code.INVALID_ARGUMENT, "first message must have a reference")
        self._store = store
        self._refs = refs
        self._stream = stream
        self._ref = first.ref
        self._expected = _digest(first.expected)
        self._total = max(first.total, 0)
        self._times = b""
        self._shown_total = 0
        self.committed = False
        self._writer = self._open()
        self._known_missing = self._expected  # opening has looked for it

    def _open(self) -> Writer:
        def opening() -> Writer:
            return self._store.writer(self._ref, total=self._total, expected=self._expected)

        try:
            return self._refs.open(self._ref, self._stream, opening)
        except Locked as error:
            raise answers.locked(self._ref, error.holder) from None
        except AlreadyExists:
            if self._expected is None:
                raise
            raise answers.blob_exists(self._expected) from None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self._writer.close()
        finally:
            self._refs.released(self._ref, self._stream)

    def answer(self, request: WriteRequest, context: grpc.ServicerContext) -> bytes:
        """Do what a request asks for. Raises Refusal, ContentError."""
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
        """The latest total and expected digest count; a wanted blob that exists ends the ingest."""
        if request.expected:
            self._expected = _digest(request.expected)
            if self._expected is not None and self._exists(self._expected):
                self._abort()
                text = f"blob with expected digest {self._expected} exists"
                raise Refusal(Code.ALREADY_EXISTS, text)
        if request.total > 0:
            self._total = request.total

    def _exists(self, digest: Digest) -> bool:
        if digest == self._known_missing:
            self._known_missing = None  # that look counts for the first request only
            return False
        try:
            self._store.info(digest)
        except NotFound:
            return False
        return True

    def _abort(self) -> None:
        self._writer.close()
        with contextlib.suppress(ContentError):  # another may have taken it up: then it is theirs
            self._store.abort(self._ref)

    def _write(self, request: WriteRequest) -> int:
        """Truncate and append as the request's offset says; the new offset."""
        writer, current = self._writer, self._writer.offset
        if request.offset > 0 and request.offset != current:
            text = f"write @{request.offset} must occur at current offset {current}"
            raise Refusal(Code.OUT_OF_RANGE, text)
        if request.offset == 0 and current > 0:
            writer.truncate(0)
        if len(request.data):
            writer.write(request.data)
        return writer.offset

    def _commit(self, request: WriteRequest, context: grpc.ServicerContext) -> Digest:
        writer = self._writer
        _check_present(context)
        if self._total and self._total != writer.offset:
            raise Refusal(
                Code.FAILED_PRECONDITION,
                f"{answers.quoted(self._ref)} failed size validation:"
                f" {writer.offset} != {self._total}: failed precondition",
            )
        digest = self._expected or writer.digest()
        try:
            info = writer.commit(expected=self._expected, labels=request.labels)
        except AlreadyExists:
            raise answers.blob_exists(digest) from None
        except NotFound as error:  # what containerd's failed rename is (content-store.md 6.3)
            raise Refusal(Code.UNKNOWN, f"{error.message}: no such file or directory") from None
        self.committed = True
        return info.digest


def _digest(text: str) -> Digest | None:
    if not text:
        return None
    try:
        return Digest.parse(text)
    except InvalidArgument:
        raise answers.no_digest(text) from None


def _at_once(store: Store, request: WriteRequest, context: grpc.ServicerContext) -> bytes | None:
    """The answer to small content that comes whole in a first message, stored without an ingest.

    None where anything about it is out of the ordinary: then a session does it step by step.
    """
    size = len(request.data)
    if request.action != wire.COMMIT or request.offset > 0 or not 0 < size <= SMALL:
        return None
    if not request.ref or request.total not in (0, size):
        return None
    digest = Digest.of(request.data)
    if request.expected not in ("", digest) or _is_known(store, request.ref, digest):
        return None
    _check_present(context)
    try:
        info = store.put(bytes(request.data), expected=digest, labels=request.labels)
    except ContentError:
        return None  # the session says why, and leaves what containerd would leave
    wanted = {key: value for key, value in (request.labels or {}).items() if value}
    if wanted and info.labels != wanted:
        raise answers.blob_exists(digest)  # another client's came in between: its labels count
    return wire.encode_write_response(request.action, size, digest, times=b"")


def _check_present(context: grpc.ServicerContext) -> None:
    """A client that vanishes never commits. Raises Refusal."""
    if not context.is_active():
        raise Refusal(Code.CANCELLED, "the client has gone before its commit")


def _is_known(store: Store, ref: str, digest: Digest) -> bool:
    """Whether there is an ingest of this ref, or the blob already."""
    for look in (lambda: store.status(ref), lambda: store.info(digest)):
        try:
            look()
        except NotFound:
            continue
        return True
    return False


class WriteStreams:
    """The handler of Write: as many sessions as are allowed, each in its stream's thread."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self._store = store
        self._limit = limits.writers
        self._free = threading.BoundedSemaphore(limits.writers)
        self._refs = OpenRefs()

    def __call__(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """Answer each request; the last answer is sent twice, as containerd sends it."""
        if not self._free.acquire(blocking=False):
            text = f"{self._limit} clients are writing already, which is the limit: try again later"
            answers.end(context, Refusal(Code.RESOURCE_EXHAUSTED, text))
        try:
            yield from self._answers(requests, context)
        except grpc.RpcError:
            raise  # the client is gone: there is nobody to tell
        except Exception as error:
            answers.end(context, error)
        finally:
            self._free.release()

    def _answers(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        message = next(requests, None)
        if message is None:
            raise Refusal(Code.INVALID_ARGUMENT, "first message must have a reference")
        request = wire.decode_write_request(message)
        answer = _at_once(self._store, request, context)
        if answer is not None:
            yield answer
            yield answer
            return
        stream = OpenStream(context)
        with Session(self._store, request, self._refs, stream) as session:
            while True:
                answer = session.answer(request, context)
                del message, request  # up to 16 MiB, while the client takes its time
                stream.answered()
                yield answer
                message = None if session.committed else stream.next(requests)
                if message is None:
                    break
                request = wire.decode_write_request(message)
        yield answer
