"""Times on the wire, as nanoseconds since 1970; 0 for a time that is unknown.

containerd sends Go's zero time, in year 1, where it does not know one
(``pkg/protobuf/timestamp.go``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

if TYPE_CHECKING:
    from google.protobuf.message import Message

SECOND_NS = 1_000_000_000
_MAX_SECONDS = 253_402_300_799
"""The last second of year 9999, which is protobuf's last."""


def unix_ns(seconds: int, nanos: int) -> int:
    """A Timestamp's fields in nanoseconds; 0 before 1970, after year 9999, or if not normalized."""
    if not 0 <= seconds <= _MAX_SECONDS or not 0 <= nanos < SECOND_NS:
        return 0
    return seconds * SECOND_NS + nanos


def to_ns(message: Message, field: str) -> int:
    """A Timestamp field in nanoseconds; 0 if it is absent or invalid."""
    if not message.HasField(field):
        return 0
    time: Timestamp = getattr(message, field)
    return unix_ns(time.seconds, time.nanos)


def timestamp(ns: int) -> Timestamp | None:
    """A Timestamp of a time in nanoseconds; None if it is unknown."""
    if not ns:
        return None
    seconds, nanos = divmod(ns, SECOND_NS)
    return Timestamp(seconds=seconds, nanos=nanos)
