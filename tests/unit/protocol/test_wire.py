"""The coder agrees with the generated messages, and withstands hostile bytes."""

from __future__ import annotations

import contextlib

import pytest
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from contentui.protocol import content_pb2 as pb
from contentui.protocol import wire

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
INT32 = st.integers(-(1 << 31), (1 << 31) - 1)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
LABELS = st.dictionaries(TEXT, TEXT, max_size=4)
TIMES = st.integers(1, 253_402_300_799 * 10**9)


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out) + bytes((number,))


@st.composite
def unknown_fields(draw: st.DrawFn, depth: int = 2) -> bytes:
    """One field with a number that no message has."""
    number = draw(st.integers(16, (1 << 29) - 1))
    kind = draw(st.sampled_from([0, 1, 2, 5] + [3] * bool(depth)))
    head = varint(number << 3 | kind)
    if kind == 0:
        return head + varint(draw(st.integers(0, (1 << 64) - 1)))
    if kind == 2:
        data = draw(st.binary(max_size=10))
        return head + varint(len(data)) + data
    if kind == 3:
        inner = b"".join(draw(st.lists(unknown_fields(depth - 1), max_size=2)))
        return head + inner + varint(number << 3 | 4)
    return head + draw(st.binary(min_size=8, max_size=8))[: 8 if kind == 1 else 4]


UNKNOWN = st.lists(unknown_fields(), max_size=3).map(b"".join)

REQUESTS = st.builds(
    pb.WriteContentRequest,
    action=INT32,
    ref=TEXT,
    total=INT64,
    expected=TEXT,
    offset=INT64,
    data=st.binary(max_size=50),
    labels=LABELS,
)


def same(found: wire.WriteRequest, message: pb.WriteContentRequest, *, labels: bool = True) -> None:
    assert found.action == message.action
    assert found.ref == message.ref
    assert found.total == message.total
    assert found.expected == message.expected
    assert found.offset == message.offset
    assert bytes(found.data) == message.data
    assert not labels or (found.labels or {}) == dict(message.labels)


@given(REQUESTS, REQUESTS, UNKNOWN, UNKNOWN)
def test_decoded_write_requests(
    first: pb.WriteContentRequest, second: pb.WriteContentRequest, one: bytes, two: bytes
) -> None:
    """Fields given twice: the last one counts; unknown ones are skipped."""
    data = first.SerializeToString() + one + second.SerializeToString() + two
    same(wire.decode_write_request(data), pb.WriteContentRequest.FromString(data))


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=60), REQUESTS.map(lambda r: r.SerializeToString())), st.data())
def test_any_bytes_are_decoded_alike_or_malformed(message: bytes, data: st.DataObject) -> None:
    if message and data.draw(st.booleans()):  # damage it
        at = data.draw(st.integers(0, len(message) - 1))
        message = message[:at] + bytes((data.draw(st.integers(0, 255)),)) + message[at + 1 :]
    try:
        found = wire.decode_write_request(message)
    except wire.Malformed:
        with pytest.raises(DecodeError):
            pb.WriteContentRequest.FromString(message)
        return
    try:
        expected = pb.WriteContentRequest.FromString(message)
    except DecodeError:
        # Only what is not UTF-8 is accepted here and rejected there.
        texts = [found.ref, found.expected, *(found.labels or {}).items()]
        assert any("\udc80" <= char <= "\udcff" for text in texts for char in "".join(text))
        return
    # Python's messages drop a label with a field that they don't know; Go's, and ours, don't.
    same(found, expected, labels=False)


@given(TEXT, INT64, INT64, UNKNOWN)
def test_decoded_read_requests(digest: str, offset: int, size: int, unknown: bytes) -> None:
    message = pb.ReadContentRequest(digest=digest, offset=offset, size=size)
    data = unknown + message.SerializeToString()
    assert wire.decode_read_request(data) == (digest, offset, size)


@given(st.lists(TEXT, max_size=5), UNKNOWN)
def test_names_and_filters(texts: list[str], unknown: bytes) -> None:
    message = pb.ListContentRequest(filters=texts).SerializeToString() + unknown
    assert wire.decode_filters(message) == texts
    assert wire.decode_name(message) == (texts[-1] if texts else "")


@given(INT32, st.integers(0, (1 << 63) - 1), TEXT, INT64, TIMES, TIMES)
def test_encoded_write_responses(
    action: int, offset: int, digest: str, total: int, started: int, updated: int
) -> None:
    times = wire.encode_write_times(started, updated)
    data = wire.encode_write_response(action, offset, digest, total=total, times=times)
    message = pb.WriteContentResponse(action=action, offset=offset, digest=digest, total=total)
    message.started_at.FromNanoseconds(started)
    message.updated_at.FromNanoseconds(updated)
    assert data == message.SerializeToString(deterministic=True)


@given(INT64, st.binary(max_size=300))
def test_encoded_read_responses(offset: int, data: bytes) -> None:
    message = pb.ReadContentResponse.FromString(wire.encode_read_head(offset, len(data)) + data)
    assert (message.offset, message.data) == (offset, data)


@given(TEXT, INT64, st.integers(-(10**18), 10**18), TIMES, LABELS)
def test_infos(digest: str, size: int, created: int, updated: int, labels: dict[str, str]) -> None:
    row = wire.encode_info(digest, size, created, updated, labels)
    found = pb.InfoResponse.FromString(row).info
    assert (found.digest, found.size, dict(found.labels)) == (digest, size, labels)
    assert found.created_at.ToNanoseconds() == created
    assert found.updated_at.ToNanoseconds() == updated
    assert pb.ListContentResponse.FromString(row + row).info == [found, found]


@given(TEXT, INT64, INT64, TEXT, TIMES, TIMES)
def test_statuses(
    ref: str, offset: int, total: int, expected: str, started: int, updated: int
) -> None:
    row = wire.encode_status(
        wire.encode_status_parts(ref, started, total, expected), updated, offset
    )
    message = pb.StatusResponse()
    message.status.ref = ref
    message.status.offset = offset
    message.status.total = total
    message.status.expected = expected
    message.status.started_at.FromNanoseconds(started)
    message.status.updated_at.FromNanoseconds(updated)
    assert row == message.SerializeToString(deterministic=True)


@given(st.binary(min_size=1, max_size=20))
def test_refs_that_are_not_utf8_keep_their_bytes(ref: bytes) -> None:
    found = wire.decode_name(b"\x0a" + varint(len(ref)) + ref)
    row = wire.encode_status(wire.encode_status_parts(found, 0, 0, ""), 0, 0)
    assert row.endswith(varint(len(ref)) + ref)


MALFORMED = [
    b"\x08",  # ends within a field
    b"\x32\x05abcd",
    b"\x39\x00",  # fixed64, too short
    b"\x00\x01",  # field 0
    b"\x0c",  # the end of no group
    b"\x0b\x14",  # the end of another group
    b"\x0b",  # a group that doesn't end
    b"\x0e",  # kinds 6 and 7 don't exist
    b"\x0f",
    b"\x08" + b"\xff" * 10 + b"\x01",  # more than ten bytes for a number
    b"\x32\xff\xff\xff\xff\x0f",  # longer than any message
    b"\x83\x01" * 200,  # groups without end
    b"\x3a\x02\x0a\x05",  # a label that ends within its key
]


@pytest.mark.parametrize("message", MALFORMED)
def test_malformed(message: bytes) -> None:
    with pytest.raises(wire.Malformed):
        wire.decode_write_request(message)
    with pytest.raises(DecodeError):
        pb.WriteContentRequest.FromString(message)


def test_too_many_entries() -> None:
    filters = pb.ListContentRequest(filters=["x"] * (wire.MAX_ENTRIES + 1)).SerializeToString()
    with pytest.raises(wire.Malformed, match="filters"):
        wire.decode_filters(filters)
    many = {str(number): "" for number in range(wire.MAX_ENTRIES + 1)}
    with pytest.raises(wire.Malformed, match="labels"):
        wire.decode_write_request(pb.WriteContentRequest(labels=many).SerializeToString())


def test_data_is_not_copied() -> None:
    message = pb.WriteContentRequest(ref="r", data=b"x" * 1000).SerializeToString()
    found = wire.decode_write_request(message)
    assert found.data.obj is message


# -- the client's half


@given(REQUESTS)
def test_encoded_write_requests(message: pb.WriteContentRequest) -> None:
    made = wire.encode_write_request(
        message.action,
        ref=message.ref.encode(),
        total=message.total,
        expected=message.expected,
        offset=message.offset,
        data=message.data,
        labels=message.labels,
    )
    assert pb.WriteContentRequest.FromString(made) == message


@given(TEXT, st.integers(0, (1 << 63) - 1), st.integers(0, (1 << 63) - 1))
def test_encoded_read_requests(digest: str, offset: int, size: int) -> None:
    made = wire.encode_read_request(digest, offset, size)
    assert pb.ReadContentRequest.FromString(made) == pb.ReadContentRequest(
        digest=digest, offset=offset, size=size
    )
    assert wire.decode_read_request(made) == (digest, offset, size)


@given(st.integers(0, (1 << 63) - 1), st.integers(0, (1 << 63) - 1), TIMES)
def test_decoded_write_responses(offset: int, total: int, ns: int) -> None:
    at = Timestamp()
    at.FromNanoseconds(ns)
    message = pb.WriteContentResponse(
        action=1, started_at=at, updated_at=at, offset=offset, total=total, digest="sha256:é"
    )
    found = wire.decode_write_response(message.SerializeToString())
    assert found == (ns, ns, offset, total, "sha256:é")


@pytest.mark.parametrize("seconds", [-62135596800, -1, 253_402_300_800, 2**62])
def test_impossible_times_are_unknown(seconds: int) -> None:
    at = Timestamp()
    at.seconds = seconds
    message = pb.Status(started_at=at, ref="r").SerializeToString()
    assert wire.decode_status(message).started_ns == 0


def test_negative_counts_are_zero() -> None:
    message = pb.Status(ref="r", offset=-1, total=-(2**63)).SerializeToString()
    assert wire.decode_status(message)[3:5] == (0, 0)


@given(st.binary(max_size=200))
def test_any_response_is_decoded_or_malformed(message: bytes) -> None:
    for decode in (
        wire.decode_write_response,
        wire.decode_status,
        wire.decode_read_response,
        wire.submessages,
    ):
        with contextlib.suppress(wire.Malformed):
            decode(message)


@pytest.mark.parametrize(
    "message", [b"\x0a", b"\x0a\x05abc", b"\x80" * 12, b"\x0b", b"\x08", b"\x0d"]
)
def test_cut_and_garbled_responses_are_malformed(message: bytes) -> None:
    with pytest.raises(wire.Malformed):
        wire.submessages(message)


def test_data_of_a_read_response_is_not_copied() -> None:
    message = pb.ReadContentResponse(offset=5, data=b"x" * 1000).SerializeToString()
    data = wire.decode_read_response(message)
    assert bytes(data) == b"x" * 1000
    assert data.obj is message
    assert bytes(wire.decode_read_response(b"")) == b""
