"""The kinds of blobs."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """The kind of a blob, from its first bytes and, for JSON, its fields."""

    INDEX = "index"
    MANIFEST = "manifest"
    CONFIG = "config"
    LAYER_GZIP = "layer · gzip"
    LAYER_ZSTD = "layer · zstd"
    LAYER_TAR = "layer · tar"
    JSON = "json"
    EMPTY = "empty"
    UNKNOWN = "unknown"
