"""The content service on any store (content-store.md 4)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError

from contentui.content.digest import Digest
from contentui.content.errors import InvalidArgument, NotFound
from contentui.protocol import wire
from contentui.protocol.content_pb2 import UpdateRequest
from contentui.protocol.names import CONTENT
from contentui.servers.grpc import answers
from contentui.servers.grpc.answers import Code, Refusal, answering
from contentui.servers.grpc.at_once import AtOnce
from contentui.servers.grpc.limits import Limits
from contentui.servers.grpc.listing import Listing, encoded_info
from contentui.servers.grpc.pieces import Pieces
from contentui.servers.grpc.recent import Recent
from contentui.servers.grpc.replies import streaming
from contentui.servers.grpc.statuses import Statuses, encoded_status
from contentui.servers.grpc.write import WriteStreams
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from contentui.content.store import BlobReader, Store


def handlers(store: Store, limits: Limits | None = None) -> grpc.GenericRpcHandler:
    """Everything that ``containerd.services.content.v1.Content`` answers, for ``store``.

    Namespaces are accepted and ignored, as containerd's own flat store does.
    """
    limits = limits or Limits()
    recent = Recent()
    calls = Calls(store, recent)
    streams = Streams(store, limits, recent)
    unary = grpc.unary_unary_rpc_method_handler
    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Info": unary(answering(calls.info)),
        "Update": unary(answering(calls.update)),
        "Delete": unary(answering(calls.delete)),
        "Status": unary(answering(calls.status)),
        "ListStatuses": unary(answering(Statuses(store).answer)),
        "Abort": unary(answering(calls.abort)),
        "List": grpc.unary_stream_rpc_method_handler(streams.list),
        "Read": streaming(streams.read, AtOnce(limits.readers + limits.others, recent.answer)),
        "Write": grpc.stream_stream_rpc_method_handler(WriteStreams(store, limits)),
    }
    return grpc.method_handlers_generic_handler(CONTENT, methods)


class Calls:
    """The calls with one answer."""

    def __init__(self, store: Store, recent: Recent) -> None:
        self._store = store
        self._recent = recent

    def info(self, message: bytes, _: grpc.ServicerContext) -> bytes:
        digest = parsed_digest(wire.decode_name(message))
        try:
            return encoded_info(self._store.info(digest))
        except NotFound:
            raise answers.no_blob(digest) from None

    def update(self, message: bytes, _: grpc.ServicerContext) -> bytes:
        """Change labels by mask; no path is acted on before all are known to be right."""
        request = _parsed_update(message)
        digest = parsed_digest(request.info.digest)
        paths = list(request.update_mask.paths)
        try:
            for path in paths:
                if path != "labels" and not path.startswith("labels."):
                    self._store.info(digest)  # whether it is there at all is told first
                    text = f"cannot update {answers.quoted(path)} field on content info"
                    raise Refusal(
                        Code.INVALID_ARGUMENT, f"{text} {answers.quoted(digest)}: invalid argument"
                    )
            return encoded_info(self._store.update(digest, dict(request.info.labels), paths))
        except NotFound:
            raise answers.no_blob(digest) from None

    def delete(self, message: bytes, _: grpc.ServicerContext) -> bytes:
        digest = parsed_digest(wire.decode_name(message))
        try:
            self._store.delete(digest)
        except NotFound:
            raise answers.no_blob(digest) from None
        finally:
            self._recent.forget(digest)
        return b""

    def status(self, message: bytes, _: grpc.ServicerContext) -> bytes:
        ref = wire.decode_name(message)
        try:
            return encoded_status(self._store.status(ref))
        except NotFound:
            name = visible(ref, answers.NAME_LIMIT)
            text = f'could not get status for ref "{name}": reference {name}: not found'
            raise Refusal(Code.NOT_FOUND, text) from None

    def abort(self, message: bytes, _: grpc.ServicerContext) -> bytes:
        """Remove an ingest, also under its writer's hands (content-store.md 6.3)."""
        ref = wire.decode_name(message)
        try:
            self._store.abort(ref, force=True)
        except NotFound:
            name = visible(ref, answers.NAME_LIMIT)
            raise Refusal(Code.NOT_FOUND, f"reference {name}: not found") from None
        return b""


class Streams:
    """The calls whose answers are as long as it takes; each holds one message in memory."""

    def __init__(self, store: Store, limits: Limits, recent: Recent) -> None:
        self._store = store
        self._recent = recent
        self._limit = limits.readers
        self._pieces = Pieces(limits.read_piece)
        self._listing = Listing(store, limits.list_piece)
        self._free = threading.BoundedSemaphore(limits.readers)

    def list(self, message: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        """Blobs by digest, a hundred to a message; no message when there is none."""
        return self._bounded(lambda: self._listing.messages(wire.decode_filters(message)), context)

    def read(self, message: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        """A blob's bytes, up to 1 MiB to a message; offsets count from the answer's start."""
        return self._bounded(lambda: self._messages(wire.decode_read_request(message)), context)

    def _bounded(
        self, stream: Callable[[], Iterator[bytes]], context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        if not self._free.acquire(blocking=False):
            text = f"{self._limit} clients are reading already, which is the limit: try again later"
            answers.end(context, Refusal(Code.RESOURCE_EXHAUSTED, text))
        try:
            yield from stream()
        except Exception as error:
            answers.end(context, error)
        finally:
            self._free.release()

    def _messages(self, request: wire.ReadRequest) -> Iterator[bytes]:
        digest = parsed_digest(request.digest)
        try:
            reader = self._store.reader(digest)
        except NotFound:
            raise answers.no_blob(digest) from None
        with self._recent.lent(digest, reader, request.size), self._pieces.lengths() as lengths:
            start, end = _range(request, reader)
            at = start
            while at < end:
                data = reader.read_at(min(next(lengths), end - at), at)
                if not data:
                    text = f"{digest} ended at byte {at}, {end - at} bytes early: data loss"
                    raise Refusal(Code.DATA_LOSS, text)
                head = wire.encode_read_head(at - start, len(data))
                at += len(data)
                message = b"".join((head, data))
                del data  # while the client takes its time, the message is enough
                yield message


def _range(request: wire.ReadRequest, reader: BlobReader) -> tuple[int, int]:
    start = max(request.offset, 0)
    if start > reader.size:
        text = f"read past object length {reader.size} bytes: out of range"
        raise Refusal(Code.OUT_OF_RANGE, text)
    wanted = request.size if request.size > 0 else reader.size
    return start, min(start + wanted, reader.size)


def _parsed_update(message: bytes) -> UpdateRequest:
    try:
        return UpdateRequest.FromString(message)
    except (DecodeError, UnicodeDecodeError):
        raise wire.Malformed("this is no UpdateRequest") from None


def parsed_digest(text: str) -> Digest:
    """A validated digest. Raises Refusal."""
    try:
        return Digest.parse(text)
    except InvalidArgument:
        raise answers.no_digest(text) from None
