"""The names of images: durable, shared between views, and roots of what they name."""

from __future__ import annotations

import threading

import pytest
from idents import namespace

from contentui.content.digest import Digest
from contentui.content.errors import Changed, InvalidArgument, NotFound
from contentui.content.model import Descriptor, Root

INDEX = "application/vnd.oci.image.index.v1+json"
ONE = Descriptor(INDEX, Digest.of(b"one"), 3)
OTHER = Descriptor(INDEX, Digest.of(b"other"), 5)
HOSTILE = ["\x1b[2J", "a\nb", "a\0b", "'; DROP TABLE images; --", "\u202e", "n" * 4096, "é" * 2048]


def test_at_first_there_is_none(store):
    assert store.images.list() == []
    assert store.roots() == []
    with pytest.raises(NotFound):
        store.images.get("redis")
    with pytest.raises(NotFound):
        store.images.delete("redis")


def test_a_name_stands_for_its_target_in_every_view(store, open_again):
    made = store.images.put("redis", ONE, {"k": "v"})
    assert (made.name, made.target, dict(made.labels)) == ("redis", ONE, {"k": "v"})
    assert 0 < made.created_ns == made.updated_ns
    for view in (store, open_again()):
        assert view.images.get("redis") == made
        assert view.images.list() == [made]
        assert view.roots() == [Root("image", "redis", ONE.digest, namespace(store))]


def test_naming_again_replaces_and_keeps_the_beginning(store):
    first = store.images.put("redis", ONE, {"k": "v"})
    second = store.images.put("redis", OTHER)
    assert (second.target, dict(second.labels)) == (OTHER, {"k": "v"})
    assert second.created_ns == first.created_ns < second.updated_ns
    third = store.images.put("redis", OTHER, {"empty": ""})
    assert dict(third.labels) == {}
    assert store.images.list() == [third]


def test_they_are_sorted_by_name(store):
    for name in ("c", "a", "B"):
        store.images.put(name, ONE)
    assert [image.name for image in store.images.list()] == ["B", "a", "c"]


def test_deleting_forgets_the_name_alone(store, open_again):
    info = store.put(b"one")
    store.images.put("a", ONE)
    store.images.put("b", ONE)
    open_again().images.delete("a")
    assert [image.name for image in store.images.list()] == ["b"]
    assert store.info(info.digest) == info
    with pytest.raises(NotFound):
        store.images.delete("a")


def test_what_stands_for_something_else_now_is_left_alone(store):
    seen = store.images.put("a", ONE)
    now = store.images.put("a", OTHER)
    with pytest.raises(Changed):
        store.images.delete("a", if_match=seen)
    assert store.images.list() == [now]
    store.images.delete("a", if_match=now)
    assert store.images.list() == []


def test_the_same_target_named_again_may_be_deleted_as_seen(store):
    seen = store.images.put("a", ONE)
    store.images.put("a", ONE)
    store.images.delete("a", if_match=seen)
    assert store.images.list() == []


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_are_kept_exactly(store, open_again, name):
    store.images.put(name, ONE)
    assert open_again().images.get(name).name == name
    store.images.delete(name)
    assert store.images.list() == []


@pytest.mark.parametrize("name", ["", "n" * 4097, "é" * 2049, "\udc80"], ids=range(4))
def test_what_is_no_name_is_refused(store, name):
    with pytest.raises(InvalidArgument):
        store.images.put(name, ONE)
    with pytest.raises(NotFound):
        store.images.get(name)
    with pytest.raises(NotFound):
        store.images.delete(name)
    assert store.images.list() == []


@pytest.mark.parametrize(
    ("target", "labels"),
    [
        (ONE._replace(media_type="m" * 4097), None),
        (ONE._replace(media_type="\udc80"), None),
        (ONE._replace(size=-1), None),
        (ONE._replace(size=1 << 63), None),
        (ONE, {"": "v"}),
        (ONE, {"k": "v" * 4096}),
        (ONE, {"k": "\udc80"}),
    ],
)
def test_what_no_store_keeps_is_refused(store, target, labels):
    store.images.put("a", OTHER)
    with pytest.raises(InvalidArgument):
        store.images.put("a", target, labels)
    assert store.images.get("a").target == OTHER


def test_many_threads_lose_no_name(store, open_again):
    def name(number):
        view = open_again()
        for turn in range(8):
            view.images.put(f"{number}/{turn}", ONE)
        view.images.delete(f"{number}/0")

    threads = [threading.Thread(target=name, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wanted = {f"{number}/{turn}" for number in range(6) for turn in range(1, 8)}
    assert {image.name for image in store.images.list()} == wanted
