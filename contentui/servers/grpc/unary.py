"""Services of unary methods, each a function from a request to a response."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError, Message

from contentui.content.rules import LABEL_LIMIT
from contentui.servers.grpc.errors import Code, StatusError, mapping_errors, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Method(NamedTuple):
    """A method: the request's class and the function that carries it out."""

    request: type[Message]
    run: Callable[..., Message | None]
    """From the request to the response; None: an empty response."""


def service(name: str, methods: Mapping[str, Method]) -> grpc.GenericRpcHandler:
    """A service of unary methods; what they raise becomes a status."""
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        method_name: grpc.unary_unary_rpc_method_handler(mapping_errors(_from_bytes(method)))
        for method_name, method in methods.items()
    }
    return grpc.method_handlers_generic_handler(name, handlers)


def _from_bytes(method: Method) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    """From bytes to bytes, so that a message that cannot be decoded gets a status with a text."""

    def run(data: bytes, _: grpc.ServicerContext) -> bytes:
        try:
            request = method.request.FromString(data)
        except DecodeError:
            raise invalid("the message cannot be decoded") from None
        response = method.run(request)
        return (Empty() if response is None else response).SerializeToString()

    return run


def invalid(text: str) -> StatusError:
    """Containerd's status for an invalid request."""
    return StatusError(Code.INVALID_ARGUMENT, f"{text}: invalid argument")


def not_found(kind: str, name: str) -> StatusError:
    """Containerd's status for what does not exist: ``image "x": not found``."""
    return StatusError(Code.NOT_FOUND, f"{kind} {quoted(name)}: not found")


def already_exists(kind: str, name: str) -> StatusError:
    """Containerd's status for what exists: ``image "x": already exists``."""
    return StatusError(Code.ALREADY_EXISTS, f"{kind} {quoted(name)}: already exists")


def check_labels(labels: Mapping[str, str], prefix: str = "") -> None:
    """Raises StatusError for a label that is longer than containerd's limit."""
    for key, value in labels.items():
        if len(key.encode()) + len(value.encode()) > LABEL_LIMIT:
            raise invalid(
                f"{prefix}label key and value greater than maximum size ({LABEL_LIMIT} bytes), "
                f"key: {key[:10]}"
            )
