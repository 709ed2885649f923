"""Refs are hostile text, and come back as they went in."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from idents import ident

from contentui.content.digest import Digest
from contentui.content.errors import InvalidArgument
from contentui.content.model import parse_ref_argument, ref_argument

LONGEST = 64 * 1024

HOSTILE = [
    "with space",
    " ",
    "/",
    "..",
    "../../../../tmp/x",
    "/etc/passwd",
    "new\nline",
    "\n",
    "\r\n",
    "NUL\x00inside",
    "\x00",
    "\x1b[2J\x1b]0;title\x07",
    "\x9b31m",
    "\u202egnp.exe",
    "\udcff\udcfe invalid UTF-8",
    "\udc80",
    "é😀",
    "id:" + "0" * 64,
    "-rf",
    "--force",
    "*",
    "$(reboot)",
    "'; DROP TABLE labels; --",
    "0" * 64,
    "sha256:" + "0" * 64,
    "x" * 255,
    "x" * 5000,
    "x" * LONGEST,
    "é" * (LONGEST // 2),
    "\udcff" * LONGEST,
]


def life(store, ref):
    """All that an ingest can go through, under this name."""
    with store.writer(ref) as writer:
        assert writer.ref == ref
        writer.write(b"x")
    status = store.status(ref)
    assert (status.ref, status.id, status.damage) == (ref, ident(store, ref), "")
    assert store.statuses() == [status]
    assert store.refresh([status]) == [status]
    assert store.status(parse_ref_argument(ref_argument(status))) == status
    store.truncate(ref, if_match=status)
    with store.writer(ref) as writer:
        assert set(store.holders([status.id])) == {status.id}
        writer.write(ref.encode("utf-8", "surrogateescape"))
        assert writer.commit().digest == Digest.of(ref.encode("utf-8", "surrogateescape"))
    with store.writer(ref):
        pass
    store.abort(ref)
    assert store.statuses() == []


@pytest.mark.parametrize("ref", HOSTILE, ids=lambda ref: ascii(ref)[1:20])
def test_hostile_refs_live_a_whole_life(store, ref):
    life(store, ref)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    ref=st.binary(min_size=1, max_size=300).map(lambda ref: ref.decode("utf-8", "surrogateescape"))
)
def test_any_bytes_are_a_ref(store, ref):
    life(store, ref)


def test_hostile_refs_side_by_side(store):
    for ref in HOSTILE:
        store.writer(ref).close()
    assert sorted(status.ref for status in store.statuses()) == sorted(HOSTILE)
    assert len(store.statuses(['ref~="."'])) == len(HOSTILE) - 1  # a lone newline is no '.'
    assert [status.ref for status in store.statuses(['ref=="NUL\\x00inside"'])] == ["NUL\x00inside"]
    assert [status.ref for status in store.statuses(['ref=="\\x80"'])] == ["\udc80"]


@pytest.mark.parametrize(
    "ref",
    ["", "x" * (LONGEST + 1), "é" * (LONGEST // 2) + "x", "x" * 100_000, "\ud800"],
    ids=["empty", "64 KiB and one", "64 KiB and one in UTF-8", "100 kB", "half a pair"],
)
def test_what_is_no_ref_is_refused(store, ref):
    with pytest.raises(InvalidArgument):
        store.writer(ref)
    assert store.statuses() == []
