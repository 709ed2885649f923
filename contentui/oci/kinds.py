"""The kinds of blobs."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What a blob's first bytes and, for JSON, its fields say it is."""

    INDEX = "index"
    MANIFEST = "manifest"
    CONFIG = "config"
    LAYER_GZIP = "layer · gzip"
    LAYER_ZSTD = "layer · zstd"
    LAYER_TAR = "layer · tar"
    JSON = "json"
    EMPTY = "empty"
    UNKNOWN = "unknown"
