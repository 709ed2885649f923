"""The labels that keep blobs, as containerd's garbage collector reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.content.digest import Digest
from contentui.content.errors import InvalidArgument
from contentui.index.model import Referrer

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = "containerd.io/gc.root"
"""On a blob, whatever its value: keep this one (content-store.md 6.2)."""

REFERENCE = "containerd.io/gc.ref.content"
"""On a blob, alone or followed by ``.`` or ``/`` and anything: keep the digest in the value."""


def references(labels: Mapping[str, str]) -> dict[Digest, str]:
    """The digests that labels point at, each with one label that does."""
    found: dict[Digest, str] = {}
    for key, value in labels.items():
        if key.startswith(REFERENCE) and key[len(REFERENCE) : len(REFERENCE) + 1] in ("", ".", "/"):
            try:
                found.setdefault(Digest.parse(value), key)
            except InvalidArgument:
                continue  # the collector ignores it as well
    return found


def root_referrers(labels: Mapping[str, str] | None) -> tuple[Referrer, ...]:
    """The referrer that a root label on the blob itself is; no blob's deletion frees it."""
    return (Referrer("root", ROOT),) if labels and ROOT in labels else ()
