"""Content that is whole in memory: put, one by one and in groups."""

from __future__ import annotations

import os

import pytest

from contentui.content.digest import EMPTY, Digest
from contentui.content.errors import FailedPrecondition
from contentui.content.helpers import list_digests


def content(store, digest):
    with store.reader(digest) as reader:
        return reader.read_at(reader.size + 1, 0)


@pytest.mark.parametrize("size", [0, 1, 4096, 3_000_000])
def test_put_stores_what_it_is_given(store, size):
    data = os.urandom(size)
    info = store.put(data, labels={"k": "v"})
    assert (info.digest, info.size, info.labels) == (Digest.of(data), size, {"k": "v"})
    assert store.info(info.digest) == info
    assert content(store, info.digest) == data


def test_put_shows_no_ingest(store):
    store.put(b"x")
    store.put_many([b"y", b"z"])
    assert store.statuses() == []


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_put_under_an_expected_digest(store, algorithm):
    digest = Digest.of(b"x", algorithm)
    assert store.put(b"x", expected=digest).digest == digest
    assert list_digests(store) == [digest]


def test_put_of_what_is_not_expected_is_refused(store):
    with pytest.raises(FailedPrecondition):
        store.put(b"x", expected=Digest.of(b"y"))
    assert list_digests(store) == []
    assert store.statuses() == []


def test_put_of_what_is_not_expected_is_refused_though_the_expected_exists(store):
    digest = store.put(b"y").digest
    with pytest.raises(FailedPrecondition):
        store.put(b"x", expected=digest)
    assert list_digests(store) == [digest]


def test_put_again_is_success_and_keeps_the_labels(store):
    first = store.put(b"x", labels={"old": "1"})
    assert store.put(b"x", labels={"new": "2"}) == first
    assert store.put_many([b"x"], labels={"new": "2"}) == [first]
    assert list(store.walk()) == [first]


def test_put_many_answers_in_order(store):
    items = [f"item {number}".encode() for number in range(300)]
    infos = store.put_many(items, labels={"k": "v"})
    assert [info.digest for info in infos] == [Digest.of(item) for item in items]
    assert sorted(list_digests(store)) == sorted(info.digest for info in infos)
    assert all(store.info(info.digest) == info for info in infos)
    assert {info.labels["k"] for info in infos} == {"v"}


def test_put_many_takes_duplicates_and_what_exists(store):
    old = store.put(b"old", labels={"k": "old"})
    infos = store.put_many([b"a", b"old", b"a", b"", b"a"], labels={"k": "new"})
    assert [info.digest for info in infos[:4]] == [
        Digest.of(b"a"),
        old.digest,
        Digest.of(b"a"),
        EMPTY,
    ]
    assert infos[0] == infos[2] == infos[4]
    assert infos[1] == old
    assert len(list_digests(store)) == 3


def test_put_many_takes_a_generator(store):
    assert len(store.put_many(str(number).encode() for number in range(50))) == 50
    assert store.put_many(iter(())) == []
    assert len(list_digests(store)) == 50


def test_put_many_that_breaks_off_leaves_whole_blobs_and_no_ingest(store):
    def items():
        yield b"a"
        yield b"b"
        raise RuntimeError("the source ended")

    with pytest.raises(RuntimeError, match="the source ended"):
        store.put_many(items())
    assert store.statuses() == []
    assert set(list_digests(store)) <= {Digest.of(b"a"), Digest.of(b"b")}
    assert all(Digest.of(content(store, digest)) == digest for digest in list_digests(store))
    assert len(store.put_many([b"a", b"b"])) == 2


def test_put_leaves_an_ingest_of_the_same_content_alone(store):
    with store.writer("r") as writer:
        writer.write(b"x")
        store.put(b"x")
        assert writer.offset == store.status("r").offset == 1
