"""A pull that doesn't fit requests no layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.faulty import FaultyRegistry
from contentui.content.digest import Digest
from contentui.content.errors import ResourceExhausted
from contentui.content.model import Usage
from contentui.demo.unpackable import make_unpackable
from contentui.oci.references import parse_reference
from contentui.remotes.registry import Registry
from contentui.remotes.settings import Settings
from contentui.stores.local.store import LocalStore
from contentui.transfers.pull import Pull

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = make_unpackable(3, [2 << 20, 3 << 20])
NEEDED = sum(map(len, IMAGE.blobs.values()))


def pull(root: Path, free: int | None, monkeypatch: pytest.MonkeyPatch) -> FaultyRegistry:
    with FaultyRegistry() as registry, LocalStore(str(root)) as store:
        usage = None if free is None else Usage(10 * NEEDED, free)
        monkeypatch.setattr(LocalStore, "usage", lambda _: usage)
        name = parse_reference(registry.add(IMAGE))
        with Registry(name, Settings()) as remote:
            Pull(store, remote).run()
        return registry


def test_what_does_not_fit_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ResourceExhausted, match=r"needs 5\.25 MB more in .*, and .* are free"):
        pull(tmp_path, NEEDED - 1, monkeypatch)
    with LocalStore(tmp_path) as store:
        assert store.statuses() == []
        assert {info.digest for info in store.walk()} == {IMAGE.digest}


def test_what_is_here_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = IMAGE.layers[0]
    with LocalStore(tmp_path) as store:
        store.put(layer)
        writer = store.writer(f"layer-{Digest.of(IMAGE.layers[1])}", total=len(IMAGE.layers[1]))
        writer.write(IMAGE.layers[1][:1_000_000])
        writer.close()
    pull(tmp_path, NEEDED - len(layer) - 1_000_000, monkeypatch)


def test_where_it_is_unknown_nothing_is_blocked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull(tmp_path, None, monkeypatch)
