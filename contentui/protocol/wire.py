"""The one coder of the content service's messages that carry bytes or come often.

Source of the messages: ``content.proto`` beside this file, which is containerd's
``api/services/content/v1/content.proto``. The generated classes copy every byte of ``data`` and
reject refs that are not UTF-8; these functions do neither. In all else they agree with the
generated classes: unknown fields are skipped, the last of a repeated scalar field counts, integers
are 64 bits and signed. Input is untrusted: any bytes are decoded or raise `Malformed`, with memory
in proportion to the message's length. Texts hold undecodable bytes as surrogates (PEP 383).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from contentui.protocol.times import SECOND_NS, unix_ns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Buffer = TypeVar("Buffer", bytes, memoryview)

STAT, WRITE, COMMIT = 0, 1, 2
"""The actions of a `WriteRequest` and its response; a message may hold other numbers."""

MAX_ENTRIES = 10_000
"""Labels, or filters, in one message."""

_VARINT, _FIXED64, _BYTES, _GROUP, _END_GROUP, _FIXED32 = range(6)
_MAX_DEPTH = 100
"""Groups within groups."""
_MAX_LENGTH = (1 << 31) - 1
_MAX_INT64 = (1 << 63) - 1
_MASK = (1 << 64) - 1


class Malformed(ValueError):
    """Bytes that are not a valid message of the expected type; the text is the reason."""


class WriteRequest(NamedTuple):
    """One WriteContentRequest of a client's Write stream."""

    action: int
    """`STAT`, `WRITE`, `COMMIT`, or a number without a meaning."""
    ref: str
    total: int
    """Bytes."""
    expected: str
    """A digest, not validated."""
    offset: int
    """Bytes."""
    data: memoryview
    """A part of the message itself, which it keeps alive."""
    labels: dict[str, str] | None
    """None if the message has none."""


class WriteResponse(NamedTuple):
    """One WriteContentResponse, without its action."""

    started_ns: int = 0
    """Nanoseconds since 1970; 0 if unknown."""
    updated_ns: int = 0
    """Nanoseconds since 1970; 0 if unknown."""
    offset: int = 0
    """Bytes, not negative."""
    total: int = 0
    """Bytes, not negative; 0 if unknown."""
    digest: str = ""
    """Not validated."""


class ReadRequest(NamedTuple):
    """A ReadContentRequest."""

    digest: str
    """Not validated."""
    offset: int
    size: int
    """Bytes; 0 or less: to the blob's end."""


class StatusEntry(NamedTuple):
    """A Status."""

    started_ns: int
    """Nanoseconds since 1970; 0 if unknown."""
    updated_ns: int
    """Nanoseconds since 1970; 0 if unknown."""
    ref: bytes
    offset: int
    """Bytes, not negative."""
    total: int
    """Bytes, not negative; 0 if unknown."""
    expected: str
    """A digest, not validated; empty if unknown."""


# -- decoding requests, for servers


def decode_write_request(message: bytes) -> WriteRequest:
    """A WriteContentRequest. Raises Malformed."""
    action = total = offset = 0
    ref = expected = ""
    data = memoryview(b"")
    labels: dict[str, str] | None = None
    for number, value in fields(memoryview(message)):
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


def decode_read_request(message: bytes) -> ReadRequest:
    """A ReadContentRequest. Raises Malformed."""
    digest, offset, size = "", 0, 0
    for number, value in fields(message):
        if isinstance(value, int):
            if number == 2:
                offset = _signed(value, 64)
            elif number == 3:
                size = _signed(value, 64)
        elif number == 1:
            digest = _text(value)
    return ReadRequest(digest, offset, size)


def decode_name(message: bytes) -> str:
    """The digest of an Info- or DeleteContentRequest, the ref of a Status- or AbortRequest.

    Raises:
        Malformed: the message cannot be decoded.
    """
    name = ""
    for number, value in fields(message):
        if number == 1 and not isinstance(value, int):
            name = _text(value)
    return name


def decode_filters(message: bytes) -> list[str]:
    """The filters of a ListContent- or ListStatusesRequest.

    Raises:
        Malformed: the message cannot be decoded, or has more than `MAX_ENTRIES` filters.
    """
    filters: list[str] = []
    for number, value in fields(message):
        if number == 1 and not isinstance(value, int):
            if len(filters) == MAX_ENTRIES:
                raise Malformed(f"there are more than {MAX_ENTRIES} filters")
            filters.append(_text(value))
    return filters


# -- decoding responses, for clients


def decode_write_response(message: bytes) -> WriteResponse:
    """A WriteContentResponse. Raises Malformed."""
    found = dict(fields(message))
    return WriteResponse(
        _decoded_time(found.get(2)),
        _decoded_time(found.get(3)),
        _count(found.get(4)),
        _count(found.get(5)),
        _text(_bytes(found.get(6))),
    )


def decode_read_response(message: bytes) -> memoryview:
    """The data of a ReadContentResponse, a part of the message itself. Raises Malformed."""
    data = memoryview(b"")
    for number, value in fields(memoryview(message)):
        if number == 2 and not isinstance(value, int):
            data = value
    return data


def decode_status(message: bytes) -> StatusEntry:
    """A Status. Raises Malformed."""
    found = dict(fields(message))
    return StatusEntry(
        _cached_time(found.get(1)),
        _decoded_time(found.get(2)),
        _bytes(found.get(3)),
        _count(found.get(4)),
        _count(found.get(5)),
        _text(_bytes(found.get(6))),
    )


def submessages(message: bytes) -> list[bytes]:
    """The messages in field 1: of a ListStatusesResponse, StatusResponse or ListContentResponse.

    Raises:
        Malformed: ``message`` cannot be decoded; what is in it is not looked at.
    """
    return [
        value for number, value in fields(message) if number == 1 and not isinstance(value, int)
    ]


# -- decoding fields


def fields(message: Buffer) -> Iterator[tuple[int, int | Buffer]]:
    """The varint and the bytes fields of a message with their numbers; other kinds are skipped.

    Varints are unsigned. Bytes are slices of ``message``: of a memoryview they are not copied.

    Raises:
        Malformed: the message is cut off or cannot be decoded.
    """
    at, end = 0, len(message)
    try:
        while at < end:
            tag = message[at]
            at += 1
            if not 0x07 < tag < 0x80:
                tag, at = _tag(message, at - 1)
            kind = tag & 7
            if kind > _BYTES or kind == _FIXED64:
                at = _skipped(message, at, tag)
                continue
            value = message[at]  # the number, or the length
            at += 1
            if kind == _VARINT:
                if value > 0x7F:  # most are small, and a call costs more than they do
                    value, at = _varint(message, at - 1)
                yield tag >> 3, value
                continue
            if value > 0x7F:
                value, at = _length(message, at - 1)
            start, at = at, at + value
            if at > end:
                raise IndexError
            yield tag >> 3, message[start:at]
    except IndexError:
        raise Malformed("the message ends within a field") from None


def _tag(message: bytes | memoryview, at: int) -> tuple[int, int]:
    tag, after = _varint(message, at)
    if after - at > 5 or not 0 < tag >> 3 < 1 << 29:
        raise Malformed("a field number is out of range")
    return tag, after


def _varint(message: bytes | memoryview, at: int) -> tuple[int, int]:
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
            raise Malformed("a varint has more than ten bytes")
    return number & _MASK, at


def _length(message: bytes | memoryview, at: int) -> tuple[int, int]:
    """The length of a bytes field and where its bytes begin. Raises IndexError, Malformed."""
    length, start = _varint(message, at)
    if length > _MAX_LENGTH or start - at > 5:
        raise Malformed("a field is longer than 2 GiB")
    return length, start


def _skipped(message: bytes | memoryview, at: int, tag: int) -> int:
    """Where a field that is not needed ends, groups included. Raises IndexError, Malformed."""
    open_groups: list[int] = []
    while True:
        kind = tag & 7
        if kind == _VARINT:
            _, at = _varint(message, at)
        elif kind == _BYTES:
            length, at = _length(message, at)
            at += length
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
        elif kind == _GROUP:
            open_groups.append(tag >> 3)
            if len(open_groups) > _MAX_DEPTH:
                raise Malformed("groups are nested too deeply")
        elif kind != _END_GROUP or not open_groups or open_groups.pop() != tag >> 3:
            raise Malformed("a field has an invalid wire type")
        if at > len(message):
            raise IndexError
        if not open_groups:
            return at
        tag, at = _tag(message, at)


def _signed(number: int, bits: int) -> int:
    number &= (1 << bits) - 1
    return number - (1 << bits) if number >> (bits - 1) else number


def _text(value: bytes | memoryview) -> str:
    return str(value, "utf-8", "surrogateescape")


def _bytes(value: int | bytes | None) -> bytes:
    return value if isinstance(value, bytes) else b""


def _count(value: int | bytes | None) -> int:
    """A count of bytes; 0 if it is absent or negative."""
    return value if isinstance(value, int) and value <= _MAX_INT64 else 0


def _decoded_time(value: int | bytes | None) -> int:
    """A Timestamp's nanoseconds since 1970; see `contentui.protocol.times.unix_ns`."""
    if not isinstance(value, bytes):
        return 0
    found = dict(fields(value))
    seconds, nanos = found.get(1, 0), found.get(2, 0)
    if not isinstance(seconds, int) or not isinstance(nanos, int):
        return 0
    return unix_ns(seconds, nanos)  # negative numbers are beyond the last second here


@lru_cache(maxsize=4096)
def _cached_time(value: int | bytes | None) -> int:
    """`_decoded_time` for values that repeat."""
    return _decoded_time(value)


def _add_label(labels: dict[str, str], entry: memoryview) -> None:
    pair = ["", ""]
    for number, value in fields(entry):
        if number in (1, 2) and not isinstance(value, int):
            pair[number - 1] = _text(value)
    labels[pair[0]] = pair[1]
    if len(labels) > MAX_ENTRIES:
        raise Malformed(f"there are more than {MAX_ENTRIES} labels")


# -- encoding requests, for clients


def encode_name(name: bytes) -> bytes:
    """An Info- or DeleteContentRequest with a digest, a Status- or AbortRequest with a ref."""
    return _bytes_field(1, name)


def encode_read_request(digest: str, offset: int, size: int) -> bytes:
    """A ReadContentRequest; ``size`` 0: to the blob's end."""
    return b"".join((_string(1, digest), _number(2, offset), _number(3, size)))


def encode_write_request(
    action: int,
    *,
    ref: bytes = b"",
    total: int = 0,
    expected: str = "",
    offset: int = 0,
    data: bytes | bytearray | memoryview = b"",
    labels: Mapping[str, str] | None = None,
) -> bytes:
    """A WriteContentRequest. ``data`` is copied once, into the message."""
    parts: list[bytes | bytearray | memoryview] = [
        _number(1, action),
        _bytes_field(2, ref) if ref else b"",
        _number(3, total),
        _string(4, expected),
        _number(5, offset),
    ]
    if len(data):
        parts += (b"\x32", _encoded(len(data)), data)
    if labels:
        parts += _labels(7, labels)
    return b"".join(parts)


# -- encoding responses, for servers


def encode_write_response(
    action: int, offset: int, digest: str, *, total: int = 0, times: bytes
) -> bytes:
    """A WriteContentResponse; ``times``: made by `encode_write_times`, or empty."""
    return b"".join(
        (_number(1, action), times, _number(4, offset), _number(5, total), _string(6, digest))
    )


def encode_write_times(started_ns: int, updated_ns: int) -> bytes:
    """The times of a WriteContentResponse; 0 is left out."""
    return _time(2, started_ns) + _time(3, updated_ns)


def encode_read_head(offset: int, length: int) -> bytes:
    """What a ReadContentResponse has before its ``length`` bytes of data."""
    return _number(1, offset) + b"\x12" + _encoded(length)


def encode_info(
    digest: str, size: int, created_ns: int, updated_ns: int, labels: Mapping[str, str]
) -> bytes:
    """An Info in field 1: an InfoResponse, or a part of a ListContentResponse."""
    created = _time_body(created_ns)
    updated = created if updated_ns == created_ns else _time_body(updated_ns)
    parts = [_string(1, digest), _number(2, size), _part(3, created), _part(4, updated)]
    parts += _labels(5, labels)
    return _bytes_field(1, b"".join(parts))


def encode_status(fixed: Sequence[bytes], updated_ns: int, offset: int) -> bytes:
    """A Status in field 1: a StatusResponse, or a part of a ListStatusesResponse.

    ``fixed``: made by `encode_status_parts`.
    """
    started, ref, rest = fixed
    return _bytes_field(1, b"".join((started, _time(2, updated_ns), ref, _number(4, offset), rest)))


def encode_status_parts(
    ref: str, started_ns: int, total: int, expected: str
) -> tuple[bytes, bytes, bytes]:
    """The parts of a Status that do not change while the ingest exists."""
    return _time(1, started_ns), _string(3, ref), _number(5, total) + _string(6, expected)


# -- encoding fields


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


def _bytes_field(field: int, value: bytes) -> bytes:
    return b"".join((_SMALL[field << 3 | _BYTES], _encoded(len(value)), value))


def _string(field: int, value: str) -> bytes:
    return _bytes_field(field, value.encode("utf-8", "surrogateescape")) if value else b""


def _labels(field: int, labels: Mapping[str, str]) -> list[bytes]:
    return [_bytes_field(field, _string(1, key) + _string(2, labels[key])) for key in labels]


def _time(field: int, ns: int) -> bytes:
    return _part(field, _time_body(ns))


def _time_body(ns: int) -> bytes:
    """A Timestamp; empty for 0, an unknown time."""
    seconds, nanos = divmod(ns, SECOND_NS)
    return _number(1, seconds) + _number(2, nanos)


def _part(field: int, body: bytes) -> bytes:
    """A short message within a message; an empty one is left out."""
    return b"".join((_SMALL[field << 3 | _BYTES], _SMALL[len(body)], body)) if body else b""
