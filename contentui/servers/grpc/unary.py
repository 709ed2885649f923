"""Services of unary methods, each a plain function from request to answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError, Message

from contentui.servers.grpc.answers import Code, Refusal, answering, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MOST_LABEL = 4096


class Method(NamedTuple):
    """A method: the request's class and the function that answers it."""

    request: type[Message]
    answer: Callable[..., Message | None]
    """Gets the request; None stands for the empty answer."""


def service(name: str, methods: Mapping[str, Method]) -> grpc.GenericRpcHandler:
    """A service of unary methods; what they raise becomes a code and a text."""
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        method_name: grpc.unary_unary_rpc_method_handler(answering(_from_bytes(method)))
        for method_name, method in methods.items()
    }
    return grpc.method_handlers_generic_handler(name, handlers)


def _from_bytes(method: Method) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    """From bytes to bytes: so a message that can't be decoded is refused in words as well."""

    def run(data: bytes, _: grpc.ServicerContext) -> bytes:
        try:
            request = method.request.FromString(data)
        except DecodeError:
            raise invalid("the message can't be decoded") from None
        answer = method.answer(request)
        return (Empty() if answer is None else answer).SerializeToString()

    return run


def invalid(text: str) -> Refusal:
    """What containerd says to a request that makes no sense."""
    return Refusal(Code.INVALID_ARGUMENT, f"{text}: invalid argument")


def not_found(kind: str, name: str) -> Refusal:
    """What containerd says when something isn't there: ``image "x": not found``."""
    return Refusal(Code.NOT_FOUND, f"{kind} {quoted(name)}: not found")


def already_exists(kind: str, name: str) -> Refusal:
    """What containerd says when something is there: ``image "x": already exists``."""
    return Refusal(Code.ALREADY_EXISTS, f"{kind} {quoted(name)}: already exists")


def check_labels(labels: Mapping[str, str], prefix: str = "") -> None:
    """Raises Refusal for a label that containerd finds too long."""
    for key, value in labels.items():
        if len(key.encode()) + len(value.encode()) > _MOST_LABEL:
            raise invalid(
                f"{prefix}label key and value greater than maximum size ({_MOST_LABEL} bytes), "
                f"key: {key[:10]}"
            )
