"""Images of a store as an OCI archive that `docker load` takes as well: the same bytes each time.

Documents come last, so that a truncated archive has no images. Source: ``image-layout.md`` of the
OCI image specification.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from contentui.archives.tar import BLOCK
from contentui.content.errors import ContentError, DataLoss, FailedPrecondition, NotFound
from contentui.content.helpers import verified_chunks
from contentui.oci.documents import (
    MAX_DEPTH,
    MAX_MANIFESTS,
    Child,
    descriptor_json,
    name_annotations,
)
from contentui.oci.media_types import CONFIGS, OCI_INDEX, has_children
from contentui.oci.platforms import match, own_platform
from contentui.oci.references import parse_reference
from contentui.oci.stored import read_manifest, size_of
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from contentui.content.digest import Digest
    from contentui.content.model import Descriptor
    from contentui.content.store import Store
    from contentui.oci.documents import Manifest
    from contentui.oci.platforms import Platform

_END = bytes(2 * BLOCK)
_RECORD = 20 * BLOCK


class Source(NamedTuple):
    """What to export."""

    name: str
    """Empty for an image without a name."""
    target: Descriptor
    """Its media type may be empty."""


class Export:
    """One export: `total` and `absent` are known at once, `chunks` is the archive.

    Args:
        store: has the images.
        sources: the images.
        platforms: of each image these only; empty: all that are in the store.

    Raises:
        NotFound: a part is not in the store, or no image for a platform.
        FailedPrecondition: a manifest is invalid.
    """

    def __init__(
        self, store: Store, sources: Sequence[Source], platforms: Sequence[Platform] = ()
    ) -> None:
        self._store = store
        self._sizes: dict[Digest, int] = {}
        self._manifests = 0
        self.absent: list[Child] = []
        """Platforms of the images that are not in the store."""
        self._index: list[dict[str, Any]] = []
        self._docker: dict[Digest, dict[str, Any]] = {}
        for source in sources:
            self._add(source, platforms)

    @property
    def total(self) -> int:
        """Bytes of all blobs."""
        return sum(self._sizes.values())

    def chunks(self) -> Iterator[bytes]:
        """The archive.

        Raises:
            DataLoss: a blob is damaged; the archive is incomplete then.
        """
        written = 0
        for chunk in self._members():
            written += len(chunk)
            yield chunk
        yield _END + bytes(-(written + len(_END)) % _RECORD)

    def _members(self) -> Iterator[bytes]:
        for digest in sorted(self._sizes):
            size = self._sizes[digest]
            yield _header(f"blobs/{digest.algorithm}/{digest.encoded}", size)
            yield from self._verified(digest, size)
            yield bytes(-size % BLOCK)
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": self._index}
        layout = {"imageLayoutVersion": "1.0.0"}
        documents: dict[str, object] = {"index.json": index, "oci-layout": layout}
        if self._docker:
            documents["manifest.json"] = list(self._docker.values())
        for name, value in sorted(documents.items()):
            data = json.dumps(value, separators=(",", ":")).encode()
            yield _header(name, len(data)) + data + bytes(-len(data) % BLOCK)

    def _verified(self, digest: Digest, size: int) -> Iterator[bytes]:
        count = 0
        for chunk in verified_chunks(self._store, digest):
            count += len(chunk)
            yield chunk
        if count != size:
            raise DataLoss(f"the size of blob {digest} has changed during the export")

    def _add(self, source: Source, platforms: Sequence[Platform]) -> None:
        root = Child(source.target, "manifest")
        roots = [self._chosen(root, each, source) for each in platforms] or [root]
        for child in {each.descriptor.digest: each for each in roots}.values():
            manifest = self._walk(child, 0)
            entry = descriptor_json(child.descriptor._replace(media_type=manifest.media_type))
            entry["size"] = self._sizes[child.descriptor.digest]
            if child.platform is not None:
                pairs = zip(("os", "architecture", "variant"), child.platform, strict=True)
                entry["platform"] = {key: value for key, value in pairs if value}
            if source.name:
                entry["annotations"] = name_annotations(source.name, _tag(source.name))
            self._index.append(entry)
            self._add_docker(child, source.name)

    def _walk(self, child: Child, depth: int) -> Manifest:
        """Add a manifest or index, and everything to which it refers."""
        self._manifests += 1
        if depth > MAX_DEPTH or self._manifests > MAX_MANIFESTS:
            raise FailedPrecondition(
                "invalid image: its indexes are nested too deeply, or it has too many manifests"
            )
        manifest = self._read(child)
        self._add_blob(child.descriptor)
        present = 0
        for each in manifest.children:
            if manifest.is_index and not self._exists(each.descriptor.digest):
                self.absent.append(each)
                continue
            present += 1
            if manifest.is_index or has_children(each.descriptor.media_type):
                self._walk(each, depth + 1)
            elif not each.is_nondistributable or self._exists(each.descriptor.digest):
                self._add_blob(each.descriptor)
        if manifest.is_index and manifest.children and not present:
            raise NotFound(
                f"no image of the index {child.descriptor.digest} is in the store",
                advice="pull it again, for at least one platform",
            )
        return manifest

    def _read(self, child: Child) -> Manifest:
        digest = child.descriptor.digest
        self._size(digest)
        return read_manifest(self._store, digest, child.descriptor.media_type)[1]

    def _add_blob(self, descriptor: Descriptor) -> None:
        self._sizes[descriptor.digest] = self._size(descriptor.digest)

    def _size(self, digest: Digest) -> int:
        size = size_of(self._store, digest)
        if size is None:
            raise NotFound(
                f"{digest}, a part of the image, is not in the store",
                advice="pull the image again: only what is missing is downloaded",
            )
        return size

    def _exists(self, digest: Digest) -> bool:
        return size_of(self._store, digest) is not None

    def _chosen(self, child: Child, platform: Platform, source: Source) -> Child:
        """The manifest in ``child`` that matches a platform best."""
        found = self._best(child, platform, 0)
        if found is None:
            name = visible(source.name) or child.descriptor.digest
            raise NotFound(
                f"{name} has no image for {platform} in the store",
                advice="'contentui pull --platform' downloads it, if the registry has it",
            )
        return found

    def _best(self, child: Child, platform: Platform, depth: int) -> Child | None:
        manifest = self._read(child)
        if not manifest.is_index:
            return child
        if depth > MAX_DEPTH:
            raise FailedPrecondition("invalid image: its indexes are nested too deeply")
        offers = [
            (distance, number, each)
            for number, each in enumerate(manifest.children)
            if self._exists(each.descriptor.digest)
            and (distance := match(platform, each.platform)) is not None
        ]
        for _, _, each in sorted(offers, key=lambda offer: offer[:2]):
            if (best := self._best(each, platform, depth + 1)) is not None:
                return best
        return None

    def _add_docker(self, child: Child, name: str) -> None:
        """An entry for `docker load`, which takes images only, not indexes or artifacts."""
        best = self._best(child, own_platform(), 0)
        if best is None:
            return
        children = self._read(best).children
        configs = [each for each in children if each.role == "config"]
        layers = [each for each in children if each.role == "layer"]
        if not configs or configs[0].descriptor.media_type not in CONFIGS:
            return
        entry = self._docker.setdefault(
            best.descriptor.digest,
            {
                "Config": _path(configs[0].descriptor.digest),
                "RepoTags": [],
                "Layers": [_path(layer.descriptor.digest) for layer in layers],
            },
        )
        if name and "@" not in name:
            entry["RepoTags"].append(name)


def _path(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.encoded}"


def _tag(name: str) -> str:
    try:
        return parse_reference(name).tag
    except ContentError:
        return ""


def _header(name: str, size: int) -> bytes:
    """A member's header: no time, no owner, so that equal images have equal archives."""
    import tarfile

    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o444
    return member.tobuf(tarfile.PAX_FORMAT)
