"""Messages by hand agree with the generated classes, and stand hostile bytes."""

from __future__ import annotations

import contextlib

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from contentui.content.digest import Digest
from contentui.content.errors import ContentError, DataLoss
from contentui.protocol import content_pb2 as pb
from contentui.stores.containerd import raw
from contentui.stores.containerd.statuses import Listing

NUMBERS = st.integers(0, 2**63 - 1)
SECONDS = st.integers(1, 253_402_300_799)


@given(
    action=st.sampled_from([0, 1, 2]),
    ref=st.text(max_size=20),
    total=NUMBERS,
    offset=NUMBERS,
    data=st.binary(max_size=300),
    labels=st.dictionaries(st.text(min_size=1), st.text(min_size=1), max_size=3),
)
def test_a_write_request_is_the_generated_ones(action, ref, total, offset, data, labels):
    made = raw.write_request(
        action,
        ref=ref.encode(),
        total=total,
        expected="sha256:x",
        offset=offset,
        data=data,
        labels=labels,
    )
    wanted = pb.WriteContentRequest(
        action=action,
        ref=ref,
        total=total,
        expected="sha256:x",
        offset=offset,
        data=data,
        labels=labels,
    )
    assert pb.WriteContentRequest.FromString(made) == wanted


@given(offset=NUMBERS, total=NUMBERS, seconds=SECONDS, nanos=st.integers(0, 999_999_999))
def test_an_answer_is_read_as_the_generated_class_reads_it(offset, total, seconds, nanos):
    at = Timestamp(seconds=seconds, nanos=nanos)
    message = pb.WriteContentResponse(
        action=1, started_at=at, updated_at=at, offset=offset, total=total, digest="sha256:é"
    )
    ns = seconds * 10**9 + nanos
    assert raw.answer(message.SerializeToString()) == (ns, ns, offset, total, "sha256:é")


@pytest.mark.parametrize("seconds", [-62135596800, -1, 253_402_300_800, 2**62])
def test_impossible_times_are_unknown(seconds):
    at = Timestamp()
    at.seconds = seconds
    message = pb.Status(started_at=at, ref="r").SerializeToString()
    assert raw.entry(message).started_ns == 0


def test_numbers_below_zero_are_zero():
    message = pb.Status(ref="r", offset=-1, total=-(2**63)).SerializeToString()
    assert raw.entry(message)[3:5] == (0, 0)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(message):
    for read in (raw.answer, raw.entry, raw.piece, lambda each: list(raw.inner(each))):
        with contextlib.suppress(ContentError):
            read(message)
    with contextlib.suppress(ContentError):
        Listing("n").read(message)


@pytest.mark.parametrize(
    "message", [b"\x0a", b"\x0a\x05abc", b"\x80" * 12, b"\x0b", b"\x08", b"\x0d"]
)
def test_cut_and_garbled_messages_are_refused(message):
    with pytest.raises(DataLoss):
        raw.fields(message)


def test_a_piece_is_the_data_and_no_copy():
    message = pb.ReadContentResponse(offset=5, data=b"x" * 1000).SerializeToString()
    piece = raw.piece(message)
    assert bytes(piece) == b"x" * 1000
    assert piece.obj is message
    assert bytes(raw.piece(b"")) == b""


def listed(*statuses):
    return pb.ListStatusesResponse(statuses=statuses).SerializeToString()


def test_a_listing_keeps_what_did_not_change():
    one, two = pb.Status(ref="a", offset=1), pb.Status(ref="layer-" + Digest.of(b"x"), offset=2)
    listing = Listing("k8s.io")
    first = listing.read(listed(one, two))
    assert listing.read(listed(one, two)) is first
    two.offset = 3
    second = listing.read(listed(one, two))
    assert second[0] is first[0]
    assert (second[1].offset, second[1].id) == (3, first[1].id)
    assert (second[1].namespace, second[1].expected) == ("k8s.io", Digest.of(b"x"))
    assert listing.read(b"") == []


def test_an_expected_digest_that_is_none_is_left_out():
    [status] = Listing("").read(listed(pb.Status(ref="r", expected="md5:x")))
    assert status.expected is None
