"""The media types of OCI and Docker content; no other file spells one out.

Sources: ``media-types.md`` and ``manifest.md`` of the OCI image specification, containerd's
``core/images/mediatypes.go``.
"""

from __future__ import annotations

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
"""Of release candidates of image-spec 1.1; its ``blobs`` are what a manifest calls ``layers``."""
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
"""Uncompressed; ``+gzip`` or ``+zstd`` follows where it is compressed."""

DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
"""Uncompressed; ``.gzip`` or ``.zstd`` follows where it is compressed."""
DOCKER_SCHEMA1 = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)

INDEXES = (OCI_INDEX, DOCKER_INDEX)
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST, OCI_ARTIFACT)
CONFIGS = (OCI_CONFIG, DOCKER_CONFIG)
ACCEPTED = (OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST, OCI_ARTIFACT, "*/*")
"""For the Accept header of requests for manifests: registries answer 404 where a type is missing,
or convert the manifest to another type."""

_NONDISTRIBUTABLE = ("foreign", "nondistributable")


def is_index_type(media_type: str) -> bool:
    """Whether content of this type lists manifests."""
    return media_type in INDEXES


def is_manifest_type(media_type: str) -> bool:
    """Whether content of this type lists a config and layers."""
    return media_type in MANIFESTS


def has_children(media_type: str) -> bool:
    """Whether content of this type has descriptors of other content: an index or a manifest."""
    return is_index_type(media_type) or is_manifest_type(media_type)


def is_layer_type(media_type: str) -> bool:
    """Whether content of this type is a layer of a file system, compressed or not."""
    return ".image.layer." in media_type or ".image.rootfs." in media_type


def is_config_type(media_type: str) -> bool:
    """Whether content of this type is an image's config."""
    return media_type.endswith((".image.v1+json", "image.config.v1+json"))


def is_nondistributable(media_type: str) -> bool:
    """Whether content of this type is not to be pushed to registries: Docker's foreign layers."""
    return any(word in media_type for word in _NONDISTRIBUTABLE)
