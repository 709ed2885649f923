"""What is the memory store's own: its name, its clock, its independence."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from contentui.content.helpers import disk_usage
from contentui.stores.memory import MemoryStore

if TYPE_CHECKING:
    from contentui.content.store import Store


def test_its_name():
    assert MemoryStore().name == "memory"
    assert MemoryStore("mine").name == "mine"


def test_its_clock():
    ticks = itertools.count(1000)
    store = MemoryStore(clock=lambda: next(ticks))
    assert store.put(b"x").committed_ns == 1000
    with store.writer("r") as writer:
        started = writer.status().started_ns
        writer.write(b"y")
        assert writer.status().updated_ns > started
        assert writer.commit().committed_ns > started
    assert store.update(store.put(b"x").digest, {"k": "v"}).updated_ns > 1000


def test_two_stores_share_nothing():
    one, other = MemoryStore(), MemoryStore()
    one.put(b"x")
    with one.writer("r"), other.writer("r"):
        assert other.digests() == []
        assert len(other.statuses()) == 1


def test_it_is_a_store():
    store: Store = MemoryStore()
    assert disk_usage(store) is None
