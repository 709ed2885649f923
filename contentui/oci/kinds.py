"""The kinds of blobs."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """The kind of a blob, from its first bytes and, for JSON, its fields."""

    INDEX = "index"
    MANIFEST = "manifest"
    CONFIG = "config"
    LAYER_GZIP = "layer \u00b7 gzip"
    LAYER_ZSTD = "layer \u00b7 zstd"
    LAYER_TAR = "layer \u00b7 tar"
    JSON = "json"
    EMPTY = "empty"
    UNKNOWN = "unknown"
