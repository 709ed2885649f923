"""The labels that keep blobs, as containerd's garbage collector reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.content.digest import Digest
from contentui.content.errors import InvalidArgument
from contentui.content.rules import GC_REFERENCE, GC_ROOT
from contentui.index.model import Referrer

if TYPE_CHECKING:
    from collections.abc import Mapping


def references(labels: Mapping[str, str]) -> dict[Digest, str]:
    """The digests that labels point at, each with one label that does."""
    found: dict[Digest, str] = {}
    for key, value in labels.items():
        if key.startswith(GC_REFERENCE) and key[len(GC_REFERENCE) : len(GC_REFERENCE) + 1] in (
            "",
            ".",
            "/",
        ):
            try:
                found.setdefault(Digest.parse(value), key)
            except InvalidArgument:
                continue  # the collector ignores it as well
    return found


def root_referrers(labels: Mapping[str, str] | None) -> tuple[Referrer, ...]:
    """The referrer that a root label on the blob itself is; no blob's deletion frees it."""
    return (Referrer("root", GC_ROOT),) if labels and GC_ROOT in labels else ()
