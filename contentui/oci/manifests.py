"""Manifests and indexes as a transfer follows them: hostile text, read strictly.

What can't be read for sure is refused, since a part that is overlooked would be missing later.
Sources: the OCI image specification; dist-and-registry.md 3.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from contentui.content.digest import Digest
from contentui.content.errors import FailedPrecondition, InvalidArgument
from contentui.content.model import Descriptor
from contentui.content.rules import GC_REFERENCE
from contentui.oci.platforms import Platform
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.artifact.manifest.v1+json",
)
DEEPEST = 4
"""How many indexes may stand in one another."""
MOST_CHILDREN = 2000
"""Entries of one document."""
MOST_DOCUMENTS = 2000
"""Manifests and indexes of one image, all platforms together."""
LARGEST_BLOB = 1 << 46
"""Bytes: no layer is larger than 64 TiB."""
_MOST_PARTS = 200_000
"""Commas and braces of one document: what bounds the memory that parsing it takes."""
_FIELDS = frozenset(
    (
        *("schemaVersion", "mediaType", "config", "layers", "blobs", "manifests", "subject"),
        *("digest", "size", "urls", "data", "platform", "annotations", "artifactType"),
    )
)
_FIELDS_IN_LOWER_CASE = frozenset(field.lower() for field in _FIELDS)
_FOREIGN = ("foreign", "nondistributable")


class Child(NamedTuple):
    """What a document points at."""

    descriptor: Descriptor
    role: str
    """``config``, ``layer`` or ``manifest``."""
    platform: Platform | None = None
    """What it is for; None: it doesn't say."""
    name: str = ""
    """The name that the document gives it; hostile text."""
    urls: tuple[str, ...] = ()
    """Where else it may be had; hostile text."""
    data: bytes | None = None
    """Its bytes, when the document holds them."""

    @property
    def is_foreign(self) -> bool:
        """Whether it may not be pushed to registries."""
        return any(word in self.descriptor.media_type for word in _FOREIGN)

    @property
    def leads_on(self) -> bool:
        """Whether it points at other content, or may: an entry of an index without a type."""
        media_type = self.descriptor.media_type
        return is_document(media_type) or (self.role == "manifest" and not media_type)


class Manifest(NamedTuple):
    """A manifest or an index."""

    media_type: str
    is_index: bool
    children: tuple[Child, ...]


def is_document(media_type: str) -> bool:
    """Whether content of this type points at other content."""
    return media_type in INDEXES or media_type in MANIFESTS


def parse_manifest(data: bytes, media_type: str) -> Manifest:
    """Read a document that a registry calls ``media_type``; empty: it doesn't say.

    Raises:
        FailedPrecondition: it is not one, or not one that can be trusted to be complete.
    """
    if sum(data.count(mark) for mark in (b",", b"{", b"[")) > _MOST_PARTS:
        raise _bad("it is too intricate")
    try:
        value = json.loads(data, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise _bad("it is not JSON") from None
    if not isinstance(value, dict):
        raise _bad("it is not a JSON object")
    _check_case(value)
    own = value.get("mediaType")
    if (
        isinstance(own, str)
        and own
        and media_type
        and is_document(media_type)
        and own != media_type
    ):
        raise _bad(f"it calls itself {visible(own, 100)}, and the registry {media_type}")
    known = own if isinstance(own, str) and own else media_type
    has_children = isinstance(value.get("manifests"), list)
    has_content = "layers" in value or "config" in value or "blobs" in value
    if has_children and has_content:
        raise _bad("it is an index and a manifest at once")
    if value.get("schemaVersion") == 1:
        raise _bad("it is in Docker's schema 1, which is out of use: build or push it anew")
    is_index = known in INDEXES or (known not in MANIFESTS and has_children)
    if not (has_children or has_content) or is_index != has_children:
        raise _bad(
            "it has neither manifests nor layers" if not has_children else "its type is wrong"
        )
    return Manifest(known if is_document(known) else _guess(is_index), is_index, _children(value))


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object whose keys are given once: who takes the first, who the last, is not agreed."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _bad("it says something twice")
    return found


def _check_case(value: dict[str, object]) -> None:
    """Containerd takes ``Layers`` for ``layers``, others don't."""
    for key in value:
        if key not in _FIELDS and key.lower() in _FIELDS_IN_LOWER_CASE:
            raise _bad(f"{visible(key, 60)} is not written as it should be")


def _guess(is_index: bool) -> str:
    return INDEXES[0] if is_index else MANIFESTS[0]


def _children(value: dict[str, Any]) -> tuple[Child, ...]:
    found: list[Child] = []
    for role, entry in _entries(value):
        if len(found) >= MOST_CHILDREN:
            raise _bad(f"it points at more than {MOST_CHILDREN} things")
        found.append(_child(role, entry))
    return tuple(found)


def _entries(value: dict[str, Any]) -> Iterator[tuple[str, object]]:
    if value.get("config") is not None:
        yield "config", value["config"]
    for key, role in (("layers", "layer"), ("blobs", "layer"), ("manifests", "manifest")):
        entries = value.get(key)
        if entries is None:
            continue
        if not isinstance(entries, list):
            raise _bad(f"its {key} are no list")
        for entry in entries:
            yield role, entry


def _child(role: str, entry: object) -> Child:
    if not isinstance(entry, dict):
        raise _bad(f"one of its {role}s is no object")
    _check_case(entry)
    size = entry.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= LARGEST_BLOB:
        raise _bad(f"the size of one of its {role}s makes no sense")
    digest = entry.get("digest")
    try:
        parsed = Digest.parse(digest if isinstance(digest, str) else "")
    except InvalidArgument as error:
        raise _bad(f"one of its {role}s has no digest: {error.message}") from None
    media_type = entry.get("mediaType")
    descriptor = Descriptor(media_type[:256] if isinstance(media_type, str) else "", parsed, size)
    annotations = entry.get("annotations")
    name = (
        annotations.get("org.opencontainers.image.ref.name")
        if isinstance(annotations, dict)
        else ""
    )
    urls = entry.get("urls")
    return Child(
        descriptor,
        role,
        _platform(entry.get("platform")),
        name[:256] if isinstance(name, str) else "",
        tuple(url[:2048] for url in urls[:8] if isinstance(url, str))
        if isinstance(urls, list)
        else (),
        _embedded(entry.get("data"), descriptor),
    )


def _platform(value: object) -> Platform | None:
    if not isinstance(value, dict):
        return None
    parts = (value.get("os"), value.get("architecture"), value.get("variant"))
    os, architecture, variant = (part[:64] if isinstance(part, str) else "" for part in parts)
    return Platform(os, architecture, variant)


def _embedded(value: object, descriptor: Descriptor) -> bytes | None:
    """The content itself, where its descriptor brings it along, whole and right."""
    if not isinstance(value, str):
        return None
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    right = len(data) == descriptor.size
    return (
        data
        if right and Digest.of(data, descriptor.digest.algorithm) == descriptor.digest
        else None
    )


def _bad(why: str) -> FailedPrecondition:
    return FailedPrecondition(f"the manifest can't be used: {why}")


def ref_of(child: Child) -> str:
    """The ref of a part's ingest, as containerd's clients name it (dist-and-registry.md 3)."""
    media_type = child.descriptor.media_type
    if media_type in INDEXES:
        prefix = "index"
    elif media_type in MANIFESTS:
        prefix = "manifest"
    elif _is_layer(media_type):
        prefix = "layer"
    elif media_type.endswith((".image.v1+json", "image.config.v1+json")):
        prefix = "config"
    else:
        prefix = "unknown"
    digest = child.descriptor.digest
    return f"{prefix}-{child.name}@{digest}" if child.name else f"{prefix}-{digest}"


def _is_layer(media_type: str) -> bool:
    return ".image.layer." in media_type or ".image.rootfs." in media_type


def gc_labels(manifest: Manifest) -> dict[str, str]:
    """The labels that tell a collector what a document needs (content-store.md 6.2)."""
    counts: dict[str, int] = {}
    labels = {}
    for child in manifest.children:
        if child.role == "config":
            key = "config"
        else:
            short = child.role[0]
            key = f"{short}.{counts.get(short, 0)}"
            counts[short] = counts.get(short, 0) + 1
        labels[f"{GC_REFERENCE}.{key}"] = str(child.descriptor.digest)
    return labels
