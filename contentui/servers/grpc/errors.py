"""Errors of a store as gRPC status codes and texts.

Source of the codes: containerd's ``errdefs`` (``errdefs/grpc.go`` before 2.0). Where clients match
the text, as ``ref ... locked for`` in ``core/content/helpers.go``, it is containerd's own.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import grpc

from contentui.content import errors
from contentui.content.digest import Digest
from contentui.protocol.wire import Malformed
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from contentui.content.model import Holder

Code = grpc.StatusCode

_CODES: dict[type[errors.ContentError], tuple[grpc.StatusCode, str]] = {
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
"""The code of each error, and the suffix that containerd appends to its text."""

_ADVISED = (
    errors.ReadOnly,
    errors.DataLoss,
    errors.PermissionDenied,
    errors.ResourceExhausted,
    errors.Unavailable,
)
"""Errors whose advice helps a client; that of others names options of the command line."""

_NAME_LIMIT = 300
"""Characters of a ref, digest or path that a text quotes."""
_TEXT_LIMIT = 1500
"""Characters of a text: it is sent in the trailers, which clients limit to a few KiB."""

_log = logging.getLogger(__name__)


class StatusError(Exception):
    """Ends a call with this status code and text."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def status_error(error: Exception) -> StatusError:
    """The status of an error of the store or the request; an unexpected one is logged."""
    if isinstance(error, StatusError):
        return error
    if isinstance(error, Malformed):
        return StatusError(Code.INVALID_ARGUMENT, f"malformed message: {error}: invalid argument")
    for kind in type(error).__mro__:
        if kind in _CODES:
            code, suffix = _CODES[kind]
            return StatusError(code, _text(error, suffix))
    _log.error("a call failed", exc_info=error)
    return StatusError(Code.UNKNOWN, f"{type(error).__name__}: {error}")


def _text(error: Exception, suffix: str) -> str:
    message = error.message if isinstance(error, errors.ContentError) else str(error)
    if isinstance(error, _ADVISED) and error.advice:
        message = f"{message} ({error.advice})"
    return message if message.endswith(suffix) else f"{message}: {suffix}"


def abort(context: grpc.ServicerContext, error: Exception) -> NoReturn:
    """End a call with the status of ``error``; always raises."""
    found = status_error(error)
    context.abort(found.code, visible(found.text, _TEXT_LIMIT))
    raise AssertionError  # pragma: no cover - abort raises


def mapping_errors(
    behaviour: Callable[[bytes, grpc.ServicerContext], bytes],
) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    """A unary handler that ends its call with a status for whatever ``behaviour`` raises."""

    def handler(request: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            return behaviour(request, context)
        except Exception as error:
            abort(context, error)

    return handler


def shown(name: str) -> str:
    """An untrusted name, escaped and shortened."""
    return visible(name, _NAME_LIMIT)


def quoted(name: str) -> str:
    """An untrusted name in double quotes."""
    return f'"{shown(name)}"'


def parsed_digest(text: str) -> Digest:
    """A validated digest. Raises StatusError."""
    try:
        return Digest.parse(text)
    except errors.InvalidArgument:
        raise StatusError(Code.INVALID_ARGUMENT, f"{quoted(text)} failed validation") from None


def blob_not_found(digest: Digest) -> StatusError:
    """The status for a blob that does not exist."""
    return StatusError(Code.NOT_FOUND, f"content {digest}: not found")


def blob_exists(digest: Digest) -> StatusError:
    """The status for a blob that exists already."""
    return StatusError(Code.ALREADY_EXISTS, f"content {digest}: already exists")


def ref_locked(ref: str, holder: Holder | None) -> StatusError:
    """The status for a ref that another writer holds; clients match ``ref ... locked for``."""
    name = shown(ref)
    if holder is None or not holder.since_ns:
        return StatusError(Code.UNAVAILABLE, f"ref {name} locked for an unknown time: unavailable")
    age = go_duration(max(time.time_ns() - holder.since_ns, 0))
    text = f"ref {name} locked for {age} (since {_utc(holder.since_ns)}): unavailable"
    return StatusError(Code.UNAVAILABLE, text)


def go_duration(ns: int) -> str:
    """A duration as Go formats it: ``315.79ms``, ``1m2.5s``, ``3h0m0s``."""
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
