"""Messages as raw bytes, for what the generated classes can't carry or are too slow for.

A ref may be any bytes, while a protobuf string must be UTF-8; and a piece of a blob should be
copied as rarely as possible.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from contentui.content.digest import Digest
from contentui.content.errors import ContentError, DataLoss, InvalidArgument
from contentui.content.model import ref_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

STAT, WRITE, COMMIT = 0, 1, 2

_SECOND_NS = 1_000_000_000
_MAX_SECONDS = 253_402_300_799
_MAX_INT64 = 1 << 63


def varint(value: int) -> bytes:
    """A number that isn't negative, as protobuf writes it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def bytes_field(number: int, value: bytes) -> bytes:
    """A field with a length; nothing for an empty one."""
    return b"".join((varint(number << 3 | 2), varint(len(value)), value)) if value else b""


def number_field(number: int, value: int) -> bytes:
    """A field with a number; nothing for 0."""
    return varint(number << 3) + varint(value) if value else b""


def ref_request(ref: str) -> bytes:
    """A StatusRequest or an AbortRequest."""
    return bytes_field(1, ref_bytes(ref))


def read_request(digest: Digest, offset: int, size: int) -> bytes:
    """A ReadContentRequest; ``size`` 0: all the rest."""
    return bytes_field(1, digest.encode()) + number_field(2, offset) + number_field(3, size)


def write_request(
    action: int,
    *,
    ref: bytes = b"",
    total: int = 0,
    expected: str = "",
    offset: int = 0,
    data: bytes | bytearray | memoryview = b"",
    labels: Mapping[str, str] | None = None,
) -> bytes:
    """A WriteContentRequest."""
    parts: list[bytes | bytearray | memoryview] = [
        number_field(1, action),
        bytes_field(2, ref),
        number_field(3, total),
        bytes_field(4, expected.encode()),
        number_field(5, offset),
    ]
    if len(data):
        parts += (b"\x32", varint(len(data)), data)
    for key, value in (labels or {}).items():
        parts.append(bytes_field(7, bytes_field(1, key.encode()) + bytes_field(2, value.encode())))
    return b"".join(parts)


class Answer(NamedTuple):
    """A WriteContentResponse."""

    started_ns: int = 0
    updated_ns: int = 0
    offset: int = 0
    total: int = 0
    digest: str = ""
    """Not checked."""


class Entry(NamedTuple):
    """A Status as it came."""

    started_ns: int
    updated_ns: int
    ref: bytes
    offset: int
    total: int
    expected: str
    """Not checked."""


def answer(message: bytes) -> Answer:
    """Raises DataLoss."""
    found = dict(fields(message))
    return Answer(
        _time(found.get(2)),
        _time(found.get(3)),
        _number(found.get(4)),
        _number(found.get(5)),
        _text(found.get(6)),
    )


def entry(message: bytes) -> Entry:
    """Raises DataLoss."""
    found = dict(fields(message))
    return Entry(
        _same_time(found.get(1)),
        _time(found.get(2)),
        _bytes(found.get(3)),
        _number(found.get(4)),
        _number(found.get(5)),
        _text(found.get(6)),
    )


def inner(message: bytes, number: int = 1) -> Iterator[bytes]:
    """All messages inside ``message`` in one repeated field.

    Raises:
        DataLoss: it is cut or garbled.
    """
    for found, value in fields(message):
        if found == number and isinstance(value, bytes):
            yield value


def piece(message: bytes) -> memoryview:
    """The data of a ReadContentResponse, not copied.

    Raises:
        DataLoss: it is cut or garbled.
    """
    at, end = 0, len(message)
    view = memoryview(message)
    while at < end:
        tag, at = _varint(message, at)
        if tag == 0x12:
            length, at = _varint(message, at)
            if at + length > end:
                raise _garbled()
            return view[at : at + length]
        at = _behind(message, tag & 7, at)
    return view[:0]


def fields(message: bytes) -> list[tuple[int, int | bytes]]:
    """The fields of a message: their numbers and values.

    Raises:
        DataLoss: it is cut or garbled.
    """
    found: list[tuple[int, int | bytes]] = []
    at, end = 0, len(message)
    while at < end:
        tag = message[at]
        at += 1
        if tag > 0x7F:
            tag, at = _varint(message, at - 1)
        kind = tag & 7
        if kind == 2 or kind == 0:
            try:
                value = message[at]
            except IndexError:
                raise _garbled() from None
            at += 1
            if value > 0x7F:  # most numbers are small, and a call costs more than they do
                value, at = _varint(message, at - 1)
            if kind == 0:
                found.append((tag >> 3, value))
                continue
            start, at = at, at + value
            if at > end:
                raise _garbled()
            found.append((tag >> 3, message[start:at]))
        else:
            at = _behind(message, kind, at)
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    try:
        value = message[at]
        at += 1
        if value < 0x80:
            return value, at
        value &= 0x7F
        for shift in range(7, 70, 7):
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
    except IndexError:
        pass
    raise _garbled()


def _behind(message: bytes, kind: int, at: int) -> int:
    """Where the next field begins, behind one of a kind that we don't need."""
    if kind == 0:
        at = _varint(message, at)[1]
    elif kind == 2:
        length, at = _varint(message, at)
        at += length
    elif kind in {1, 5}:
        at += 8 if kind == 1 else 4
    else:
        raise _garbled()
    if at > len(message):
        raise _garbled()
    return at


def _time(value: int | bytes | None) -> int:
    """Nanoseconds since 1970; 0 for what is absent, in year 1, or makes no sense."""
    if not isinstance(value, bytes):
        return 0
    found = dict(fields(value))
    seconds, nanos = found.get(1, 0), found.get(2, 0)
    if not isinstance(seconds, int) or not isinstance(nanos, int):
        return 0
    if seconds > _MAX_SECONDS or nanos >= _SECOND_NS:
        return 0
    return seconds * _SECOND_NS + nanos


@lru_cache(maxsize=4096)
def _same_time(value: int | bytes | None) -> int:
    """`_time` for what is seen again and again."""
    return _time(value)


def _number(value: int | bytes | None) -> int:
    """A count of bytes; what is absent or negative is 0."""
    return value if isinstance(value, int) and value < _MAX_INT64 else 0


def _bytes(value: int | bytes | None) -> bytes:
    return value if isinstance(value, bytes) else b""


def _text(value: int | bytes | None) -> str:
    return _bytes(value).decode("utf-8", "surrogateescape")


def digest_or_none(text: str) -> Digest | None:
    """A digest from the wire; None for what is none."""
    try:
        return Digest.parse(text)
    except InvalidArgument:
        return None


def _garbled() -> ContentError:
    return DataLoss("the service answered with a message that can't be read")
