"""Times on the wire: what is absent, zero or in year 1 is unknown (content-store.md 6.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

if TYPE_CHECKING:
    from google.protobuf.message import Message

SECOND_NS = 1_000_000_000
_MAX_SECONDS = 253_402_300_799
"""The last second of year 9999."""


def to_ns(message: Message, field: str) -> int:
    """A field's time in nanoseconds since 1970; 0 when it is unknown or makes no sense."""
    if not message.HasField(field):
        return 0
    time: Timestamp = getattr(message, field)
    if not 0 <= time.seconds <= _MAX_SECONDS or not 0 <= time.nanos < SECOND_NS:
        return 0
    return time.seconds * SECOND_NS + time.nanos


def timestamp(ns: int) -> Timestamp | None:
    """A time in nanoseconds since 1970 as a message; None for an unknown one."""
    if not ns:
        return None
    seconds, nanos = divmod(ns, SECOND_NS)
    return Timestamp(seconds=seconds, nanos=nanos)
