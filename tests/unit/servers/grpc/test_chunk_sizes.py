"""The sizes of messages: full for a few readers, small for many until they take them."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import islice

from contentui.servers.grpc.read import ChunkSizer

MIB = 1 << 20
KIB = 1 << 10


def test_one_reader_gets_full_messages_at_once() -> None:
    with ChunkSizer(MIB).sizes() as sizes:
        assert list(islice(sizes, 20)) == [MIB] * 20


def test_a_ninth_reader_gets_little_until_it_has_taken_some() -> None:
    sizer = ChunkSizer(MIB)
    with ExitStack() as readers:
        for _ in range(8):
            readers.enter_context(sizer.sizes())
        ninth = readers.enter_context(sizer.sizes())
        assert list(islice(ninth, 7)) == [n * KIB for n in (32, 32, 32, 32, 64, 128, 256)]
        share = 8 * MIB // 9
        assert list(islice(ninth, 4)) == [512 * KIB, share, share, share]


def test_a_reader_has_full_messages_again_when_the_others_have_gone() -> None:
    sizer = ChunkSizer(MIB)
    with sizer.sizes() as first:
        with ExitStack() as others:
            for _ in range(300):
                others.enter_context(sizer.sizes())
            assert max(islice(first, 100)) == 32 * KIB
        assert next(first) == MIB


def test_what_300_readers_hold_that_take_nothing() -> None:
    sizer = ChunkSizer(MIB)
    with ExitStack() as readers:
        sizes = [readers.enter_context(sizer.sizes()) for _ in range(300)]
        assert sum(next(one) for one in sizes) < 10 * MIB


def test_short_messages_stay_short() -> None:
    with ChunkSizer(1000).sizes() as sizes:
        assert list(islice(sizes, 10)) == [1000] * 10
