"""The store that refuses."""

from __future__ import annotations

import pytest

from contentui.content.digest import Digest
from contentui.content.errors import ReadOnly
from contentui.content.store import Capability
from contentui.stores.memory import MemoryStore
from contentui.stores.readonly import ReadOnlyStore

REASON = "this is a containerd's own root; use --store unix:///run/containerd/containerd.sock"


@pytest.fixture
def inner():
    store = MemoryStore("inner")
    store.put(b"x", labels={"k": "v"})
    store.writer("r").close()
    return store


@pytest.fixture
def store(inner):
    return ReadOnlyStore(inner, REASON)


DIGEST = Digest.of(b"x")

CHANGES = {
    "update": lambda store: store.update(DIGEST, {}),
    "delete": lambda store: store.delete(DIGEST),
    "writer": lambda store: store.writer("new"),
    "writer of an old ref": lambda store: store.writer("r"),
    "abort": lambda store: store.abort("r"),
    "forced abort": lambda store: store.abort("r", force=True),
    "truncate": lambda store: store.truncate("r"),
    "put": lambda store: store.put(b"y"),
    "put of what exists": lambda store: store.put(b"x"),
    "put_many": lambda store: store.put_many([b"y"]),
    "put_many of nothing": lambda store: store.put_many([]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_is_refused_with_the_way_out(store, inner, change):
    before = inner.version(), inner.statuses(), list(inner.walk())
    with pytest.raises(ReadOnly) as caught:
        change(store)
    assert caught.value.advice == REASON
    assert (inner.version(), inner.statuses(), list(inner.walk())) == before


def test_a_refused_group_is_not_begun(store):
    def items():
        raise AssertionError("the source was read")
        yield b""

    with pytest.raises(ReadOnly):
        store.put_many(items())


def test_everything_else_passes(store, inner):
    status = inner.status("r")
    assert store.name == "inner"
    assert store.info(DIGEST) == inner.info(DIGEST)
    assert list(store.walk(["labels.k"])) == list(inner.walk())
    assert store.reader(DIGEST).read_at(9, 0) == b"x"
    assert store.status("r") == status
    assert store.statuses(["ref==r"]) == [status]
    assert store.refresh([status]) == [status]
    with inner.writer("r"):
        assert set(store.holders([status.id])) == {status.id}
    assert (store.version(), store.digests()) == (inner.version(), inner.digests())
    assert store.usage() is None
    store.close()


def test_the_capability_is_gone_and_the_reason_is_there(store, inner):
    assert Capability.WRITE not in store.capabilities
    assert store.capabilities | Capability.WRITE == inner.capabilities
    assert store.read_only_reason == REASON
