"""Deletions, aborts and truncations are logged; everything else is the store's own."""

from __future__ import annotations

import pytest

from contentui.content.digest import Digest
from contentui.content.errors import ContentError
from contentui.content.helpers import put_blob
from contentui.content.model import Descriptor
from contentui.servers.grpc.audit import AuditedStore

HOSTILE = "a\x1b[2J\nb"


@pytest.fixture
def log():
    return []


@pytest.fixture
def store(memory, log):
    return AuditedStore(memory, log.append)


def test_deletions(store, log):
    info = put_blob(store, b"1")
    store.delete(info.digest)
    assert log == [f"deleted blob {info.digest}"]
    with pytest.raises(ContentError):
        store.delete(info.digest)
    assert len(log) == 1


def test_aborts_and_truncations(store, log):
    with store.writer(HOSTILE) as writer:
        writer.write(b"123")
        writer.truncate(0)
        writer.truncate(0)  # nothing was lost
        writer.write(b"45")
    store.truncate(HOSTILE)
    store.abort(HOSTILE)
    name = "a\\x1b[2J\\nb"
    assert log == [
        f"truncated ingest {name}: 3 B dropped",
        f"truncated ingest {name}",
        f"aborted ingest {name}",
    ]


def test_image_names(store, log):
    store.images.put(HOSTILE, Descriptor("kind", Digest.of(b"1"), 1))
    store.images.delete(HOSTILE)
    assert log == ["deleted image name a\\x1b[2J\\nb"]
    assert store.images.list() == []


def test_all_else_is_the_store_s(store, memory, log):
    with store.writer("x", total=3, labels={"a": "b"}) as writer:
        writer.write(b"123")
        assert writer.offset == 3
        assert writer.digest() == Digest.of(b"123")
        info = writer.commit()
    assert info.labels == {"a": "b"}
    assert store.info(info.digest) == memory.info(info.digest)
    assert store.traits == memory.traits
    assert store.name == memory.name
    assert log == []
