"""Images of a store as an OCI archive that docker's load takes as well: the same bytes each time.

Documents come last, so that an archive that was cut short has no images.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from contentui.archives.documents import descriptor_json
from contentui.archives.tar import BLOCK
from contentui.content.errors import ContentError, DataLoss, FailedPrecondition, NotFound
from contentui.content.helpers import verified_chunks
from contentui.oci.manifests import (
    DEEPEST,
    INDEXES,
    MOST_DOCUMENTS,
    Child,
    is_document,
    parse_manifest,
)
from contentui.oci.platforms import own_platform, suits
from contentui.oci.references import parse_reference
from contentui.remotes.registry import MAX_MANIFEST
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from contentui.content.digest import Digest
    from contentui.content.model import Descriptor
    from contentui.content.store import Store
    from contentui.oci.manifests import Manifest
    from contentui.oci.platforms import Platform

_END = bytes(2 * BLOCK)
_RECORD = 20 * BLOCK
_CONFIGS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)


class Source(NamedTuple):
    """What to export."""

    name: str
    """Empty for an image that is named by its digest alone."""
    target: Descriptor
    """Its media type may be empty."""


class Export:
    """One export: look at `total` and `absent`, then write `chunks`.

    Args:
        store: where the images are.
        sources: which.
        platforms: of each image these only; empty: everything that is here.

    Raises:
        NotFound: a part is not in the store, or no image for a platform.
        FailedPrecondition: a manifest can't be read.
    """

    def __init__(
        self, store: Store, sources: Sequence[Source], platforms: Sequence[Platform] = ()
    ) -> None:
        self._store = store
        self._sizes: dict[Digest, int] = {}
        self._documents = 0
        self.absent: list[Child] = []
        """Platforms of the images that are not here."""
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
            DataLoss: a blob is not what its digest says; then the archive has no end.
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
        index = {"schemaVersion": 2, "mediaType": INDEXES[0], "manifests": self._index}
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
            raise DataLoss(f"blob {digest} has changed its size meanwhile")

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
                entry["annotations"] = _annotations(source.name)
            self._index.append(entry)
            self._add_docker(child, source.name)

    def _walk(self, child: Child, depth: int) -> Manifest:
        """Count in a document and everything that it leads to."""
        self._documents += 1
        if depth > DEEPEST or self._documents > MOST_DOCUMENTS:
            raise FailedPrecondition("the image's indexes are nested too deeply or too many")
        manifest = self._read(child)
        self._count(child.descriptor)
        here = 0
        for each in manifest.children:
            if manifest.is_index and not self._is_here(each.descriptor.digest):
                self.absent.append(each)
                continue
            here += 1
            if manifest.is_index or is_document(each.descriptor.media_type):
                self._walk(each, depth + 1)
            elif not each.is_foreign or self._is_here(each.descriptor.digest):
                self._count(each.descriptor)
        if manifest.is_index and manifest.children and not here:
            raise NotFound(
                f"none of the images of {child.descriptor.digest} is here",
                advice="fetch it again: its index alone is of no use",
            )
        return manifest

    def _read(self, child: Child) -> Manifest:
        digest = child.descriptor.digest
        if self._size(digest) > MAX_MANIFEST:
            raise FailedPrecondition(f"{digest} is too large for a manifest")
        data = b"".join(verified_chunks(self._store, digest))
        return parse_manifest(data, child.descriptor.media_type)

    def _count(self, descriptor: Descriptor) -> None:
        self._sizes[descriptor.digest] = self._size(descriptor.digest)

    def _size(self, digest: Digest) -> int:
        try:
            return self._store.info(digest).size
        except NotFound:
            raise NotFound(
                f"{digest}, a part of the image, is not here",
                advice="pull the image again: only what is missing is fetched",
            ) from None

    def _is_here(self, digest: Digest) -> bool:
        try:
            self._store.info(digest)
        except NotFound:
            return False
        return True

    def _chosen(self, child: Child, platform: Platform, source: Source) -> Child:
        """The manifest below ``child`` that suits a platform best."""
        found = self._best(child, platform, 0)
        if found is None:
            name = visible(source.name) or child.descriptor.digest
            raise NotFound(
                f"{name} has no image for {platform} here",
                advice="'contentui pull --platform' fetches it, where the registry has it",
            )
        return found

    def _best(self, child: Child, platform: Platform, depth: int) -> Child | None:
        manifest = self._read(child)
        if not manifest.is_index:
            return child
        if depth > DEEPEST:
            raise FailedPrecondition("the image's indexes are nested too deeply")
        offers = [
            (1000 if each.platform is None else fit, number, each)
            for number, each in enumerate(manifest.children)
            if self._is_here(each.descriptor.digest)
            and (fit := 0 if each.platform is None else suits(platform, each.platform)) is not None
        ]
        for _, _, each in sorted(offers, key=lambda offer: offer[:2]):
            if (best := self._best(each, platform, depth + 1)) is not None:
                return best
        return None

    def _add_docker(self, child: Child, name: str) -> None:
        """An entry for docker's load, which takes plain images only."""
        best = self._best(child, own_platform(), 0)
        if best is None:
            return
        children = self._read(best).children
        configs = [each for each in children if each.role == "config"]
        layers = [each for each in children if each.role == "layer"]
        if not configs or configs[0].descriptor.media_type not in _CONFIGS:
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


def _annotations(name: str) -> dict[str, str]:
    """An image's name, as containerd writes and reads it."""
    try:
        tag = parse_reference(name).tag
    except ContentError:
        tag = ""
    found = {"io.containerd.image.name": name}
    return found | {"org.opencontainers.image.ref.name": tag} if tag else found


def _header(name: str, size: int) -> bytes:
    """A member's header: no time, no owner, so that equal images give equal archives."""
    import tarfile

    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o444
    return member.tobuf(tarfile.PAX_FORMAT)
