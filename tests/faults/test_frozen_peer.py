"""A process that is stopped in the middle of a step must not hang all others for ever."""

from __future__ import annotations

import fcntl

import pytest

from contentui.content.digest import Digest
from contentui.content.errors import Unavailable
from contentui.stores.local import labels
from contentui.stores.local.store import LocalStore


def test_whoever_waits_for_labels_gives_up_and_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(labels, "_BUSY_TIMEOUT_S", 0.2)
    store = LocalStore(str(tmp_path))
    kept = store.put(b"kept", labels={"a": "b"})
    with (tmp_path / ".contentui" / "naming").open("rb+") as frozen:
        fcntl.flock(frozen, fcntl.LOCK_EX)
        with pytest.raises(Unavailable, match="naming locked"):
            store.delete(kept.digest)
        with pytest.raises(Unavailable, match="naming locked"):
            store.put(b"new", labels={"a": "b"})
        writer = store.writer("r", labels={"a": "b"})
        writer.write(b"bytes")
        with pytest.raises(Unavailable, match="naming locked"):
            writer.commit()
    assert store.info(kept.digest).labels == {"a": "b"}
    assert store.digests() == [kept.digest]
    with store.writer("r", labels={"a": "b"}) as writer:  # kept, resumable
        assert writer.offset == 5
        assert writer.commit().digest == Digest.of(b"bytes")
