"""gRPC status codes and texts as errors of the store.

Source of the codes: containerd's ``errdefs``; see ``docs/internals/content-service.md``.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from contentui.content.errors import (
    AlreadyExists,
    ContentError,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    Locked,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)
from contentui.content.model import Holder
from contentui.glyphs import GLYPHS

if TYPE_CHECKING:
    import grpc

MAX_TEXT = 1000
"""Characters of a server's text that are kept."""

_LOCKED = re.compile(
    r"ref .* locked for (?P<age>an unknown time|\S+)(?: \(since (?P<since>[^)]{1,80})\))?",
    re.DOTALL,
)
_SINCE = re.compile(
    r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,9}))? ([+-])(\d\d)(\d\d) ", re.ASCII
)
_DUPLICATE_SUFFIXES = (
    ": not found",
    ": already exists",
    ": failed precondition",
    ": invalid argument",
    ": unavailable",
)
_ERRORS: dict[str, type[ContentError]] = {
    "INVALID_ARGUMENT": InvalidArgument,
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": AlreadyExists,
    "FAILED_PRECONDITION": FailedPrecondition,
    "OUT_OF_RANGE": OutOfRange,
    "DATA_LOSS": DataLoss,
    "PERMISSION_DENIED": PermissionDenied,
    "UNAUTHENTICATED": PermissionDenied,
    "RESOURCE_EXHAUSTED": ResourceExhausted,
    "UNIMPLEMENTED": FailedPrecondition,
    "ABORTED": FailedPrecondition,
}


class ConnectionLost(Unavailable):
    """No connection, or no response in time: another call may succeed."""


class Unimplemented(FailedPrecondition):
    """The server does not implement this method."""


def from_rpc_error(error: grpc.RpcError, lost: str, advice: str) -> ContentError:
    """The error of a failed call. ``lost``, ``advice``: the texts for a lost connection."""
    code, text = error.code().name, shortened(error.details() or "")
    if code == "UNAVAILABLE":
        if (match := _LOCKED.search(text)) is not None:
            return _locked(match)
        if "Connection refused" in text:
            text = "nothing listens there (connection refused)"
        return ConnectionLost(f"{lost}: {text}" if text else lost, advice=advice)
    if code in {"DEADLINE_EXCEEDED", "CANCELLED"}:
        return ConnectionLost(f"{lost}: no response in time", advice=advice)
    if code == "UNIMPLEMENTED":
        return Unimplemented(text)
    if text.startswith("key too large"):
        return InvalidArgument("the name is longer than the daemon's limit of 32 KiB")
    if code == "UNKNOWN" and "no space left" in text:
        return ResourceExhausted(text, advice="free disk space on the server's content directory")
    return _ERRORS.get(code, FailedPrecondition)(text or code.lower().replace("_", " "))


def shortened(text: str) -> str:
    """A server's text, bounded, without the suffix that repeats the code."""
    text = (
        text
        if len(text) <= MAX_TEXT
        else f"{text[: MAX_TEXT // 2]}{GLYPHS.cut}{text[-MAX_TEXT // 2 :]}"
    )
    for suffix in _DUPLICATE_SUFFIXES:
        text = text.removesuffix(suffix) if len(text) > len(suffix) else text
    return text


def _locked(match: re.Match[str]) -> Locked:
    holder = Holder(0, 0, "", _since_ns(match["since"] or ""))
    return Locked(
        f"a writer has held this ref for {match['age'][:20]}",
        holder=holder,
        advice="wait for that writer, or stop it",
    )


def _since_ns(text: str) -> int:
    """A time as Go prints it, ``2026-11-21 01:58:55.1 +0000 UTC m=+336.8``; 0 if it is not one."""
    found = _SINCE.match(text + " ")
    if found is None:
        return 0
    day, clock, fraction, sign, hours, minutes = found.groups()
    try:
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        zone = timezone(-offset if sign == "-" else offset)
        at = datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=zone)
        seconds = int(at.timestamp())
    except (ValueError, OverflowError):
        return 0
    return max(seconds * 1_000_000_000 + int((fraction or "0").ljust(9, "0")), 0)
