"""Methods as plain functions from request to answer; what they raise becomes a gRPC code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError, Message

from contentui.content import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_CODES: tuple[tuple[type[errors.ContentError], grpc.StatusCode], ...] = (
    (errors.InvalidArgument, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.NotFound, grpc.StatusCode.NOT_FOUND),
    (errors.AlreadyExists, grpc.StatusCode.ALREADY_EXISTS),
    (errors.FailedPrecondition, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.PermissionDenied, grpc.StatusCode.PERMISSION_DENIED),
    (errors.ResourceExhausted, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.Locked, grpc.StatusCode.UNAVAILABLE),
    (errors.Unavailable, grpc.StatusCode.UNAVAILABLE),
)
_MOST_TEXT = 4096
"""Characters of a refusal: it travels in a header, and headers are small."""


class Refusal(Exception):
    """A code and its text, exactly as containerd sends them."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def invalid(text: str) -> Refusal:
    """What containerd says to a request that makes no sense."""
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"{text}: invalid argument")


def not_found(kind: str, name: str) -> Refusal:
    """What containerd says when something isn't there: ``image "x": not found``."""
    return Refusal(grpc.StatusCode.NOT_FOUND, f"{kind} {quoted(name)}: not found")


def already_exists(kind: str, name: str) -> Refusal:
    """What containerd says when something is there: ``image "x": already exists``."""
    return Refusal(grpc.StatusCode.ALREADY_EXISTS, f"{kind} {quoted(name)}: already exists")


def quoted(text: str) -> str:
    """``text`` in quotes, with escapes as Go writes them where they are the same in JSON."""
    import json

    return json.dumps(text, ensure_ascii=False)


class Method(NamedTuple):
    """A unary method: the request's class and the function that answers it."""

    request: type[Message]
    answer: Callable[..., Message | None]
    """Gets the request; None stands for the empty answer."""


def service(name: str, methods: Mapping[str, Method]) -> grpc.GenericRpcHandler:
    """A service of unary methods."""
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        method_name: grpc.unary_unary_rpc_method_handler(_guarded(method))
        for method_name, method in methods.items()
    }
    return grpc.method_handlers_generic_handler(name, handlers)


def _guarded(method: Method) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    """From bytes to bytes: a message that can't be decoded gets a code of its own as well."""

    def run(data: bytes, context: grpc.ServicerContext) -> bytes:
        answer = _answer(method, data)
        if isinstance(answer, Refusal):
            context.abort(answer.code, answer.text[:_MOST_TEXT])
        return answer.SerializeToString()

    return run


def _answer(method: Method, data: bytes) -> Message | Refusal:
    try:
        answer = method.answer(method.request.FromString(data))
    except DecodeError:
        return Refusal(grpc.StatusCode.INVALID_ARGUMENT, "the message can't be decoded")
    except Refusal as refusal:
        return refusal
    except errors.ContentError as error:
        return Refusal(code_of(error), text_of(error))
    return Empty() if answer is None else answer


def code_of(error: errors.ContentError) -> grpc.StatusCode:
    """The code that says the same as an error of a store."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    return grpc.StatusCode.UNKNOWN


def text_of(error: errors.ContentError) -> str:
    """What happened and what to do, on one line."""
    return f"{error.message}: {error.advice}" if error.advice else error.message
