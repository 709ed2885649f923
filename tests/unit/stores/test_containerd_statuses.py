"""Lists of ingests from a daemon: unchanged ones are kept, hostile bytes are refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contentui.content.digest import Digest
from contentui.content.errors import ContentError, DataLoss
from contentui.protocol import content_pb2 as pb
from contentui.stores.containerd.statuses import StatusDecoder


def listed(*statuses):
    return pb.ListStatusesResponse(statuses=statuses).SerializeToString()


def test_a_list_keeps_what_did_not_change():
    one, two = pb.Status(ref="a", offset=1), pb.Status(ref="layer-" + Digest.of(b"x"), offset=2)
    decoder = StatusDecoder("k8s.io")
    first = decoder.list(listed(one, two))
    assert decoder.list(listed(one, two)) is first
    two.offset = 3
    second = decoder.list(listed(one, two))
    assert second[0] is first[0]
    assert (second[1].offset, second[1].id) == (3, first[1].id)
    assert (second[1].namespace, second[1].expected) == ("k8s.io", Digest.of(b"x"))
    assert decoder.list(b"") == ()


def test_an_expected_digest_that_is_invalid_is_left_out():
    [status] = StatusDecoder("").list(listed(pb.Status(ref="r", expected="md5:x")))
    assert status.expected is None


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(message):
    with contextlib.suppress(ContentError):
        StatusDecoder("n").list(message)


@pytest.mark.parametrize("message", [b"\x0a", b"\x0a\x05abc", b"\x0a\x01\x0a"])
def test_a_garbled_list_is_refused(message):
    with pytest.raises(DataLoss, match="cannot be decoded"):
        StatusDecoder("n").list(message)
