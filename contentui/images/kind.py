"""What a blob is, told from its first bytes."""

from __future__ import annotations

from contentui.images.documents import looks_like_json, parse_document
from contentui.images.model import Kind

HEAD_SIZE = 512
"""Bytes that are enough for every magic number; a tar's lies at offset 257."""

_MAGIC = ((b"\x1f\x8b", Kind.LAYER_GZIP), (b"\x28\xb5\x2f\xfd", Kind.LAYER_ZSTD))


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
