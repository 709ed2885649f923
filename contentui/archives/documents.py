"""What an archive says that it holds: an OCI layout's index.json, docker's manifest.json."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from contentui.content.errors import FailedPrecondition, InvalidArgument
from contentui.oci.documents import parse_document
from contentui.oci.manifests import INDEXES, MANIFESTS, parse_manifest
from contentui.oci.references import parse_reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contentui.content.digest import Digest
    from contentui.content.model import Descriptor
    from contentui.oci.manifests import Child

DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
_COMPRESSED = {"": "", "gzip": ".gzip", "zstd": ".zstd"}
MOST_IMAGES = 1000
_MOST_LAYERS = 1000
_MOST_NAMES = 100


class DockerImage(NamedTuple):
    """An entry of docker's manifest.json; names of members are hostile text."""

    config: str
    layers: tuple[str, ...]
    tags: tuple[str, ...]


def oci_images(index: bytes) -> list[tuple[Child, tuple[str, ...]]]:
    """The images in an index.json, each with the names that it gives them (hostile texts).

    Raises:
        FailedPrecondition: it is not one, or not one that can be trusted to be complete.
    """
    manifest = parse_manifest(index, INDEXES[0])
    if len(manifest.children) > MOST_IMAGES:
        raise FailedPrecondition(f"the archive holds more than {MOST_IMAGES} images")
    titles = parse_document(index).titles
    images = {child.descriptor.digest: child for child in manifest.children}
    return [
        (child, tuple(dict.fromkeys(name for owner, name in titles if owner == digest)))
        for digest, child in images.items()
    ]


def docker_images(document: bytes) -> list[DockerImage]:
    """The images in a docker archive's manifest.json. Raises FailedPrecondition."""
    try:
        value = json.loads(document)
    except (ValueError, RecursionError):
        raise _bad("it is not JSON") from None
    if not isinstance(value, list) or len(value) > MOST_IMAGES:
        raise _bad(f"it is no list of at most {MOST_IMAGES} images")
    return [_docker_image(each) for each in value]


def _docker_image(entry: object) -> DockerImage:
    if not isinstance(entry, dict) or not isinstance(entry.get("Config"), str):
        raise _bad("an image in it has no config")
    layers = _texts(entry.get("Layers"), _MOST_LAYERS)
    if layers is None:
        raise _bad("an image in it has no list of layers")
    return DockerImage(entry["Config"], layers, _texts(entry.get("RepoTags"), _MOST_NAMES) or ())


def _texts(value: object, most: int) -> tuple[str, ...] | None:
    if not isinstance(value, list) or len(value) > most:
        return None
    return tuple(value) if all(isinstance(each, str) for each in value) else None


def _bad(why: str) -> FailedPrecondition:
    return FailedPrecondition(f"the archive's manifest.json can't be used: {why}")


def diff_ids(config: bytes) -> tuple[str, ...]:
    """The digests of an image's unpacked layers, as its config tells them.

    Raises:
        FailedPrecondition: it tells none.
    """
    try:
        value = json.loads(config)
    except (ValueError, RecursionError):
        value = None
    rootfs = value.get("rootfs") if isinstance(value, dict) else None
    found = _texts(rootfs.get("diff_ids"), _MOST_LAYERS) if isinstance(rootfs, dict) else None
    if found is None:
        raise FailedPrecondition("an image's config in the archive doesn't tell its layers")
    return found


def docker_layer_type(compression: str) -> str:
    """A layer's media type. Raises FailedPrecondition for what no client unpacks."""
    if compression not in _COMPRESSED:
        raise FailedPrecondition(f"a layer in the archive is compressed with {compression}")
    return DOCKER_LAYER + _COMPRESSED[compression]


def docker_manifest(config: Descriptor, layers: Sequence[Descriptor]) -> bytes:
    """The manifest that a docker archive leaves out; the same bytes for the same image."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFESTS[1],
        "config": descriptor_json(config),
        "layers": [descriptor_json(layer) for layer in layers],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def descriptor_json(descriptor: Descriptor) -> dict[str, Any]:
    """A descriptor as documents have it."""
    return {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size,
    }


def name_in_archive(text: str, digest: Digest) -> str:
    """The full name that an archive means; empty when it is none, a mere tag, say."""
    if not any(mark in text for mark in "/:@"):
        return ""
    try:
        reference = parse_reference(text)
    except InvalidArgument:
        return ""
    return str(reference) if reference.digest in (None, digest) else ""
