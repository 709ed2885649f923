"""Images from an archive into a store: members in their order, then names and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from contentui.archives.documents import (
    diff_ids,
    docker_images,
    docker_layer_type,
    docker_manifest,
    name_in_archive,
    oci_images,
)
from contentui.archives.sources import compression
from contentui.content.digest import Digest
from contentui.content.errors import (
    ContentError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ReadOnly,
)
from contentui.content.helpers import has_ingest, image_names, put_blob, write_blob
from contentui.content.model import Descriptor
from contentui.content.rules import GC_ROOT
from contentui.oci.documents import (
    MAX_DEPTH,
    MAX_MANIFEST_SIZE,
    MAX_MANIFESTS,
    Child,
    child_gc_labels,
    parse_manifest,
)
from contentui.oci.media_types import DOCKER_CONFIG, DOCKER_MANIFEST, has_children
from contentui.oci.stored import SMALL_BLOB, read_document, size_of
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from contentui.archives.documents import DockerImage
    from contentui.archives.tar import Member
    from contentui.content.store import Store

MAX_DOCUMENTS_SIZE = 32 << 20
"""Bytes of all documents of one archive that are held in memory."""
_MAX_LINKS = 8


class Imported(NamedTuple):
    """An image that was imported."""

    name: str
    """Empty when it has none."""
    target: Descriptor
    replaced: Digest | None = None
    """The image that had the name before, if it was another one."""
    called: str = ""
    """The names in the archive of an image without a valid name; untrusted text."""


class Import:
    """One import. No name in an archive becomes a name in a file system, except digests.

    Args:
        store: the destination.
        name: replaces the name of the only image in the archive.
    """

    def __init__(self, store: Store, *, name: str = "") -> None:
        self._store = store
        self._name = name
        self._texts: dict[str, bytes] = {}
        self._text_size = 0
        self._links: dict[str, str] = {}
        self._tars: dict[str, Digest] = {}
        self._new: set[Digest] = set()
        """Blobs that were not in the store before."""
        self._walked: set[Digest] = set()
        self._ingest = ""
        """The ref of the last ingest that was begun."""

    def run(self, members: Iterable[Member]) -> list[Imported]:
        """Import all images; returns them in the archive's order.

        Raises:
            InvalidArgument: it is not an archive of images, or has several for one name.
            FailedPrecondition: a digest differs, or blobs are missing; complete blobs stay in the
                store, without a name.
        """
        if reason := self._store.traits.read_only_reason:
            raise ReadOnly("nothing can be stored here", advice=reason)
        try:
            return self._import(members)
        except ContentError as error:
            if left := self._left_behind():
                error.message += f"; left in the store: {left}"
            raise

    def _left_behind(self) -> str:
        """What a failed import has stored; empty: nothing."""
        parts = []
        if self._new:
            blobs = "1 complete blob" if len(self._new) == 1 else f"{len(self._new)} complete blobs"
            parts.append(f"{blobs} without a name")
        if self._ingest and has_ingest(self._store, self._ingest):
            parts.append(f"the ingest {visible(self._ingest, 200)}")
        return " and ".join(parts)

    def _import(self, members: Iterable[Member]) -> list[Imported]:
        for member in members:
            self._import_member(member)
        images = self._images()
        if not images:
            raise InvalidArgument("the archive has no images")
        if self._name and len(images) > 1:
            raise InvalidArgument(
                f"the archive has {len(images)} images, which can't all have the same name",
                advice="leave out --name, or import an archive of one image",
            )
        for root, _ in images:
            self._walk(root, 0)
        found = [
            each for root, names in images for each in self._create_names(root.descriptor, names)
        ]
        self._remove_gc_roots({each.target.digest for each in found if not each.name})
        return found

    def _import_member(self, member: Member) -> None:
        digest = _blob_digest(member.name)
        if member.link:
            if len(self._links) < MAX_MANIFESTS:
                self._links[member.name] = member.link
        elif digest is not None:
            self._store_blob(member, digest)
        elif member.name.endswith(".tar"):
            self._tars[member.name] = self._store_tar(member)
        elif member.name.endswith(".json"):
            self._keep_document(member)

    def _keep_document(self, member: Member) -> None:
        """Hold a document in memory until all members are read."""
        self._text_size += member.size
        if member.size > MAX_MANIFEST_SIZE or self._text_size > MAX_DOCUMENTS_SIZE:
            raise InvalidArgument(f"{visible(member.name, 100)} in the archive is too large")
        self._texts[member.name] = member.data.read()

    def _store_blob(self, member: Member, digest: Digest) -> None:
        """Store a member that is named by its digest, unless the store has it."""
        if self._size(digest) is not None:
            return
        try:
            if member.size <= SMALL_BLOB:
                put_blob(self._store, member.data.read(), expected=digest)
            else:
                self._ingest = f"tar-{member.name}"
                write_blob(
                    self._store, self._ingest, member.data, size=member.size, expected=digest
                )
        except FailedPrecondition as error:
            error.advice = error.advice or "the archive is damaged or was altered: export it again"
            raise
        self._new.add(digest)

    def _store_tar(self, member: Member) -> Digest:
        """Store a layer of a docker archive, of which the digest is not known."""
        if member.size <= SMALL_BLOB:
            data = member.data.read()
            digest = Digest.of(data)
            if self._size(digest) is None:
                put_blob(self._store, data, expected=digest)
                self._new.add(digest)
            return digest
        self._ingest = f"tar-{member.name}"
        written = write_blob(self._store, self._ingest, member.data, size=member.size)
        if written.outcome != "existed":
            self._new.add(written.info.digest)
        return written.info.digest

    def _images(self) -> list[tuple[Child, tuple[str, ...]]]:
        index = self._texts.get("index.json")
        listed = self._texts.get("manifest.json")
        if index is not None:
            return self._with_tags(oci_images(index), listed)
        if listed is None:
            raise InvalidArgument(
                "the archive has no images: it has neither index.json nor manifest.json",
                advice="'contentui ingest' stores any other file",
            )
        return [(self._manifest_of(each), each.tags) for each in docker_images(listed)]

    def _with_tags(
        self, images: list[tuple[Child, tuple[str, ...]]], listed: bytes | None
    ) -> list[tuple[Child, tuple[str, ...]]]:
        """A single image without a name in the index has the names in docker's manifest.json."""
        if listed is None or len(images) != 1 or images[0][1]:
            return images
        tags = [tag for each in docker_images(listed) for tag in each.tags]
        return [(images[0][0], tuple(tags))]

    def _manifest_of(self, image: DockerImage) -> Child:
        """Create and store the manifest of an image in a docker archive."""
        config = self._config(image.config)
        expected = diff_ids(config)
        layers = [self._layer(name) for name in image.layers]
        if len(expected) != len(layers):
            raise FailedPrecondition(
                f"an image in the archive has {len(layers)} layers, but its config has"
                f" {len(expected)}"
            )
        for layer, diff_id in zip(layers, expected, strict=True):
            plain = layer.media_type == docker_layer_type("")
            if plain and diff_id != layer.digest and diff_id.startswith("sha256:"):
                raise FailedPrecondition(
                    f"a layer in the archive has the digest {layer.digest}, but"
                    f" {visible(diff_id, 100)} in the image's config",
                    advice="the archive is damaged or was altered: export it again",
                )
        descriptor = Descriptor(DOCKER_CONFIG, self._put(config), len(config))
        manifest = docker_manifest(descriptor, layers)
        return Child(Descriptor(DOCKER_MANIFEST, self._put(manifest), len(manifest)), "manifest")

    def _put(self, data: bytes) -> Digest:
        digest = Digest.of(data)
        if self._size(digest) is None:
            put_blob(self._store, data, expected=digest)
            self._new.add(digest)
        return digest

    def _config(self, name: str) -> bytes:
        path = self._resolved(name)
        digest = _blob_digest(path)
        if digest is not None:
            return self._document(digest)
        data = self._texts.get(path)
        if data is None:
            raise _missing(name)
        stem = path.rpartition("/")[2].removesuffix(".json")
        if len(stem) == 64 and Digest.of(data).encoded != stem:
            raise FailedPrecondition(
                f"the digest of {visible(name, 100)} in the archive differs from its name"
            )
        return data

    def _layer(self, name: str) -> Descriptor:
        path = self._resolved(name)
        digest = _blob_digest(path) or self._tars.get(path)
        size = None if digest is None else self._size(digest)
        if digest is None or size is None:
            raise _missing(name)
        with self._store.reader(digest) as reader:
            kind = compression(reader.read_at(8, 0))
        return Descriptor(docker_layer_type(kind), digest, size)

    def _resolved(self, name: str) -> str:
        """The member to which a name refers, after following links."""
        from contentui.archives.tar import plain_path

        name = plain_path(name)
        for _ in range(_MAX_LINKS):
            if name not in self._links:
                return name
            name = self._links[name]
        return ""

    def _walk(self, child: Child, depth: int) -> None:
        """Check that a manifest's children are in the store, and label it; inner ones first."""
        digest = child.descriptor.digest
        if digest in self._walked:
            return
        if depth > MAX_DEPTH or len(self._walked) > MAX_MANIFESTS:
            raise FailedPrecondition(
                "invalid image: its indexes are nested too deeply, or it has too many manifests"
            )
        self._walked.add(digest)
        manifest = parse_manifest(self._document(digest), child.descriptor.media_type)
        present = 0
        for each in manifest.children:
            size = self._size(each.descriptor.digest)
            present += size is not None
            if size is None and not manifest.is_index and not each.is_nondistributable:
                raise _missing(f"{each.role} {each.descriptor.digest}")
            if size not in (None, each.descriptor.size):
                raise FailedPrecondition(
                    f"{each.descriptor.digest} has {size} bytes, but {each.descriptor.size} in its"
                    " descriptor"
                )
            document = has_children(each.descriptor.media_type) or manifest.is_index
            if document and size is not None:
                self._walk(each, depth + 1)
        if manifest.is_index and manifest.children and not present:
            raise _missing(f"every image of {digest}")
        self._label(digest, child_gc_labels(manifest))

    def _label(self, digest: Digest, labels: dict[str, str]) -> None:
        known = self._store.info(digest).labels or {}
        missing = {key: value for key, value in labels.items() if known.get(key) != value}
        if missing:
            self._store.update(digest, missing, [f"labels.{key}" for key in missing])

    def _create_names(self, target: Descriptor, names: tuple[str, ...]) -> list[Imported]:
        """Create an image's names in the store."""
        typed = self._typed(target)
        full = [self._name] if self._name else [name_in_archive(n, target.digest) for n in names]
        found = []
        if self._store.roles.image_naming is not None:
            found = [self._record(name, typed) for name in dict.fromkeys(full) if name]
        return found or [Imported("", typed, called=", ".join(names))]

    def _record(self, name: str, target: Descriptor) -> Imported:
        try:
            before = image_names(self._store).get(name).target.digest
        except NotFound:
            before = target.digest
        image_names(self._store).put(name, target)
        return Imported(name, target, None if before == target.digest else before)

    def _typed(self, target: Descriptor) -> Descriptor:
        data = self._document(target.digest)
        media_type = parse_manifest(data, target.media_type).media_type
        return Descriptor(media_type, target.digest, len(data))

    def _remove_gc_roots(self, unnamed: set[Digest]) -> None:
        """From here on names and gc labels keep the new blobs from the garbage collector.

        Images without a name keep their own label.
        """
        if not self._store.traits.garbage_collected:
            return
        for digest in self._new - unnamed:
            self._store.update(digest, {}, [f"labels.{GC_ROOT}"])

    def _document(self, digest: Digest) -> bytes:
        try:
            return read_document(self._store, digest)
        except NotFound:
            raise _missing(str(digest)) from None

    def _size(self, digest: Digest) -> int | None:
        return size_of(self._store, digest)


def _blob_digest(name: str) -> Digest | None:
    """The digest in a member's name ``blobs/ALGORITHM/HEX``."""
    parts = name.split("/")
    if len(parts) != 3 or parts[0] != "blobs":
        return None
    try:
        return Digest.parse(f"{parts[1]}:{parts[2]}")
    except InvalidArgument:
        return None


def _missing(what: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"the archive is incomplete: {visible(what, 120)} is missing",
        advice="export the image again; complete blobs stay in the store, without a name",
    )
