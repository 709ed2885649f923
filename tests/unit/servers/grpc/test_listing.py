"""A listing that has not changed is encoded once, and is never an old one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from contentui.protocol.content_pb2 import ListContentResponse
from contentui.servers.grpc.listing import BlobLister
from contentui.stores.local.store import LocalStore
from contentui.stores.memory import MemoryStore

if TYPE_CHECKING:
    from pathlib import Path


class Counting(LocalStore):
    walks = 0

    def walk(self, filters=()):
        self.walks += 1
        return super().walk(filters)


def listed(listing: BlobLister) -> dict[str, dict[str, str]]:
    return {
        info.digest: dict(info.labels)
        for message in listing.messages(())
        for info in ListContentResponse.FromString(message).info
    }


@pytest.fixture
def store(tmp_path: Path) -> Counting:
    return Counting(str(tmp_path))


def test_it_is_kept_once_nothing_changed_for_a_while(store: Counting) -> None:
    digests = {store.put(bytes([n])).digest for n in range(250)}
    listing = BlobLister(store, 100)
    assert listed(listing).keys() == digests
    time.sleep(0.12)
    assert listed(listing).keys() == digests
    walks = store.walks
    assert listed(listing).keys() == digests
    assert store.walks == walks


def test_each_change_is_seen_at_once(store: Counting) -> None:
    listing = BlobLister(store, 100)
    there: dict[str, dict[str, str]] = {}
    for n in range(40):
        if n % 10 == 5:
            time.sleep(0.12)  # long enough for the listings before it to be kept
            assert listed(listing) == there
        digest = store.put(bytes([n])).digest
        there[digest] = {}
        assert listed(listing) == there
        store.update(digest, {"n": str(n)}, ["labels.n"])
        there[digest] = {"n": str(n)}
        assert listed(listing) == there
        if n % 3 == 2:
            store.delete(digest)
            del there[digest]
            assert listed(listing) == there


def test_a_store_without_a_version_is_listed_anew() -> None:
    store = MemoryStore()
    listing = BlobLister(store, 100)
    for n in range(3):
        store.put(bytes([n]))
        time.sleep(0.11)
        assert len(listed(listing)) == n + 1
