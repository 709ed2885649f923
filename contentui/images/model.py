"""What a blob is, and who needs it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from contentui.content.digest import Digest


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


class Need(NamedTuple):
    """One reason why a blob must stay."""

    by: str
    """What needs it: ``manifest``, ``label``, ``root``, ``image``, ``lease``."""
    name: str
    """Which one, in words; hostile text: an image's name, a label, a digest."""
    digest: Digest | None = None
    """The blob that needs it, when a blob does: deleting that one as well frees this one."""
