"""What a store refuses, as gRPC tells it: codes by content-store.md 4.3, texts for people.

Where clients look at the text it is containerd's own.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import grpc

from contentui.content import errors
from contentui.protocol.wire import Malformed
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from contentui.content.digest import Digest
    from contentui.content.model import Holder

Code = grpc.StatusCode

_KINDS: dict[type[errors.ContentError], tuple[grpc.StatusCode, str]] = {
    errors.InvalidArgument: (Code.INVALID_ARGUMENT, "invalid argument"),
    errors.NotFound: (Code.NOT_FOUND, "not found"),
    errors.AlreadyExists: (Code.ALREADY_EXISTS, "already exists"),
    errors.Locked: (Code.UNAVAILABLE, "unavailable"),
    errors.FailedPrecondition: (Code.FAILED_PRECONDITION, "failed precondition"),
    errors.OutOfRange: (Code.OUT_OF_RANGE, "out of range"),
    errors.DataLoss: (Code.DATA_LOSS, "data loss"),
    errors.PermissionDenied: (Code.PERMISSION_DENIED, "permission denied"),
    errors.ResourceExhausted: (Code.RESOURCE_EXHAUSTED, "resource exhausted"),
    errors.Unavailable: (Code.UNAVAILABLE, "unavailable"),
}
"""The code of each error, and the words with which containerd ends its text."""

_ADVISED = (
    errors.ReadOnly,
    errors.DataLoss,
    errors.PermissionDenied,
    errors.ResourceExhausted,
    errors.Unavailable,
)
"""Errors whose advice is for whoever runs the client; that of others is for the command line."""

NAME_LIMIT = 300
"""Characters of a ref, digest or path that a text repeats."""
_TEXT_LIMIT = 1500
"""Characters of a text: it travels in the trailers, which clients bound to a few KiB."""

_log = logging.getLogger(__name__)


class Refusal(Exception):
    """A call's end with a code and a text as they are to be sent."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def refusal(error: Exception) -> Refusal:
    """What to answer for an error of the store or the request; one that isn't known is logged."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, Malformed):
        return Refusal(Code.INVALID_ARGUMENT, f"malformed message: {error}: invalid argument")
    for kind in type(error).__mro__:
        if kind in _KINDS:
            code, words = _KINDS[kind]
            return Refusal(code, _text(error, words))
    _log.error("a call failed", exc_info=error)
    return Refusal(Code.UNKNOWN, f"{type(error).__name__}: {error}")


def _text(error: Exception, words: str) -> str:
    message = error.message if isinstance(error, errors.ContentError) else str(error)
    if isinstance(error, _ADVISED) and error.advice:
        message = f"{message} ({error.advice})"
    return message if message.endswith(words) else f"{message}: {words}"


def end(context: grpc.ServicerContext, error: Exception) -> NoReturn:
    """End a call with what there is to say about ``error``; always raises."""
    told = refusal(error)
    context.abort(told.code, visible(told.text, _TEXT_LIMIT))
    raise AssertionError  # pragma: no cover - abort raises


def answering(
    behaviour: Callable[[bytes, grpc.ServicerContext], bytes],
) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    """A handler that ends its call in words, whatever is raised."""

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            return behaviour(request, context)
        except Exception as error:
            end(context, error)

    return answer


def quoted(name: str) -> str:
    """A hostile name between quotes."""
    return f'"{visible(name, NAME_LIMIT)}"'


def no_digest(text: str) -> Refusal:
    """The refusal of a name that is no digest."""
    return Refusal(Code.INVALID_ARGUMENT, f"{quoted(text)} failed validation")


def no_blob(digest: Digest) -> Refusal:
    """The refusal of a blob that isn't there."""
    return Refusal(Code.NOT_FOUND, f"content {digest}: not found")


def blob_exists(digest: Digest) -> Refusal:
    """The refusal of a blob that is there."""
    return Refusal(Code.ALREADY_EXISTS, f"content {digest}: already exists")


def locked(ref: str, holder: Holder | None) -> Refusal:
    """The refusal of a ref that another writer holds; clients know it by ``ref … locked for``."""
    name = visible(ref, NAME_LIMIT)
    if holder is None or not holder.since_ns:
        return Refusal(Code.UNAVAILABLE, f"ref {name} locked for an unknown time: unavailable")
    age = duration(max(time.time_ns() - holder.since_ns, 0))
    text = f"ref {name} locked for {age} (since {_utc(holder.since_ns)}): unavailable"
    return Refusal(Code.UNAVAILABLE, text)


def duration(ns: int) -> str:
    """A length of time as Go writes it: ``315.79ms``, ``1m2.5s``, ``3h0m0s``."""
    if ns < 10**9:
        return f"{ns / 1e6:.6g}ms"
    minutes, seconds = divmod(ns / 1e9, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def _utc(ns: int) -> str:
    seconds, fraction = divmod(ns, 10**9)
    text = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
    return f"{text}.{fraction:09d}".rstrip("0").rstrip(".") + " +0000 UTC"
