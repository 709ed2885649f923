"""The documents of archives: an OCI layout's index.json, docker's manifest.json.

Sources: ``image-layout.md`` of the OCI image specification, "Combined Image JSON + Filesystem
Changeset Format" in Docker's image specification v1.2.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from contentui.content.errors import FailedPrecondition, InvalidArgument
from contentui.oci.documents import (
    descriptor_json,
    load_json,
    parse_document,
    parse_manifest,
)
from contentui.oci.media_types import DOCKER_LAYER, DOCKER_MANIFEST, OCI_INDEX
from contentui.oci.references import parse_reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contentui.content.digest import Digest
    from contentui.content.model import Descriptor
    from contentui.oci.documents import Child

_COMPRESSED = {"": "", "gzip": ".gzip", "zstd": ".zstd"}
MAX_IMAGES = 1000
_MAX_LAYERS = 1000
_MAX_NAMES = 100


class DockerImage(NamedTuple):
    """An entry of docker's manifest.json; names of members are untrusted text."""

    config: str
    layers: tuple[str, ...]
    tags: tuple[str, ...]


def oci_images(index: bytes) -> list[tuple[Child, tuple[str, ...]]]:
    """The images in an index.json, each with its names (untrusted texts).

    Raises:
        FailedPrecondition: it is not a valid index (`parse_manifest`).
    """
    manifest = parse_manifest(index, OCI_INDEX)
    if len(manifest.children) > MAX_IMAGES:
        raise FailedPrecondition(f"the archive has more than {MAX_IMAGES} images")
    titles = parse_document(index).titles
    images = {child.descriptor.digest: child for child in manifest.children}
    return [
        (child, tuple(dict.fromkeys(name for owner, name in titles if owner == digest)))
        for digest, child in images.items()
    ]


def docker_images(document: bytes) -> list[DockerImage]:
    """The images in a docker archive's manifest.json. Raises FailedPrecondition."""
    try:
        value = load_json(document, strict=True)
    except ValueError:
        raise _bad("it is not JSON") from None
    if not isinstance(value, list) or len(value) > MAX_IMAGES:
        raise _bad(f"it is not a list of at most {MAX_IMAGES} images")
    return [_docker_image(each) for each in value]


def _docker_image(entry: object) -> DockerImage:
    if not isinstance(entry, dict) or not isinstance(entry.get("Config"), str):
        raise _bad("an image in it has no config")
    layers = _texts(entry.get("Layers"), _MAX_LAYERS)
    if layers is None:
        raise _bad("an image in it has no list of layers")
    return DockerImage(entry["Config"], layers, _texts(entry.get("RepoTags"), _MAX_NAMES) or ())


def _texts(value: object, limit: int) -> tuple[str, ...] | None:
    if not isinstance(value, list) or len(value) > limit:
        return None
    return tuple(value) if all(isinstance(each, str) for each in value) else None


def _bad(why: str) -> FailedPrecondition:
    return FailedPrecondition(f"invalid manifest.json in the archive: {why}")


def diff_ids(config: bytes) -> tuple[str, ...]:
    """The digests of an image's uncompressed layers, from its config.

    Raises:
        FailedPrecondition: it has none.
    """
    try:
        value = load_json(config, strict=False)
    except ValueError:
        value = None
    rootfs = value.get("rootfs") if isinstance(value, dict) else None
    found = _texts(rootfs.get("diff_ids"), _MAX_LAYERS) if isinstance(rootfs, dict) else None
    if found is None:
        raise FailedPrecondition("an image's config in the archive has no valid rootfs.diff_ids")
    return found


def docker_layer_type(compression: str) -> str:
    """A layer's media type. Raises FailedPrecondition for a compression without one."""
    if compression not in _COMPRESSED:
        raise FailedPrecondition(
            f"a layer in the archive is compressed with {compression}, which has no media type"
        )
    return DOCKER_LAYER + _COMPRESSED[compression]


def docker_manifest(config: Descriptor, layers: Sequence[Descriptor]) -> bytes:
    """The manifest that a docker archive doesn't have; the same bytes for the same image."""
    document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": descriptor_json(config),
        "layers": [descriptor_json(layer) for layer in layers],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def name_in_archive(text: str, digest: Digest) -> str:
    """The full name of an image; empty when the archive's name is not one: a tag, for example."""
    if not any(mark in text for mark in "/:@"):
        return ""
    try:
        reference = parse_reference(text)
    except InvalidArgument:
        return ""
    return str(reference) if reference.digest in (None, digest) else ""
