"""Sizes of images: total, exclusive, shared, and how many blobs are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from contentui.content.errors import ContentError
from contentui.content.helpers import verified_chunks
from contentui.oci.documents import MAX_MANIFEST_SIZE, MAX_MANIFESTS, parse_manifest
from contentui.oci.media_types import has_children

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contentui.content.digest import Digest
    from contentui.content.model import Image, Info
    from contentui.content.store import Store


class Sizes(NamedTuple):
    """Bytes in the store."""

    total: int
    own: int
    """In blobs that no other image of the store refers to."""
    shared: int
    missing: int
    """Blobs that are not in the store; platforms of an index that were not pulled don't count."""


def sizes_of(store: Store, images: Sequence[Image]) -> list[Sizes]:
    """The sizes of each image, in their order. Raises what `Store.walk` raises."""
    there, walks = _walks(store, images)
    users: dict[Digest, int] = {}
    for walk in walks.values():
        for digest in walk.found:
            users[digest] = users.get(digest, 0) + 1
    result = []
    for image in images:
        walk = walks[image.target.digest]
        total = sum(there[digest].size for digest in walk.found)
        own = sum(there[digest].size for digest in walk.found if users[digest] == 1)
        result.append(Sizes(total, own, total - own, walk.missing))
    return result


def _walks(store: Store, images: Sequence[Image]) -> tuple[dict[Digest, Info], dict[Digest, _Walk]]:
    """All blobs in the store, and for each image's digest all that it refers to."""
    there = {info.digest: info for info in store.walk()}
    roots = {image.target.digest for image in images}
    return there, {root: _Walk(store, there, root) for root in roots}


class _Walk:
    """All blobs to which one image refers, directly or not."""

    def __init__(self, store: Store, there: dict[Digest, Info], root: Digest) -> None:
        self._store = store
        self._there = there
        self._manifests = 0
        self.found: set[Digest] = set()
        self.missing = 0
        if root in there:
            self._follow(root, "")
        else:
            self.missing = 1

    def _follow(self, digest: Digest, media_type: str) -> None:
        self.found.add(digest)
        self._manifests += 1
        info = self._there[digest]
        if info.size > MAX_MANIFEST_SIZE or self._manifests > MAX_MANIFESTS:
            return
        try:
            data = b"".join(verified_chunks(self._store, digest))
            manifest = parse_manifest(data, media_type)
        except ContentError:
            return
        for child in manifest.children:
            descriptor = child.descriptor
            if descriptor.digest in self.found:
                continue
            if descriptor.digest not in self._there:
                self.missing += not manifest.is_index
            elif manifest.is_index or has_children(descriptor.media_type):
                self._follow(descriptor.digest, descriptor.media_type)
            else:
                self.found.add(descriptor.digest)
