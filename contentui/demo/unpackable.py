"""Images that containerd can unpack: layers are gzipped tar archives of random bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from typing import TYPE_CHECKING, Any, NamedTuple

from contentui.content.digest import Digest
from contentui.oci.media_types import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST

if TYPE_CHECKING:
    from collections.abc import Sequence

MANIFEST, CONFIG, LAYER = OCI_MANIFEST, OCI_CONFIG, f"{OCI_LAYER}+gzip"


class Unpackable(NamedTuple):
    """An image in memory."""

    manifest: bytes
    config: bytes
    layers: tuple[bytes, ...]

    @property
    def digest(self) -> Digest:
        """The digest of the manifest."""
        return Digest.of(self.manifest)

    @property
    def blobs(self) -> dict[Digest, bytes]:
        """Config and layers."""
        return {Digest.of(data): data for data in (self.config, *self.layers)}


def make_unpackable(seed: int, sizes: Sequence[int]) -> Unpackable:
    """An image for this machine's platform with a layer of about each size, in bytes."""
    layers, diff_ids = [], []
    for number, size in enumerate(sizes):
        archive = _archive(seed, number, size)
        diff_ids.append(f"sha256:{hashlib.sha256(archive).hexdigest()}")
        layers.append(gzip.compress(archive, 1, mtime=0))
    config = _json(
        {
            "created": "2025-06-01T08:00:00Z",
            "architecture": _architecture(),
            "os": "linux",
            "config": {"Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _descriptor(CONFIG, config),
            "layers": [_descriptor(LAYER, layer) for layer in layers],
        }
    )
    return Unpackable(manifest, config, tuple(layers))


def _archive(seed: int, number: int, size: int) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo(f"layer-{number}/data")
        member.size = size
        source = random.Random(seed * 1000 + number)  # noqa: S311 - decoration, no secret
        archive.addfile(member, io.BytesIO(source.randbytes(size)))
    return made.getvalue()


def _architecture() -> str:
    import platform

    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": Digest.of(data), "size": len(data)}


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
