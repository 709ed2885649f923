"""Images of every shape: nested, doubled, foreign, for other machines, hostile."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest

import bench.faulty as faults
from bench.faulty import FaultyRegistry
from contentui.content.digest import Digest
from contentui.content.errors import ContentError, FailedPrecondition, NotFound
from contentui.demo.unpackable import CONFIG, LAYER, MANIFEST
from contentui.oci.platforms import Platform
from contentui.oci.references import parse_reference
from contentui.remotes.registry import Registry
from contentui.remotes.settings import Settings
from contentui.stores.local.store import LocalStore
from contentui.transfers.pull import Pull

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INDEX = "application/vnd.oci.image.index.v1+json"
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


@pytest.fixture
def registry() -> Iterator[FaultyRegistry]:
    with FaultyRegistry() as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    opened = LocalStore(tmp_path / "store")
    yield opened
    opened.close()


def point(registry: FaultyRegistry, data: bytes, kind: str, **more: Any) -> dict[str, Any]:
    """Have a blob; returns its descriptor."""
    digest = str(Digest.of(data))
    registry.blobs[digest] = data, kind
    return {"mediaType": kind, "digest": digest, "size": len(data), **more}


def manifest(registry: FaultyRegistry, name: bytes, **more: Any) -> dict[str, Any]:
    config = point(registry, b"{}" + b" " * len(name), CONFIG)
    layers = [point(registry, name, LAYER)]
    value = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers, **more}
    digest = registry.manifest(value)
    size = len(registry.blobs[digest][0])
    return {"mediaType": MANIFEST, "digest": digest, "size": size}


def index(registry: FaultyRegistry, *entries: dict[str, Any], tag: str = "") -> dict[str, Any]:
    value: dict[str, object] = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries)}
    digest = registry.manifest(value, tag, INDEX)
    return {"mediaType": INDEX, "digest": digest, "size": len(registry.blobs[digest][0])}


def pull(store: LocalStore, registry: FaultyRegistry, **selection: Any) -> None:
    reference = parse_reference(f"{registry.host}/demo/app:v1")
    with Registry(reference, Settings()) as remote:
        Pull(store, remote, **selection).run()


def have(store: LocalStore, data: bytes) -> bool:
    return Digest.of(data) in store.digests()


def test_one_platform_or_all(store: LocalStore, registry: FaultyRegistry) -> None:
    arm = manifest(registry, b"arm") | {"platform": {"os": "linux", "architecture": "arm64"}}
    s390 = manifest(registry, b"s390x") | {"platform": {"os": "linux", "architecture": "s390x"}}
    index(registry, arm, s390, tag="v1")
    with pytest.raises(NotFound, match="no image for linux/386") as caught:
        pull(store, registry, platforms=[Platform("linux", "386")])
    assert "linux/arm64, linux/s390x" in caught.value.advice
    pull(store, registry, platforms=[Platform("linux", "s390x")])
    assert have(store, b"s390x")
    assert not have(store, b"arm")
    pull(store, registry, all_platforms=True)
    assert have(store, b"arm")


def test_nested_and_doubled(store: LocalStore, registry: FaultyRegistry) -> None:
    one = manifest(registry, b"one")
    inner = index(registry, one, one)
    index(registry, inner, one, inner, tag="v1")
    pull(store, registry, all_platforms=True)
    assert have(store, b"one")
    assert len(registry.gets(one["digest"])) == 1


def test_nested_too_deeply(store: LocalStore, registry: FaultyRegistry) -> None:
    inner = manifest(registry, b"x")
    for number in range(8):
        inner = index(registry, inner, tag="v1" if number == 7 else "")
    with pytest.raises(FailedPrecondition, match="too deeply"):
        pull(store, registry)


def test_a_foreign_layer_comes_from_where_it_says(
    store: LocalStore, registry: FaultyRegistry
) -> None:
    with FaultyRegistry() as elsewhere:
        far = point(elsewhere, b"far away", FOREIGN)
        url = f"http://{elsewhere.host}/{far['digest']}"
        near = point(registry, b"near", FOREIGN, urls=[f"http://{elsewhere.host}/none"])
        entry = manifest(registry, b"x", layers=[far | {"urls": [url]}, near])
        index(registry, entry, tag="v1")
        pull(store, registry)
        assert have(store, b"far away")
        assert have(store, b"near")
        assert registry.gets(far["digest"]) == []


@pytest.mark.parametrize("size", [3, 5])
def test_two_sizes_for_one_blob(store: LocalStore, registry: FaultyRegistry, size: int) -> None:
    layer = point(registry, b"data", LAYER)
    entry = manifest(registry, b"x", layers=[layer, layer | {"size": size}])
    index(registry, entry, tag="v1")
    with pytest.raises(FailedPrecondition, match="two sizes"):
        pull(store, registry)


def test_an_index_that_lies_about_a_size(store: LocalStore, registry: FaultyRegistry) -> None:
    entry = manifest(registry, b"x")
    index(registry, entry | {"size": 7}, tag="v1")
    with pytest.raises(FailedPrecondition, match="but 7 in its descriptor"):
        pull(store, registry)


def test_a_manifest_with_other_bytes_than_its_digest(
    store: LocalStore, registry: FaultyRegistry
) -> None:
    entry = manifest(registry, b"x")
    index(registry, entry, tag="v1")
    registry.faults[entry["digest"]] = [faults.other_bytes]
    with pytest.raises(ContentError, match=r"127\.0\.0\.1:\d+ sent other bytes"):
        pull(store, registry)


def test_a_full_disk_in_words(
    store: LocalStore, registry: FaultyRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(2 << 20)
    layer = point(registry, data, LAYER)
    index(registry, manifest(registry, b"x", layers=[layer]), tag="v1")
    real = os.pwrite

    def full(fd: int, piece: Any, at: int) -> int:
        if len(piece) > 100_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, piece, at)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(ContentError, match=r"[Nn]o space"):
        pull(store, registry)
    monkeypatch.undo()
    pull(store, registry)
    assert have(store, data)
