"""OCI and Docker documents as typed values, parsed as hostile text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from contentui.content.digest import Digest
from contentui.content.errors import InvalidArgument
from contentui.content.model import Descriptor
from contentui.oci.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DOCUMENT = 8 * 1024 * 1024
"""Bytes of the largest document that is read: what containerd takes for a manifest at most."""

MAX_PARTS = 500_000
"""Objects, lists and members of the most intricate document that is parsed: some 50 MB then."""

_MAX_TITLE = 256
_TITLES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")

_MEDIA_TYPES = {
    "application/vnd.oci.image.index.v1+json": Kind.INDEX,
    "application/vnd.docker.distribution.manifest.list.v2+json": Kind.INDEX,
    "application/vnd.oci.image.manifest.v1+json": Kind.MANIFEST,
    "application/vnd.oci.artifact.manifest.v1+json": Kind.MANIFEST,
    "application/vnd.docker.distribution.manifest.v2+json": Kind.MANIFEST,
}

_POINTERS = (b'"manifests"', b'"layers"', b'"config"', b'"blobs"', b"\\u")
"""Without one of these (a key may be written with escapes) a text points at no other blob."""


HEAD_SIZE = 512
"""Bytes that are enough for every magic number; a tar's lies at offset 257."""

_MAGIC = ((b"\x1f\x8b", Kind.LAYER_GZIP), (b"\x28\xb5\x2f\xfd", Kind.LAYER_ZSTD))


class Document(NamedTuple):
    """What a blob's bytes say, as far as other blobs are concerned."""

    kind: Kind
    media_type: str = ""
    """What the document calls itself; empty when it doesn't."""
    children: tuple[Descriptor, ...] = ()
    """What it is made of: manifests, config, layers. Not its subject, which it can outlive."""
    title: str = ""
    """The name in its own annotations; hostile text of at most 256 characters."""
    titles: tuple[tuple[Digest, str], ...] = ()
    """Names that it gives to its children; hostile texts likewise."""
    understood: bool = True
    """False when it is too large or intricate to be parsed, and might point at other blobs."""


def looks_like_json(head: bytes) -> bool:
    """Whether a text that starts with ``head`` can be a JSON object or list."""
    return bool(head) and head.lstrip(b" \t\r\n")[:1] in (b"", b"{", b"[")


def kind_of(head: bytes, size: int) -> Kind:
    """What a blob of ``size`` bytes that starts with ``head`` is.

    JSON is told apart by its fields only when ``head`` is the whole blob.
    """
    if size == 0:
        return Kind.EMPTY
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[257:262] == b"ustar":
        return Kind.LAYER_TAR
    if not looks_like_json(head):
        return Kind.UNKNOWN
    return parse_document(head).kind if len(head) == size else Kind.JSON


def parse_document(data: bytes) -> Document:
    """What a whole blob's bytes are. Never fails: what is no document is Kind.JSON or UNKNOWN."""
    if not looks_like_json(data):
        return Document(Kind.UNKNOWN)
    if len(data) > MAX_DOCUMENT or _parts(data) > MAX_PARTS:
        return _not_parsed(data)
    try:
        value = json.loads(data.decode("utf-8", "replace"), parse_int=_bounded_int)
    except RecursionError:
        return _not_parsed(data)
    except ValueError:
        return Document(Kind.UNKNOWN)
    return _classify(value) if isinstance(value, dict) else Document(Kind.JSON)


def _parts(data: bytes) -> int:
    return data.count(b",") + data.count(b"{") + data.count(b"[")


def _not_parsed(data: bytes) -> Document:
    return Document(Kind.UNKNOWN, understood=not any(word in data for word in _POINTERS))


def _bounded_int(digits: str) -> int:
    """An integer, without the quadratic time that thousands of digits would take."""
    return int(digits) if len(digits) < 20 else -1


def _classify(value: dict[str, object]) -> Document:
    media_type = _text(value.get("mediaType"))
    pointers = list(_pointers(value))
    kind = _MEDIA_TYPES.get(media_type) or _kind_by_fields(value, has_pointers=bool(pointers))
    if kind not in (Kind.INDEX, Kind.MANIFEST):
        return Document(kind, media_type)
    named = ((pointer.digest, name) for pointer, name in pointers if name)
    return Document(
        kind,
        media_type,
        tuple(pointer for pointer, _ in pointers),
        _title(value),
        tuple(named),
    )


def _kind_by_fields(value: dict[str, object], *, has_pointers: bool) -> Kind:
    """The kind of a document that doesn't say it, or says something unheard of."""
    if isinstance(value.get("manifests"), list) and (has_pointers or "schemaVersion" in value):
        return Kind.INDEX
    has_layers = any(isinstance(value.get(key), list) for key in ("layers", "blobs"))
    if has_layers and (has_pointers or "schemaVersion" in value):
        return Kind.MANIFEST
    if _is_config(value):
        return Kind.CONFIG
    # A lone config that is a descriptor: a manifest without layers.
    return Kind.MANIFEST if has_pointers and "schemaVersion" in value else Kind.JSON


def _is_config(value: dict[str, object]) -> bool:
    rootfs = value.get("rootfs")
    if isinstance(rootfs, dict) and "diff_ids" in rootfs:
        return True
    return isinstance(value.get("architecture"), str) and isinstance(value.get("os"), str)


def _pointers(value: dict[str, object]) -> Iterator[tuple[Descriptor, str]]:
    """Every sound descriptor of a document, with the name that it carries."""
    yield from _pointer(value.get("config"))
    for key in ("manifests", "layers", "blobs"):
        entries = value.get(key)
        for entry in entries if isinstance(entries, list) else ():
            yield from _pointer(entry)


def _pointer(entry: object) -> Iterator[tuple[Descriptor, str]]:
    if not isinstance(entry, dict) or not isinstance(entry.get("digest"), str):
        return
    try:
        digest = Digest.parse(entry["digest"])
    except InvalidArgument:
        return  # nothing in a store can have this name
    yield Descriptor(_text(entry.get("mediaType")), digest, _size(entry)), _title(entry)


def _size(entry: dict[str, object]) -> int:
    """The bytes that a descriptor promises; 0 when it makes no sense."""
    size = entry.get("size")
    return size if isinstance(size, int) and not isinstance(size, bool) and size > 0 else 0


def _title(value: dict[str, object]) -> str:
    annotations = value.get("annotations")
    if not isinstance(annotations, dict):
        return ""
    return next((text for key in _TITLES if (text := _text(annotations.get(key)))), "")


def _text(value: object) -> str:
    return value[:_MAX_TITLE] if isinstance(value, str) else ""
