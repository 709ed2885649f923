"""Rules about names, labels and changes that all stores share, and the labels with a meaning.

Limits and label semantics are containerd's: ``core/metadata/content.go``, ``pkg/labels`` and
``docs/garbage-collection.md`` there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.content.errors import Changed, InvalidArgument, NotFound
from contentui.content.model import IngestId, ref_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from contentui.content.digest import Digest
    from contentui.content.model import Descriptor, Image, Info, Status

REF_LIMIT = 64 << 10
"""Bytes that a ref may have."""
MAX_TOTAL = (1 << 63) - 1
"""The largest total, bytes: what containerd's int64 and a file's size can be."""
LABEL_LIMIT = 4096
"""Bytes that a label's key and value may have together (containerd ``pkg/labels/validate.go``)."""
ALL_LABELS_LIMIT = 4 << 20
"""Bytes that all labels of a blob may have together: it must fit into a message of a listing."""
IMAGE_NAME_LIMIT = 4096
"""Bytes that an image's name, and its target's media type, may have."""

GC_PREFIX = "containerd.io/gc."
"""Begins the labels that the garbage collector reads."""
GC_ROOT = "containerd.io/gc.root"
"""On a blob, whatever its value: the collector keeps it."""
GC_REFERENCE = "containerd.io/gc.ref.content"
"""On a blob, alone or followed by ``.`` or ``/`` and anything: keep the digest in the value."""
GC_SNAPSHOT = "containerd.io/gc.ref.snapshot."
"""On a blob, followed by a snapshotter's name: keep the snapshot in the value."""
GC_EXPIRE = "containerd.io/gc.expire"
"""On a lease: the time, RFC 3339, from which the collector ignores it."""
DISTRIBUTION_SOURCE = "containerd.io/distribution.source."
"""On a blob, followed by a registry's host: the repositories there that have it, with commas."""


def check_ref(ref: str) -> None:
    """Check the ref of a new ingest.

    Raises:
        InvalidArgument: it is empty, longer than `REF_LIMIT`, has an unpaired surrogate, or is an
            `IngestId`, which can only name an existing ingest.
    """
    if isinstance(ref, IngestId):
        raise InvalidArgument(
            f"a new ingest needs a ref, not an id: {ref[:160]!r}",
            advice="name the ingest, for instance by the digest it will have",
        )
    length = len(ref_bytes(ref))
    if not 0 < length <= REF_LIMIT:
        raise InvalidArgument(
            f"a ref must have between 1 and {REF_LIMIT} bytes, not {length}",
            advice="name the ingest, for instance by the digest it will have",
        )


def check_total(total: int) -> None:
    """Check an ingest's total, bytes. Raises InvalidArgument: negative, or over `MAX_TOTAL`."""
    if total < 0:
        raise InvalidArgument(f"total must not be negative: {total}")
    if total > MAX_TOTAL:
        raise InvalidArgument(f"total must not exceed 2^63-1 bytes: {total}")


def checked_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels to store: those with a value, since an empty value removes a label.

    Raises:
        InvalidArgument: an empty key, text that UTF-8 can't encode, key and value of more than
            `LABEL_LIMIT` bytes together, or all labels of more than `ALL_LABELS_LIMIT`.
    """
    total = 0
    for key, value in labels.items():
        if not key:
            raise InvalidArgument(
                "a label must have a key before its value", advice="write it as key=value"
            )
        try:
            size = len(key.encode()) + len(value.encode())
        except UnicodeEncodeError:
            raise InvalidArgument(f"label {key[:64]!r} contains an unpaired surrogate") from None
        if size > LABEL_LIMIT:
            raise InvalidArgument(
                f"label {key[:64]!r} is longer than {LABEL_LIMIT} bytes",
                advice="shorten it; key and value count together",
            )
        total += size
    if total > ALL_LABELS_LIMIT:
        raise InvalidArgument(
            f"all labels together must not exceed {ALL_LABELS_LIMIT} bytes",
            advice="remove or shorten some",
        )
    return {key: value for key, value in labels.items() if value}


def label_changes(
    digest: Digest, labels: Mapping[str, str], mask: Sequence[str]
) -> dict[str, str | None] | None:
    """What a field mask changes, key by key, None removing it; None: all labels are replaced.

    As `Manager.update` defines it, and containerd's ``core/metadata/content.go`` (``Update``).

    Raises:
        InvalidArgument: a path that is neither ``labels`` nor begins with ``labels.``.
    """
    changes: dict[str, str | None] = {}
    for path in mask:
        field, _, key = path.partition(".")
        if field != "labels" or (not key and "." in path):
            raise InvalidArgument(f"cannot update {path[:160]!r} field on content info {digest}")
        changes[key] = labels.get(key) or None
    if "" in changes:  # the whole field is named
        return None
    return changes if mask else None


def updated_labels(
    old: Mapping[str, str], digest: Digest, labels: Mapping[str, str], mask: Sequence[str]
) -> dict[str, str]:
    """``old`` after `label_changes`. Raises InvalidArgument as that and `checked_labels`."""
    changes = label_changes(digest, labels, mask)
    if changes is None:
        return checked_labels(labels)
    return checked_labels({**old, **{key: value or "" for key, value in changes.items()}})


def check_blob_match(found: Info, if_match: Info | None) -> None:
    """Raises Changed when a blob differs from ``if_match`` in size, commit time or namespaces."""
    if if_match is None:
        return
    if found.namespaces != if_match.namespaces:
        names = ", ".join(found.namespaces[:5])
        raise Changed(
            f"blob {found.digest} is in other namespaces than were shown: {names}",
            advice="look again, then decide",
        )
    if (found.size, found.committed_ns) != (if_match.size, if_match.committed_ns):
        raise Changed(
            f"blob {found.digest} was deleted and stored again since it was shown",
            advice="look again, then decide",
        )


def ingest_difference(found: Status, if_match: Status, *, held: bool = False) -> str:
    """How an ingest differs from the status that was shown, for a message; empty if it does not.

    ``held``: a live writer changes offset and time, so only ref and start are compared.
    """
    if (found.id, found.ref, found.started_ns) != (if_match.id, if_match.ref, if_match.started_ns):
        return "it was begun anew"
    if held:
        return ""
    if found.offset != if_match.offset:
        return f"its offset went from {if_match.offset} to {found.offset}"
    if found.damage != if_match.damage:
        return f"it is {found.damage or 'sound now'}"
    return "it was opened or written to" if found.updated_ns != if_match.updated_ns else ""


def check_ingest_match(
    found: Status, if_match: Status | None, name: str, *, held: bool = False
) -> None:
    """Raises Changed when `ingest_difference` finds one; ``name`` is for the message."""
    if if_match and (difference := ingest_difference(found, if_match, held=held)):
        raise Changed(
            f"ingest {name} changed since it was shown: {difference}",
            advice="look again, then decide",
        )


def check_image(name: str, target: Descriptor) -> None:
    """Check an image before it is stored.

    Raises:
        InvalidArgument: a name that is empty, over `IMAGE_NAME_LIMIT` bytes or no text; a target
            whose media type is, or whose size is negative or over 63 bits.
    """
    for what, text, least in (("name", name, 1), ("media type", target.media_type, 0)):
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise InvalidArgument(
                f"the image's {what} {text[:160]!r} contains an unpaired surrogate"
            ) from None
        if not least <= size <= IMAGE_NAME_LIMIT:
            raise InvalidArgument(
                f"an image's {what} must have between {least} and {IMAGE_NAME_LIMIT} bytes,"
                f" not {size}"
            )
    if not 0 <= target.size <= MAX_TOTAL:
        raise InvalidArgument(
            f"the size of an image's target must be between 0 and 2^63-1 bytes: {target.size}"
        )


def check_image_match(found: Image, if_match: Image | None) -> None:
    """Raises Changed when the name refers to another digest than in ``if_match``."""
    if if_match is not None and found.target.digest != if_match.target.digest:
        raise Changed(
            f"image {found.name[:160]!r} refers to {found.target.digest} now",
            advice="look again, then decide",
        )


def image_not_found(name: str) -> NotFound:
    """The error for an image name that the store does not have."""
    return NotFound(f"image {name[:160]!r}: not found")
