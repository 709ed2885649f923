"""Manifests and indexes as typed values: one parser of untrusted JSON, in two modes.

* `parse_document` is lenient: it never fails, and skips what it can't read. The index uses it.
* `parse_manifest` is strict: it raises for anything doubtful, since a child that is overlooked
  would be missing from the store later. Transfers and archives use it.

Sources: ``image-index.md``, ``manifest.md``, ``descriptor.md`` and ``annotations.md`` of the OCI
image specification; containerd's ``core/images/image.go`` for the names of ingests and gc labels.
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
from contentui.oci.kinds import Kind
from contentui.oci.media_types import (
    INDEXES,
    MANIFESTS,
    OCI_INDEX,
    OCI_MANIFEST,
    has_children,
    is_config_type,
    is_index_type,
    is_layer_type,
    is_manifest_type,
    is_nondistributable,
)
from contentui.oci.platforms import Platform
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DOCUMENT_SIZE = 8 << 20
"""Bytes of the largest document that `parse_document` reads."""
MAX_DOCUMENT_TOKENS = 500_000
"""Commas and opening brackets of the largest one: parsing it takes some 50 MB of memory."""
MAX_MANIFEST_SIZE = 4 << 20
"""Bytes of the largest manifest that is transferred: containerd's ``MaxManifestSize``
(``core/remotes/docker/resolver.go``), and what every registry accepts ("Pushing Manifests" in the
OCI distribution specification)."""
MAX_MANIFEST_TOKENS = 200_000
"""Commas and opening brackets of the largest one."""
MAX_DEPTH = 4
"""Indexes that are nested in one another."""
MAX_CHILDREN = 2000
"""Descriptors in one manifest or index."""
MAX_MANIFESTS = 2000
"""Manifests and indexes of one image, all platforms together."""
MAX_BLOB_SIZE = 1 << 46
"""Bytes: no layer is larger than 64 TiB."""

HEAD_SIZE = 512
"""Bytes that are enough for every magic number; a tar's is at offset 257."""

_MAX_TEXT = 256
_MAX_URLS, _MAX_URL = 8, 2048
_CONTAINERD_NAME = "io.containerd.image.name"
_REF_NAME = "org.opencontainers.image.ref.name"

_KINDS = dict.fromkeys(INDEXES, Kind.INDEX) | dict.fromkeys(MANIFESTS, Kind.MANIFEST)
_MAGIC = ((b"\x1f\x8b", Kind.LAYER_GZIP), (b"\x28\xb5\x2f\xfd", Kind.LAYER_ZSTD))

_LISTS = (("layers", "layer"), ("blobs", "layer"), ("manifests", "manifest"))
"""The lists of descriptors in a document, and the role of their entries."""
_POINTERS = (b'"manifests"', b'"layers"', b'"config"', b'"blobs"', b"\\u")
"""A text without any of these has no descriptors (a key may be written with escapes)."""
_PREFIXES = (
    ("index", is_index_type),
    ("manifest", is_manifest_type),
    ("layer", is_layer_type),
    ("config", is_config_type),
)
_FIELDS = frozenset(
    (
        *("schemaVersion", "mediaType", "config", "layers", "blobs", "manifests", "subject"),
        *("digest", "size", "urls", "data", "platform", "annotations", "artifactType"),
    )
)
_FIELDS_IN_LOWER_CASE = frozenset(field.lower() for field in _FIELDS)


class Document(NamedTuple):
    """What a blob is, as far as other blobs are concerned."""

    kind: Kind
    media_type: str = ""
    """The document's own ``mediaType``; empty when it has none."""
    children: tuple[Descriptor, ...] = ()
    """What it is made of: manifests, config, layers. Not its subject, which it can outlive."""
    title: str = ""
    """The name in its own annotations; untrusted text of at most 256 characters."""
    titles: tuple[tuple[Digest, str], ...] = ()
    """Names in the annotations of its children; untrusted texts likewise."""
    understood: bool = True
    """False when it is too large or complex to be parsed, and may have children."""


class Child(NamedTuple):
    """A descriptor in a manifest or index."""

    descriptor: Descriptor
    role: str
    """``config``, ``layer`` or ``manifest``."""
    platform: Platform | None = None
    """None when the descriptor has none."""
    name: str = ""
    """Its annotation ``org.opencontainers.image.ref.name``; untrusted text."""
    urls: tuple[str, ...] = ()
    """From where else it can be downloaded; untrusted text."""
    data: bytes | None = None
    """The content itself, where it is embedded in the descriptor, whole and with its digest."""

    @property
    def is_nondistributable(self) -> bool:
        """Whether it is not to be pushed to registries."""
        return is_nondistributable(self.descriptor.media_type)

    @property
    def may_have_children(self) -> bool:
        """Whether it is a manifest or index, or may be: an entry of an index without a type."""
        media_type = self.descriptor.media_type
        return has_children(media_type) or (self.role == "manifest" and not media_type)


class Manifest(NamedTuple):
    """A manifest or an index."""

    media_type: str
    is_index: bool
    children: tuple[Child, ...]


class _Unacceptable(ValueError):
    """JSON that is not parsed, for a reason that completes "invalid manifest: ..."."""


_TOO_COMPLEX = "it is too complex"


def looks_like_json(head: bytes) -> bool:
    """Whether a text that starts with ``head`` can be a JSON object or list."""
    return bool(head) and head.lstrip(b" \t\r\n")[:1] in (b"", b"{", b"[")


def kind_of(head: bytes, size: int) -> Kind:
    """What a blob of ``size`` bytes that starts with ``head`` is.

    The fields of JSON decide only when ``head`` is the whole blob.
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
    """What a whole blob is, leniently. Never fails: other content is Kind.JSON or Kind.UNKNOWN."""
    if not looks_like_json(data):
        return Document(Kind.UNKNOWN)
    try:
        if len(data) > MAX_DOCUMENT_SIZE:
            raise _Unacceptable
        value = load_json(data, MAX_DOCUMENT_TOKENS, strict=False)
    except _Unacceptable:
        return Document(Kind.UNKNOWN, understood=not any(word in data for word in _POINTERS))
    except ValueError:
        return Document(Kind.UNKNOWN)
    if not isinstance(value, dict):
        return Document(Kind.JSON)
    media_type = _text(value.get("mediaType"))
    found = list(_descriptors(value, strict=False))
    kind = _KINDS.get(media_type) or _kind_by_fields(value, has_descriptors=bool(found))
    if kind not in (Kind.INDEX, Kind.MANIFEST):
        return Document(kind, media_type)
    names = ((descriptor.digest, _title(entry)) for _, entry, descriptor in found)
    return Document(
        kind,
        media_type,
        tuple(descriptor for _, _, descriptor in found),
        _title(value),
        tuple(pair for pair in names if pair[1]),
    )


def parse_manifest(data: bytes, media_type: str) -> Manifest:
    """A manifest or index, strictly.

    Args:
        data: the whole document.
        media_type: its type according to its descriptor or the registry; empty if unknown.

    Raises:
        FailedPrecondition: it is neither, or it is not certain that all its children are known.
    """
    try:
        value = load_json(data, MAX_MANIFEST_TOKENS, strict=True)
    except _Unacceptable as error:
        raise _invalid(str(error)) from None
    except ValueError:
        raise _invalid("it is not JSON") from None
    if not isinstance(value, dict):
        raise _invalid("it is not a JSON object")
    _check_case(value)
    own = value.get("mediaType")
    own = own if isinstance(own, str) else ""
    if own and media_type != own and has_children(media_type):
        raise _invalid(f"its mediaType is {visible(own, 100)}, its descriptor's {media_type}")
    known = own or media_type
    lists_manifests = isinstance(value.get("manifests"), list)
    lists_layers = "layers" in value or "config" in value or "blobs" in value
    if lists_manifests and lists_layers:
        raise _invalid("it is an index and a manifest at once")
    if value.get("schemaVersion") == 1:
        raise _invalid("Docker's schema 1 is not supported: rebuild the image, or push it again")
    is_index = is_index_type(known) or (lists_manifests and not is_manifest_type(known))
    if not lists_manifests and (is_index or not lists_layers):
        raise _invalid("it has neither manifests nor layers")
    if is_index != lists_manifests:
        raise _invalid(f"its type is {known}, but it lists manifests")
    usual = OCI_INDEX if is_index else OCI_MANIFEST
    return Manifest(known if has_children(known) else usual, is_index, _children(value))


def load_json(data: bytes, max_tokens: int = MAX_MANIFEST_TOKENS, *, strict: bool) -> object:
    """Untrusted JSON, in bounded memory.

    ``strict`` rejects broken UTF-8, numbers of thousands of digits and keys that are given twice:
    parsers differ in which of them they take.

    Raises:
        ValueError: it is not JSON, is rejected in strict mode, or has more than ``max_tokens``
            commas and opening brackets.
    """
    if sum(data.count(mark) for mark in (b",", b"{", b"[")) > max_tokens:
        raise _Unacceptable(_TOO_COMPLEX)
    try:
        if strict:
            return json.loads(data, object_pairs_hook=_unique_keys)
        return json.loads(data.decode("utf-8", "replace"), parse_int=_bounded_int)
    except RecursionError:
        raise _Unacceptable(_TOO_COMPLEX) from None


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Unacceptable("it has the same key twice")
    return found


def _bounded_int(digits: str) -> int:
    """An integer, without the quadratic time that thousands of digits would take."""
    return int(digits) if len(digits) < 20 else -1


def _kind_by_fields(value: dict[str, object], *, has_descriptors: bool) -> Kind:
    """The kind of a document without a known type."""
    is_document = has_descriptors or "schemaVersion" in value
    if isinstance(value.get("manifests"), list) and is_document:
        return Kind.INDEX
    if any(isinstance(value.get(key), list) for key in ("layers", "blobs")) and is_document:
        return Kind.MANIFEST
    if _is_config(value):
        return Kind.CONFIG
    # A lone config that is a descriptor: a manifest without layers.
    return Kind.MANIFEST if has_descriptors and "schemaVersion" in value else Kind.JSON


def _is_config(value: dict[str, object]) -> bool:
    rootfs = value.get("rootfs")
    if isinstance(rootfs, dict) and "diff_ids" in rootfs:
        return True
    return isinstance(value.get("architecture"), str) and isinstance(value.get("os"), str)


def _children(value: dict[str, Any]) -> tuple[Child, ...]:
    found: list[Child] = []
    for role, entry, descriptor in _descriptors(value, strict=True):
        if len(found) >= MAX_CHILDREN:
            raise _invalid(f"it has more than {MAX_CHILDREN} descriptors")
        urls = entry.get("urls")
        found.append(
            Child(
                descriptor,
                role,
                _platform(entry.get("platform")),
                _annotation(entry, _REF_NAME),
                tuple(url[:_MAX_URL] for url in urls[:_MAX_URLS] if isinstance(url, str))
                if isinstance(urls, list)
                else (),
                _embedded(entry.get("data"), descriptor),
            )
        )
    return tuple(found)


def _descriptors(
    value: dict[str, Any], *, strict: bool
) -> Iterator[tuple[str, dict[str, Any], Descriptor]]:
    """The role, the fields and the typed value of every descriptor, in the document's order."""
    for role, entry in _entries(value, strict=strict):
        if not isinstance(entry, dict):
            _reject(f"one of its {role}s is not an object", strict=strict)
            continue
        if strict:
            _check_case(entry)
        descriptor = _descriptor(role, entry, strict=strict)
        if descriptor is not None:
            yield role, entry, descriptor


def _entries(value: dict[str, Any], *, strict: bool) -> Iterator[tuple[str, object]]:
    if value.get("config") is not None:
        yield "config", value["config"]
    for key, role in _LISTS:
        entries = value.get(key)
        if isinstance(entries, list):
            for entry in entries:
                yield role, entry
        elif entries is not None:
            _reject(f"its {key} is not a list", strict=strict)


def _descriptor(role: str, entry: dict[str, Any], *, strict: bool) -> Descriptor | None:
    """None for one without a valid digest; a size that makes no sense counts as 0."""
    size = entry.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_BLOB_SIZE:
        _reject(f"the size of one of its {role}s is invalid", strict=strict)
        size = 0
    digest = entry.get("digest")
    try:
        parsed = Digest.parse(digest if isinstance(digest, str) else "")
    except InvalidArgument as error:
        _reject(f"the digest of one of its {role}s is invalid: {error.message}", strict=strict)
        return None
    return Descriptor(_text(entry.get("mediaType")), parsed, size)


def _check_case(value: dict[str, object]) -> None:
    """Go's ``encoding/json``, and so containerd, takes ``Layers`` for ``layers``; others don't."""
    for key in value:
        if key not in _FIELDS and key.lower() in _FIELDS_IN_LOWER_CASE:
            raise _invalid(f"the key {visible(key, 60)} has the wrong case")


def _platform(value: object) -> Platform | None:
    if not isinstance(value, dict):
        return None
    fields = (value.get("os"), value.get("architecture"), value.get("variant"))
    os, architecture, variant = (text[:64] if isinstance(text, str) else "" for text in fields)
    return Platform(os, architecture, variant)


def _embedded(value: object, descriptor: Descriptor) -> bytes | None:
    """The content in a descriptor's ``data``; None unless it has the size and the digest."""
    if not isinstance(value, str):
        return None
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    digest = descriptor.digest
    whole = len(data) == descriptor.size and Digest.of(data, digest.algorithm) == digest
    return data if whole else None


def _title(value: dict[str, Any]) -> str:
    return _annotation(value, _CONTAINERD_NAME) or _annotation(value, _REF_NAME)


def _annotation(value: dict[str, Any], key: str) -> str:
    annotations = value.get("annotations")
    return _text(annotations.get(key)) if isinstance(annotations, dict) else ""


def _text(value: object) -> str:
    return value[:_MAX_TEXT] if isinstance(value, str) else ""


def _reject(why: str, *, strict: bool) -> None:
    """Raise in strict mode; in lenient mode the caller skips what it read."""
    if strict:
        raise _invalid(why)


def _invalid(why: str) -> FailedPrecondition:
    return FailedPrecondition(f"invalid manifest: {why}")


def descriptor_json(descriptor: Descriptor) -> dict[str, Any]:
    """A descriptor as documents have it."""
    return {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size,
    }


def name_annotations(name: str, tag: str) -> dict[str, str]:
    """The annotations of an image's entry in an index, as containerd writes and reads them."""
    return {_CONTAINERD_NAME: name} | ({_REF_NAME: tag} if tag else {})


def make_ref_key(child: Child) -> str:
    """The ref of a child's ingest: containerd's ``MakeRefKey`` (``core/remotes/handlers.go``)."""
    media_type, digest = child.descriptor.media_type, child.descriptor.digest
    prefix = next((name for name, has_type in _PREFIXES if has_type(media_type)), "unknown")
    return f"{prefix}-{child.name}@{digest}" if child.name else f"{prefix}-{digest}"


def child_gc_labels(manifest: Manifest) -> dict[str, str]:
    """The labels by which a garbage collector finds a document's children.

    Source: containerd's ``ChildGCLabels`` (``core/images/mediatypes.go``).
    """
    counts: dict[str, int] = {}
    labels = {}
    for child in manifest.children:
        key = "config"
        if child.role != "config":
            short = child.role[0]
            key = f"{short}.{counts.get(short, 0)}"
            counts[short] = counts.get(short, 0) + 1
        labels[f"{GC_REFERENCE}.{key}"] = str(child.descriptor.digest)
    return labels
