"""Labels: field masks and bounds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from contentui.content.digest import Digest
from contentui.content.errors import InvalidArgument, NotFound
from contentui.content.helpers import list_digests

OLD = {"a": "1", "b": "2", "containerd.io/gc.root": "now"}


@pytest.fixture
def info(store):
    return store.put(b"labelled", labels=OLD)


@pytest.mark.parametrize(
    ("given", "mask", "wanted"),
    [
        ({"c": "3"}, (), {"c": "3"}),
        ({}, (), {}),
        ({"c": "3"}, ("labels",), {"c": "3"}),
        ({}, ("labels",), {}),
        ({"c": "3", "d": ""}, (), {"c": "3"}),
        ({"a": "9"}, ("labels.a",), {**OLD, "a": "9"}),
        ({"c": "3"}, ("labels.c",), {**OLD, "c": "3"}),
        ({"c": "3", "a": "9"}, ("labels.c",), {**OLD, "c": "3"}),
        ({}, ("labels.a",), {"b": "2", "containerd.io/gc.root": "now"}),
        ({"a": ""}, ("labels.a",), {"b": "2", "containerd.io/gc.root": "now"}),
        ({}, ("labels.nothing",), OLD),
        ({"a": "8", "b": "9"}, ("labels.a", "labels.b"), {**OLD, "a": "8", "b": "9"}),
        ({"b": "9"}, ("labels.a", "labels.b"), {"b": "9", "containerd.io/gc.root": "now"}),
        ({}, ("labels.containerd.io/gc.root",), {"a": "1", "b": "2"}),
        ({"x.y/z.w": "1"}, ("labels.x.y/z.w",), {**OLD, "x.y/z.w": "1"}),
        ({"labels": "1"}, ("labels.labels",), {**OLD, "labels": "1"}),
        ({" ": "\n"}, ("labels. ",), {**OLD, " ": "\n"}),
        ({"é": "ü€😀"}, ("labels.é",), {**OLD, "é": "ü€😀"}),
    ],
)
def test_masks(store, info, given, mask, wanted):
    changed = store.update(info.digest, given, mask)
    assert changed.labels == wanted
    assert store.info(info.digest) == changed
    assert (changed.size, changed.committed_ns) == (info.size, info.committed_ns)
    assert changed.updated_ns >= info.updated_ns


@pytest.mark.parametrize(
    "mask",
    [
        ("size",),
        ("digest",),
        ("created_at",),
        ("label",),
        ("labelsx",),
        ("labels.",),
        ("",),
        ("labels.a", "size"),
        ("labels", "updated_at"),
    ],
)
def test_another_path_is_refused_and_nothing_changes(store, info, mask):
    with pytest.raises(InvalidArgument):
        store.update(info.digest, {"a": "9", "": "x"}, mask)
    assert store.info(info.digest) == info


def test_update_moves_only_its_time(store, info, open_again):
    changed = store.update(info.digest, {"a": "9"}, ("labels.a",))
    assert changed.updated_ns > info.updated_ns
    assert open_again().info(info.digest) == changed


def test_update_of_nothing_is_not_found(store):
    with pytest.raises(NotFound):
        store.update(Digest.of(b"never stored"), {"a": "1"})


@pytest.mark.parametrize("key", ["k", "k" * 4096, "é"], ids=["long value", "long key", "é"])
def test_the_longest_label(store, info, key):
    value = "v" * (4096 - len(key.encode()))
    assert store.update(info.digest, {key: value}, (f"labels.{key}",)).labels.get(key, "") == value


@pytest.mark.parametrize(
    ("key", "value"),
    [("k", "v" * 4096), ("k" * 4097, ""), ("é" * 2048, "v"), ("", "v"), ("k", "\udcff")],
    ids=["long value", "long key", "long in UTF-8", "no key", "no text"],
)
def test_a_label_too_long_or_without_key_or_that_is_no_text_is_refused(store, info, key, value):
    labels = {key: value or "v", "fine": "1"}
    with pytest.raises(InvalidArgument):
        store.update(info.digest, labels)
    assert store.info(info.digest) == info


def test_put_refuses_labels_that_are_too_long(store):
    with pytest.raises(InvalidArgument):
        store.put(b"x", labels={"k": "v" * 4096})
    with pytest.raises(InvalidArgument):
        store.put_many([b"x"], labels={"k": "v" * 4096})
    assert list_digests(store) == []


def test_commit_refuses_labels_that_are_too_long_and_keeps_the_ingest(store):
    with store.writer("r") as writer:
        writer.write(b"x")
        with pytest.raises(InvalidArgument):
            writer.commit(labels={"k": "v" * 4096})
    assert store.status("r").offset == 1
    assert list_digests(store) == []
    with store.writer("r") as writer:
        assert writer.commit().digest == Digest.of(b"x")


def test_opening_with_labels_that_are_too_long_never_makes_a_blob(store):
    def ingest():
        with store.writer("r", labels={"k": "v" * 4096}) as writer:
            writer.write(b"x")
            writer.commit()

    with pytest.raises(InvalidArgument):
        ingest()
    assert list_digests(store) == []


def test_a_label_can_be_found_after_an_update(store, info):
    store.update(info.digest, {"new.key": "v"}, ("labels.new.key",))
    assert [found.digest for found in store.walk(["labels.new.key==v"])] == [info.digest]


def test_a_deleted_blob_takes_its_labels_along(store, info):
    store.delete(info.digest)
    assert store.put(b"labelled").labels == {}


def test_a_hostile_label_comes_back_as_it_was(store, info):
    labels = {"\x1b[31m\n\x00": "\u202e' OR 1=1 --"}
    assert store.update(info.digest, labels).labels == labels
    assert store.info(info.digest).labels == labels


def test_the_callers_mapping_is_not_kept(store):
    labels = {"k": "v"}
    info = store.put(b"x", labels=labels)
    labels["k"] = "changed"
    assert store.info(info.digest).labels == {"k": "v"}


def test_many_threads_label_one_blob(store, info):
    def label(number):
        for turn in range(5):
            key = f"{number}.{turn}"
            store.update(info.digest, {key: "v"}, (f"labels.{key}",))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(label, range(4)))
    assert len(store.info(info.digest).labels) == len(OLD) + 20
