"""Content that looks like images: layers of any size from a seed, and the documents around them."""

from __future__ import annotations

import hashlib
import json
import random
from typing import TYPE_CHECKING, Any, NamedTuple

from contentui.content.digest import Digest
from contentui.content.rules import DISTRIBUTION_SOURCE, GC_REFERENCE
from contentui.oci.media_types import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK = 64 * 1024
_MAGIC = {"gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "zstd": b"\x28\xb5\x2f\xfd\x04\x00"}

NAMES = (
    "docker.io/library/redis:7.4",
    "docker.io/library/nginx:1.27-alpine",
    "docker.io/library/python:3.13-slim",
    "docker.io/library/postgres:17",
    "ghcr.io/example/web-frontend:2.8.1",
    "registry.example.com/team/billing:stable",
    "quay.io/example/prometheus:v3.1.0",
    "docker.io/library/golang:1.24",
)


class Layer(NamedTuple):
    """A layer to be made."""

    seed: int
    size: int
    """Bytes."""
    compression: str
    """``gzip`` or ``zstd``."""
    digest: Digest


class Image(NamedTuple):
    """An image's layers, and its documents with the labels that a pull gives them."""

    name: str
    layers: tuple[Layer, ...]
    documents: tuple[tuple[bytes, dict[str, str]], ...]
    """Config, manifest, index: each after what it refers to."""

    @property
    def digests(self) -> tuple[Digest, ...]:
        """All digests, each before those it refers to."""
        documents = [Digest.of(data) for data, _ in reversed(self.documents)]
        return (*documents, *(layer.digest for layer in self.layers))


def layer_chunks(seed: int, size: int, compression: str) -> Iterator[bytes]:
    """The bytes of a layer: the same ones for the same arguments, in pieces of 64 KiB."""
    block = random.Random(seed).randbytes(_BLOCK)  # noqa: S311 - decoration, no secret
    made = 0
    while made < size:
        head = _MAGIC[compression] if made == 0 else made.to_bytes(8, "little")
        chunk = (head + block[len(head) :])[: size - made]
        made += len(chunk)
        yield chunk


def make_layer(seed: int, size: int, compression: str = "gzip") -> Layer:
    """Describe a layer; its digest is computed, its bytes are not kept."""
    running = hashlib.sha256()
    for chunk in layer_chunks(seed, size, compression):
        running.update(chunk)
    return Layer(seed, size, compression, Digest(f"sha256:{running.hexdigest()}"))


def make_image(number: int, sizes: tuple[int, ...]) -> Image:
    """The ``number``-th image, with a layer of each size, in bytes."""
    name = NAMES[number % len(NAMES)]
    layers = tuple(
        make_layer(number * 100 + i, size, "zstd" if (number + i) % 3 == 0 else "gzip")
        for i, size in enumerate(sizes)
    )
    config = _json(_config(number, layers))
    manifest = _json(_manifest(config, layers))
    index = _json(_index(manifest, name))
    return Image(name, layers, _labelled(name, config, manifest, index, layers))


def _labelled(
    name: str, config: bytes, manifest: bytes, index: bytes, layers: tuple[Layer, ...]
) -> tuple[tuple[bytes, dict[str, str]], ...]:
    host, _, path = name.partition("/")
    source = {DISTRIBUTION_SOURCE + host: path.rpartition(":")[0]}
    needs = {f"{GC_REFERENCE}.config": Digest.of(config)}
    needs |= {f"{GC_REFERENCE}.l.{i}": layer.digest for i, layer in enumerate(layers)}
    return (
        (config, dict(source)),
        (manifest, source | needs),
        (index, source | {f"{GC_REFERENCE}.m.0": Digest.of(manifest)}),
    )


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": Digest.of(data), "size": len(data)}


def _config(number: int, layers: tuple[Layer, ...]) -> dict[str, Any]:
    return {
        "created": f"2025-{number % 12 + 1:02}-{number % 28 + 1:02}T08:00:00Z",
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"], "Cmd": ["/entrypoint"]},
        "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
    }


def _manifest(config: bytes, layers: tuple[Layer, ...]) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _descriptor(OCI_CONFIG, config),
        "layers": [
            {
                "mediaType": f"{OCI_LAYER}+{layer.compression}",
                "digest": layer.digest,
                "size": layer.size,
            }
            for layer in layers
        ],
    }


def _index(manifest: bytes, name: str) -> dict[str, Any]:
    entry = _descriptor(OCI_MANIFEST, manifest)
    entry["platform"] = {"architecture": "amd64", "os": "linux"}
    entry["annotations"] = {"org.opencontainers.image.ref.name": name}
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=2).encode()
