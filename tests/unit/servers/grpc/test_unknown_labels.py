"""Labels that a store doesn't know are unknown to the clients of its service as well."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from contentui.servers.grpc.server import Server
from contentui.stores.containerd.store import ContainerdStore
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from pathlib import Path


def test_unknown_labels_are_no_missing_ones(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path / "store"))
    lost = store.put(b"lost", labels={"containerd.io/gc.root": "yes"}).digest
    os.unlink(tmp_path / "store" / ".contentui" / "labels.db")
    store = LocalStore(str(tmp_path / "store"))
    known = store.put(b"known", labels={"a": "b"}).digest
    with Server(store) as service:
        service.listen_unix(str(tmp_path / "socket"))
        service.start()
        client = ContainerdStore(str(tmp_path / "socket"))
        assert {info.digest: info.labels for info in client.walk()} == {
            lost: None,
            known: {"a": "b"},
        }
        assert client.info(lost).labels is None
        assert client.update(lost, {"c": "d"}).labels == {"c": "d"}
        assert {info.digest: info.labels for info in client.walk()}[lost] == {"c": "d"}
        client.close()
