"""The handlers of containerd's content service, for any store.

Source: containerd's ``plugins/services/content/contentserver/contentserver.go`` and
``content.proto``; what was measured is in ``docs/internals/content-service.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError

from contentui.content.errors import NotFound
from contentui.protocol import wire
from contentui.protocol.content_pb2 import UpdateRequest
from contentui.protocol.names import CONTENT
from contentui.servers.grpc import errors
from contentui.servers.grpc.errors import Code, StatusError, mapping_errors, parsed_digest
from contentui.servers.grpc.grpcio import InlineExecutor, streaming
from contentui.servers.grpc.limits import Limits, StreamSlots
from contentui.servers.grpc.listing import BlobLister, StatusLister, encoded_info, encoded_status
from contentui.servers.grpc.read import ReaderCache, ReadHandler
from contentui.servers.grpc.write import WriteHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from contentui.content.store import Store


def handlers(store: Store, limits: Limits | None = None) -> grpc.GenericRpcHandler:
    """All methods of ``containerd.services.content.v1.Content``, for ``store``.

    Namespaces are accepted and ignored, as containerd's own ``content/local`` ignores them.
    """
    limits = limits or Limits()
    cache = ReaderCache()
    calls = UnaryCalls(store, cache)
    slots = StreamSlots(limits.readers, "Read and List calls")
    blobs = BlobLister(store, limits.list_chunk)
    read = ReadHandler(store, limits.read_chunk, cache)
    unary = grpc.unary_unary_rpc_method_handler
    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Info": unary(mapping_errors(calls.info)),
        "Update": unary(mapping_errors(calls.update)),
        "Delete": unary(mapping_errors(calls.delete)),
        "Status": unary(mapping_errors(calls.status)),
        "ListStatuses": unary(mapping_errors(StatusLister(store).response)),
        "Abort": unary(mapping_errors(calls.abort)),
        "List": grpc.unary_stream_rpc_method_handler(
            _bounded(slots, lambda message: blobs.messages(wire.decode_filters(message)))
        ),
        "Read": streaming(
            _bounded(slots, read), InlineExecutor(limits.readers + limits.others, cache.response)
        ),
        "Write": grpc.stream_stream_rpc_method_handler(WriteHandler(store, limits)),
    }
    return grpc.method_handlers_generic_handler(CONTENT, methods)


def _bounded(
    slots: StreamSlots, stream: Callable[[bytes], Iterator[bytes]]
) -> Callable[[bytes, grpc.ServicerContext], Iterator[bytes]]:
    """A streaming handler within ``slots``, whose errors end the call."""

    def handler(message: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        try:
            with slots:
                yield from stream(message)
        except Exception as error:
            errors.abort(context, error)

    return handler


class UnaryCalls:
    """The methods with one request and one response. Raise ContentError, Malformed, StatusError."""

    def __init__(self, store: Store, cache: ReaderCache) -> None:
        self._store = store
        self._cache = cache

    def info(self, message: bytes, _: grpc.ServicerContext) -> bytes:
        digest = parsed_digest(wire.decode_name(message))
        try:
            return encoded_info(self._store.info(digest))
        except NotFound:
            raise errors.blob_not_found(digest) from None

    def update(self, message: bytes, _: grpc.ServicerContext) -> bytes:
        """Change labels by field mask; an invalid path in it changes nothing."""
        request = _parsed_update(message)
        digest = parsed_digest(request.info.digest)
        paths = list(request.update_mask.paths)
        try:
            for path in paths:
                if path != "labels" and not path.startswith("labels."):
                    self._store.info(digest)  # containerd reports a missing blob first
                    text = f"cannot update {errors.quoted(path)} field on content info"
                    raise StatusError(
                        Code.INVALID_ARGUMENT, f"{text} {errors.quoted(digest)}: invalid argument"
                    )
            return encoded_info(self._store.update(digest, dict(request.info.labels), paths))
        except NotFound:
            raise errors.blob_not_found(digest) from None

    def delete(self, message: bytes, _: grpc.ServicerContext) -> bytes:
        digest = parsed_digest(wire.decode_name(message))
        try:
            self._store.delete(digest)
        except NotFound:
            raise errors.blob_not_found(digest) from None
        finally:
            self._cache.forget(digest)
        return b""

    def status(self, message: bytes, _: grpc.ServicerContext) -> bytes:
        ref = wire.decode_name(message)
        try:
            return encoded_status(self._store.status(ref))
        except NotFound:
            name = errors.shown(ref)
            text = f'could not get status for ref "{name}": reference {name}: not found'
            raise StatusError(Code.NOT_FOUND, text) from None

    def abort(self, message: bytes, _: grpc.ServicerContext) -> bytes:
        """Remove an ingest even while a writer holds it, as ``content/local`` does."""
        ref = wire.decode_name(message)
        try:
            self._store.abort(ref, force=True)
        except NotFound:
            text = f"reference {errors.shown(ref)}: not found"
            raise StatusError(Code.NOT_FOUND, text) from None
        return b""


def _parsed_update(message: bytes) -> UpdateRequest:
    try:
        return UpdateRequest.FromString(message)
    except (DecodeError, UnicodeDecodeError):
        raise wire.Malformed("not an UpdateRequest") from None
