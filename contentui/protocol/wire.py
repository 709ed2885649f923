"""The messages of the content service that are many or large, parsed and encoded without copies.

The generated messages copy every byte of ``data`` and refuse refs that aren't UTF-8; these
functions don't. In all else they agree with them: unknown fields are skipped, of a field that is
given twice the last one counts, numbers are 64 bits with a sign. What comes in is hostile: whatever
it is, it is parsed or `Malformed`, with memory bounded by the message's own length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

STAT, WRITE, COMMIT = 0, 1, 2
"""The actions of a `WriteRequest`; others are possible."""

MAX_ENTRIES = 10_000
"""Labels, or filters, in one message."""

_VARINT, _FIXED64, _BYTES, _GROUP, _END_GROUP, _FIXED32 = range(6)
_MAX_DEPTH = 100
"""Groups within groups."""
_MAX_LENGTH = (1 << 31) - 1
_MASK = (1 << 64) - 1
_SECOND_NS = 10**9


class Malformed(ValueError):
    """Bytes that are not the message they should be; the text says why."""


class WriteRequest(NamedTuple):
    """One message of a client's Write stream."""

    action: int
    """`STAT`, `WRITE`, `COMMIT` or a number that means nothing yet."""
    ref: str
    """Undecodable bytes stand as surrogates."""
    total: int
    """Bytes."""
    expected: str
    """A digest, not validated."""
    offset: int
    """Bytes."""
    data: memoryview
    """A part of the message itself, which it keeps alive."""
    labels: dict[str, str] | None
    """None when there is none."""


class ReadRequest(NamedTuple):
    """A wish for a blob's bytes."""

    digest: str
    """Not validated."""
    offset: int
    size: int
    """Bytes; 0 and less: all that follow."""


# -- parsing


def parse_write(message: bytes) -> WriteRequest:
    """A WriteContentRequest. Raises Malformed."""
    action = total = offset = 0
    ref = expected = ""
    data = memoryview(b"")
    labels: dict[str, str] | None = None
    for number, value in _fields(memoryview(message)):
        if isinstance(value, int):
            if number == 5:
                offset = _signed(value, 64)
            elif number == 1:
                action = _signed(value, 32)
            elif number == 3:
                total = _signed(value, 64)
        elif number == 6:
            data = value
        elif number == 2:
            ref = _text(value)
        elif number == 4:
            expected = _text(value)
        elif number == 7:
            labels = {} if labels is None else labels
            _add_label(labels, value)
    return WriteRequest(action, ref, total, expected, offset, data, labels)


def parse_read(message: bytes) -> ReadRequest:
    """A ReadContentRequest. Raises Malformed."""
    digest, offset, size = "", 0, 0
    for number, value in _fields(memoryview(message)):
        if number == 1 and not isinstance(value, int):
            digest = _text(value)
        elif number == 2 and isinstance(value, int):
            offset = _signed(value, 64)
        elif number == 3 and isinstance(value, int):
            size = _signed(value, 64)
    return ReadRequest(digest, offset, size)


def parse_name(message: bytes) -> str:
    """The one string of an Info-, Delete-, Status- or AbortRequest. Raises Malformed."""
    name = ""
    for number, value in _fields(memoryview(message)):
        if number == 1 and not isinstance(value, int):
            name = _text(value)
    return name


def parse_filters(message: bytes) -> list[str]:
    """The filters of a List- or ListStatusesRequest. Raises Malformed, also for too many."""
    filters: list[str] = []
    for number, value in _fields(memoryview(message)):
        if number == 1 and not isinstance(value, int):
            if len(filters) == MAX_ENTRIES:
                raise Malformed(f"there are more than {MAX_ENTRIES} filters")
            filters.append(_text(value))
    return filters


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Each number and each run of bytes in a message, with its field's number; others are skipped.

    Numbers are as they stand, without a sign. Raises Malformed.
    """
    at, end = 0, len(message)
    try:
        while at < end:
            tag, at = _tag(message, at)
            kind = tag & 7
            if kind == _VARINT:
                number, at = _varint(message, at)
                yield tag >> 3, number
            elif kind == _BYTES:
                start, at = _run(message, at)
                yield tag >> 3, message[start:at]
            else:
                at = _skipped(message, at, tag)
    except IndexError:
        raise Malformed("the message ends within a field") from None


def _tag(message: memoryview, at: int) -> tuple[int, int]:
    tag, after = _varint(message, at)
    if after - at > 5 or not 0 < tag >> 3 < 1 << 29:
        raise Malformed("a field has an impossible number")
    return tag, after


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """The number at ``at``, below 2**64, and where it ends. Raises IndexError, Malformed."""
    byte = message[at]
    at += 1
    if byte < 0x80:
        return byte, at
    number, shift = byte & 0x7F, 7
    while byte >= 0x80:
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if shift > 63 and byte >> 7:
            raise Malformed("a number is longer than any can be")
    return number & _MASK, at


def _run(message: memoryview, at: int) -> tuple[int, int]:
    """Where a run of bytes begins and ends. Raises IndexError, Malformed."""
    length, start = _varint(message, at)
    if length > _MAX_LENGTH or start - at > 5:
        raise Malformed("a field is longer than any can be")
    if start + length > len(message):
        raise IndexError
    return start, start + length


def _skipped(message: memoryview, at: int, tag: int) -> int:
    """Where a field of no interest ends, groups included. Raises IndexError, Malformed."""
    open_groups: list[int] = []
    while True:
        kind = tag & 7
        if kind == _VARINT:
            _, at = _varint(message, at)
        elif kind == _BYTES:
            _, at = _run(message, at)
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
            if at > len(message):
                raise IndexError
        elif kind == _GROUP:
            open_groups.append(tag >> 3)
            if len(open_groups) > _MAX_DEPTH:
                raise Malformed("groups are nested too deeply")
        elif kind != _END_GROUP or not open_groups or open_groups.pop() != tag >> 3:
            raise Malformed("a field is of an impossible kind")
        if not open_groups:
            return at
        tag, at = _tag(message, at)


def _signed(number: int, bits: int) -> int:
    number &= (1 << bits) - 1
    return number - (1 << bits) if number >> (bits - 1) else number


def _text(value: memoryview) -> str:
    return str(value, "utf-8", "surrogateescape")


def _add_label(labels: dict[str, str], entry: memoryview) -> None:
    pair = ["", ""]
    for number, value in _fields(entry):
        if number in (1, 2) and not isinstance(value, int):
            pair[number - 1] = _text(value)
    labels[pair[0]] = pair[1]
    if len(labels) > MAX_ENTRIES:
        raise Malformed(f"there are more than {MAX_ENTRIES} labels")


# -- encoding


def write_answer(action: int, offset: int, digest: str, *, total: int = 0, times: bytes) -> bytes:
    """A WriteContentResponse; ``times``: what `write_times` made, or nothing."""
    return b"".join(
        (_number(1, action), times, _number(4, offset), _number(5, total), _string(6, digest))
    )


def write_times(started_ns: int, updated_ns: int) -> bytes:
    """The times of a WriteContentResponse; 0 is left out."""
    return _time(2, started_ns) + _time(3, updated_ns)


def read_head(offset: int, length: int) -> bytes:
    """What stands before the ``length`` bytes of data in a ReadContentResponse."""
    return _number(1, offset) + b"\x12" + _encoded(length)


def info_row(
    digest: str, size: int, created_ns: int, updated_ns: int, labels: Mapping[str, str]
) -> bytes:
    """An Info as the first field of a message: an InfoResponse, or a piece of an answer to List."""
    created = _time_body(created_ns)
    updated = created if updated_ns == created_ns else _time_body(updated_ns)
    parts = [_string(1, digest), _number(2, size), _part(3, created), _part(4, updated)]
    parts += [_bytes(5, _string(1, key) + _string(2, labels[key])) for key in labels]
    return _bytes(1, b"".join(parts))


def status_row(fixed: Sequence[bytes], updated_ns: int, offset: int) -> bytes:
    """A Status as the first field of a message; ``fixed``: what `status_parts` made of it."""
    started, ref, rest = fixed
    return _bytes(1, b"".join((started, _time(2, updated_ns), ref, _number(4, offset), rest)))


def status_parts(
    ref: str, started_ns: int, total: int, expected: str
) -> tuple[bytes, bytes, bytes]:
    """The parts of a Status that stay as long as the ingest does."""
    return _time(1, started_ns), _string(3, ref), _number(5, total) + _string(6, expected)


def _encoded(number: int) -> bytes:
    """A varint; negative numbers in two's complement."""
    if 0 <= number < 0x80:
        return _SMALL[number]
    number &= _MASK
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_SMALL = [bytes((number,)) for number in range(0x80)]


def _number(field: int, value: int) -> bytes:
    return _SMALL[field << 3] + _encoded(value) if value else b""


def _bytes(field: int, value: bytes) -> bytes:
    return b"".join((_SMALL[field << 3 | _BYTES], _encoded(len(value)), value))


def _string(field: int, value: str) -> bytes:
    return _bytes(field, value.encode("utf-8", "surrogateescape")) if value else b""


def _time(field: int, ns: int) -> bytes:
    return _part(field, _time_body(ns))


def _time_body(ns: int) -> bytes:
    """A Timestamp; empty for 0, which is no time."""
    seconds, nanos = divmod(ns, _SECOND_NS)
    return _number(1, seconds) + _number(2, nanos)


def _part(field: int, body: bytes) -> bytes:
    """A short message within a message; an empty one is left out."""
    return b"".join((_SMALL[field << 3 | _BYTES], _SMALL[len(body)], body)) if body else b""
