"""Blobs: information, walking, reading, deleting."""

from __future__ import annotations

import time

import pytest

from contentui.content.digest import EMPTY, Digest
from contentui.content.errors import Changed, InvalidArgument, NotFound, OutOfRange
from contentui.content.helpers import disk_usage, list_digests

ABSENT = Digest.of(b"never stored")
DATA = bytes(range(256)) * 5000


def names(infos):
    return sorted(info.digest for info in infos)


def test_a_new_store_is_empty(store):
    assert list(store.walk()) == []
    assert store.statuses() == []
    assert list_digests(store) == []


def test_it_says_what_it_can(store):
    assert store.traits.read_only_reason == ""
    assert "sha256" in store.traits.algorithms
    assert store.roles.lock_holders is not None
    assert store.name


def test_info_tells_size_times_and_labels(store):
    before = time.time_ns()
    digest = store.put(DATA, labels={"k": "v"}).digest
    info = store.info(digest)
    assert info.digest == digest == Digest.of(DATA)
    assert info.size == len(DATA)
    # File systems stamp with the kernel's coarse clock, up to a tick behind.
    assert before - 20_000_000 <= info.committed_ns <= time.time_ns()
    assert before - 20_000_000 <= info.updated_ns <= time.time_ns()
    assert info.labels == {"k": "v"}


def test_info_of_nothing_is_not_found(store):
    with pytest.raises(NotFound):
        store.info(ABSENT)


def test_info_and_walk_agree(store):
    store.put_many([b"a", b"b", b""], labels={"k": "v"})
    assert all(store.info(info.digest) == info for info in store.walk())


def test_walk_finds_every_blob_of_every_algorithm(store):
    wanted = {store.put(f"blob {number}".encode()).digest for number in range(30)}
    for algorithm in ("sha384", "sha512"):
        wanted.add(store.put(b"other", expected=Digest.of(b"other", algorithm)).digest)
    assert names(store.walk()) == sorted(wanted)
    assert sorted(list_digests(store)) == sorted(wanted)


@pytest.fixture
def labelled(store):
    """Three blobs: a with x=1 y=2, b with x=2 and a label of dots and slashes, c without."""
    a = store.put(b"a", labels={"x": "1", "y": "2"}).digest
    b = store.put(b"b", labels={"x": "2", "containerd.io/gc.root": "now"}).digest
    return {"a": a, "b": b, "c": store.put(b"c").digest}


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ([], "abc"),
        ([""], "abc"),
        (["labels.x==1", ""], "abc"),
        (["labels.x"], "ab"),
        (["labels.x==1"], "a"),
        (["labels.x!=1"], "bc"),
        (["labels.x~=^[12]$"], "ab"),
        (["labels.x==2,labels.y"], ""),
        (["labels.x==1,labels.y==2"], "a"),
        (["labels.x==1", "labels.x==2"], "ab"),
        (['labels."containerd.io/gc.root"'], "b"),
        (['labels.containerd."io/gc.root"'], "b"),
        (['labels.containerd.io."gc.root"'], ""),
        (["digest~=^sha256:"], "abc"),
        ([f"digest=={Digest.of(b'a')}"], "a"),
        ([f"digest!={Digest.of(b'a')}"], "bc"),
        (["size"], ""),
        (["size==1"], ""),
        (["labels"], ""),
        (["layer"], ""),
        (["digest~=["], ""),
    ],
)
def test_walk_filters(store, labelled, filters, wanted):
    assert names(store.walk(filters)) == sorted(labelled[key] for key in wanted)


def test_a_bad_filter_is_refused_before_anything_is_yielded(store, labelled):
    with pytest.raises(InvalidArgument, match="filters: parse error"):
        next(iter(store.walk(["labels.x", "^x"])))


def test_walk_goes_on_when_blobs_vanish_or_come_meanwhile(store):
    digests = [store.put(f"{number}".encode()).digest for number in range(50)]
    walk = store.walk()
    first = next(walk)
    for digest in digests:
        store.delete(digest)
    store.put(b"new")
    rest = [info.digest for info in walk]
    assert first.digest in digests
    assert len(rest) == len(set(rest))


def test_reader_is_random_access(store):
    digest = store.put(DATA).digest
    with store.reader(digest) as reader:
        assert reader.size == len(DATA)
        assert reader.read_at(len(DATA), 0) == DATA
        assert reader.read_at(10, 1000) == DATA[1000:1010]
        assert reader.read_at(10, 5) == DATA[5:15]  # backwards
        assert reader.read_at(1, len(DATA) - 1) == DATA[-1:]
        assert reader.read_at(0, 7) == b""


def test_reader_ends_where_the_blob_ends(store):
    with store.reader(store.put(DATA).digest) as reader:
        assert reader.read_at(100, len(DATA) - 3) == DATA[-3:]
        assert reader.read_at(100, len(DATA)) == b""
        assert reader.read_at(100, len(DATA) + 10**12) == b""


def test_reader_refuses_negative_offsets(store):
    with store.reader(store.put(DATA).digest) as reader, pytest.raises(OutOfRange):
        reader.read_at(1, -1)


def test_reader_of_nothing_is_not_found(store):
    with pytest.raises(NotFound):
        store.reader(ABSENT)


def test_reader_closes_twice(store):
    reader = store.reader(store.put(b"x").digest)
    reader.close()
    reader.close()


def test_reader_of_the_empty_blob(store):
    assert store.put(b"").digest == EMPTY
    with store.reader(EMPTY) as reader:
        assert reader.size == 0
        assert reader.read_at(10, 0) == b""


def test_a_reader_outlives_its_blob(store):
    digest = store.put(DATA).digest
    with store.reader(digest) as reader:
        store.delete(digest)
        assert reader.read_at(len(DATA), 0) == DATA


def test_delete_removes_blob_and_labels(store):
    digest = store.put(b"x", labels={"k": "v"}).digest
    store.delete(digest)
    assert list_digests(store) == []
    assert list(store.walk()) == []
    with pytest.raises(NotFound):
        store.info(digest)
    with pytest.raises(NotFound):
        store.reader(digest)
    assert store.put(b"x").labels == {}


def test_delete_of_nothing_is_not_found(store):
    with pytest.raises(NotFound):
        store.delete(ABSENT)
    with pytest.raises(NotFound):
        store.delete(ABSENT, if_match=store.put(b"x"))


def test_delete_takes_what_was_seen(store):
    info = store.put(b"x")
    store.delete(info.digest, if_match=info)
    assert list_digests(store) == []


@pytest.mark.parametrize("field", ["size", "committed_ns"])
def test_delete_refuses_what_was_not_seen(store, field):
    info = store.put(b"x")
    with pytest.raises(Changed):
        store.delete(info.digest, if_match=info._replace(**{field: getattr(info, field) + 1}))
    assert store.info(info.digest) == info


def test_new_labels_are_no_reason_to_refuse_a_delete(store):
    info = store.put(b"x")
    store.update(info.digest, {"k": "v"})
    store.delete(info.digest, if_match=info)


def test_the_version_differs_after_blobs_came_or_went(store):
    versions = store.roles.blob_versions
    if versions is None:
        pytest.skip("this store has no version token")
    seen = [versions.blobs_version()]
    assert versions.blobs_version() == seen[0]
    digest = store.put(b"put").digest
    seen.append(versions.blobs_version())
    with store.writer("r") as writer:
        writer.write(b"written")
        writer.commit()
    seen.append(versions.blobs_version())
    store.delete(digest)
    seen.append(versions.blobs_version())
    assert len(set(seen)) == len(seen)


def test_the_version_sees_what_others_do(store, open_again):
    other = open_again()
    versions = store.roles.blob_versions
    if versions is None:
        pytest.skip("this store has no version token")
    before = versions.blobs_version()
    other.put(b"x")
    assert versions.blobs_version() != before


def test_another_view_sees_the_same(store, open_again):
    info = store.put(DATA, labels={"k": "v"})
    other = open_again()
    assert other.info(info.digest) == info
    assert list(other.walk()) == [info]


def test_usage_is_none_or_sane(store):
    usage = disk_usage(store)
    assert usage is None or 0 <= usage.free <= usage.total


def test_close_twice(store):
    store.close()
    store.close()
