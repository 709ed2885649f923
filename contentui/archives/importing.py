"""Images from an archive into a store: members as they come, then the documents that name them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from contentui.archives.documents import (
    DOCKER_CONFIG,
    diff_ids,
    docker_images,
    docker_layer_type,
    docker_manifest,
    name_in_archive,
    oci_images,
)
from contentui.archives.sources import compression
from contentui.content.digest import Digest
from contentui.content.errors import FailedPrecondition, InvalidArgument, NotFound, ReadOnly
from contentui.content.helpers import image_names, put_blob, verified_chunks, write_blob
from contentui.content.model import Descriptor
from contentui.content.rules import GC_ROOT
from contentui.oci.manifests import (
    DEEPEST,
    MANIFESTS,
    MOST_DOCUMENTS,
    Child,
    gc_labels,
    is_document,
    parse_manifest,
)
from contentui.remotes.registry import MAX_MANIFEST
from contentui.text import visible
from contentui.transfers.fetch import SMALL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from contentui.archives.documents import DockerImage
    from contentui.archives.tar import Member
    from contentui.content.model import Info
    from contentui.content.store import Store

MOST_TEXT = 32 << 20
"""Bytes of all documents of one archive that are held in memory."""
_MOST_HOPS = 8


class Imported(NamedTuple):
    """An image that came in."""

    name: str
    """Empty when it has none."""
    target: Descriptor
    replaced: Digest | None = None
    """What the name stood for before, when that was something else."""
    called: str = ""
    """What the archive calls a nameless one; hostile text."""


class Import:
    """One import. Nothing of an archive gets a name in a file system but digests.

    Args:
        store: where it goes.
        name: what to call the one image of the archive, whatever it is called there.
    """

    def __init__(self, store: Store, *, name: str = "") -> None:
        self._store = store
        self._name = name
        self._texts: dict[str, bytes] = {}
        self._text_size = 0
        self._links: dict[str, str] = {}
        self._tars: dict[str, Digest] = {}
        self._new: set[Digest] = set()
        """Blobs that weren't there before."""
        self._walked: set[Digest] = set()

    def run(self, members: Iterable[Member]) -> list[Imported]:
        """Take everything in; returns the images, in the archive's order.

        Raises:
            InvalidArgument: it is no archive of images, or one name is given for several.
            FailedPrecondition: bytes are not what their names say, or parts are missing; what
                was whole stays, unnamed.
        """
        if reason := self._store.traits.read_only_reason:
            raise ReadOnly("nothing can be stored here", advice=reason)
        for member in members:
            self._take(member)
        images = self._images()
        if not images:
            raise InvalidArgument("the archive holds no image")
        if self._name and len(images) > 1:
            raise InvalidArgument(
                f"the archive holds {len(images)} images, and there is one name for them",
                advice="leave out --name, or import an archive of one image",
            )
        for root, _ in images:
            self._walk(root, 0)
        found = [each for root, names in images for each in self._named(root.descriptor, names)]
        self._let_go({each.target.digest for each in found if not each.name})
        return found

    def _take(self, member: Member) -> None:
        digest = _blob_digest(member.name)
        if member.link:
            if len(self._links) < MOST_DOCUMENTS:
                self._links[member.name] = member.link
        elif digest is not None:
            self._store_blob(member, digest)
        elif member.name.endswith(".tar"):
            self._tars[member.name] = self._store_tar(member)
        elif member.name.endswith(".json"):
            self._hold(member)

    def _hold(self, member: Member) -> None:
        """Keep a document's bytes until all members are known."""
        self._text_size += member.size
        if member.size > MAX_MANIFEST or self._text_size > MOST_TEXT:
            raise InvalidArgument(f"{visible(member.name, 100)} in the archive is too large")
        self._texts[member.name] = member.data.read()

    def _store_blob(self, member: Member, digest: Digest) -> None:
        """Store what says its digest itself; what is there already isn't read."""
        if self._size(digest) is not None:
            return
        try:
            if member.size <= SMALL:
                put_blob(self._store, member.data.read(), expected=digest)
            else:
                ref = f"tar-{member.name}"
                write_blob(self._store, ref, member.data, size=member.size, expected=digest)
        except FailedPrecondition as error:
            error.advice = error.advice or "the archive is damaged, or was altered: make it anew"
            raise
        self._new.add(digest)

    def _store_tar(self, member: Member) -> Digest:
        """Store a layer of a docker archive, which doesn't tell its digest."""
        if member.size <= SMALL:
            data = member.data.read()
            digest = Digest.of(data)
            if self._size(digest) is None:
                put_blob(self._store, data, expected=digest)
                self._new.add(digest)
            return digest
        ref = f"tar-{member.name}"
        written = write_blob(self._store, ref, member.data, size=member.size)
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
                "the archive holds no images: neither index.json nor manifest.json is in it",
                advice="'contentui ingest' stores any other file",
            )
        return [(self._manifest_of(each), each.tags) for each in docker_images(listed)]

    def _with_tags(
        self, images: list[tuple[Child, tuple[str, ...]]], listed: bytes | None
    ) -> list[tuple[Child, tuple[str, ...]]]:
        """An image whose index gives no name has docker's, when there is just this one."""
        if listed is None or len(images) != 1 or images[0][1]:
            return images
        tags = [tag for each in docker_images(listed) for tag in each.tags]
        return [(images[0][0], tuple(tags))]

    def _manifest_of(self, image: DockerImage) -> Child:
        """Make and store the manifest of an image in a docker archive."""
        config = self._config(image.config)
        wanted = diff_ids(config)
        layers = [self._layer(name) for name in image.layers]
        if len(wanted) != len(layers):
            raise FailedPrecondition(
                f"an image in the archive has {len(layers)} layers, and its config"
                f" tells of {len(wanted)}"
            )
        for layer, diff_id in zip(layers, wanted, strict=True):
            plain = layer.media_type == docker_layer_type("")
            if plain and diff_id != layer.digest and diff_id.startswith("sha256:"):
                raise FailedPrecondition(
                    f"a layer in the archive has the digest {layer.digest}, and the image's"
                    f" config wants {visible(diff_id, 100)}",
                    advice="the archive is damaged, or was altered: make it anew",
                )
        descriptor = Descriptor(DOCKER_CONFIG, self._put(config), len(config))
        manifest = docker_manifest(descriptor, layers)
        return Child(Descriptor(MANIFESTS[1], self._put(manifest), len(manifest)), "manifest")

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
            raise _lacks(name)
        stem = path.rpartition("/")[2].removesuffix(".json")
        if len(stem) == 64 and Digest.of(data).encoded != stem:
            raise FailedPrecondition(
                f"{visible(name, 100)} in the archive has another digest than its name says"
            )
        return data

    def _layer(self, name: str) -> Descriptor:
        path = self._resolved(name)
        digest = _blob_digest(path) or self._tars.get(path)
        size = None if digest is None else self._size(digest)
        if digest is None or size is None:
            raise _lacks(name)
        with self._store.reader(digest) as reader:
            kind = compression(reader.read_at(8, 0))
        return Descriptor(docker_layer_type(kind), digest, size)

    def _resolved(self, name: str) -> str:
        """The member that a name means, links followed."""
        from contentui.archives.tar import plain_path

        name = plain_path(name)
        for _ in range(_MOST_HOPS):
            if name not in self._links:
                return name
            name = self._links[name]
        return ""

    def _walk(self, child: Child, depth: int) -> None:
        """See that a document's parts are there, and label it with them; the inner ones first."""
        digest = child.descriptor.digest
        if digest in self._walked:
            return
        if depth > DEEPEST or len(self._walked) > MOST_DOCUMENTS:
            raise FailedPrecondition("the archive's indexes are nested too deeply or too many")
        self._walked.add(digest)
        manifest = parse_manifest(self._document(digest), child.descriptor.media_type)
        there = 0
        for each in manifest.children:
            size = self._size(each.descriptor.digest)
            there += size is not None
            if size is None and not manifest.is_index and not each.is_foreign:
                raise _lacks(f"{each.role} {each.descriptor.digest}")
            if size not in (None, each.descriptor.size):
                raise FailedPrecondition(
                    f"{each.descriptor.digest} has {size} bytes, and a manifest in the archive"
                    f" says {each.descriptor.size}"
                )
            document = is_document(each.descriptor.media_type) or manifest.is_index
            if document and size is not None:
                self._walk(each, depth + 1)
        if manifest.is_index and manifest.children and not there:
            raise _lacks(f"any of the images of {digest}")
        self._label(digest, gc_labels(manifest))

    def _label(self, digest: Digest, labels: dict[str, str]) -> None:
        known = self._store.info(digest).labels or {}
        missing = {key: value for key, value in labels.items() if known.get(key) != value}
        if missing:
            self._store.update(digest, missing, [f"labels.{key}" for key in missing])

    def _named(self, target: Descriptor, names: tuple[str, ...]) -> list[Imported]:
        """Record an image's names."""
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

    def _let_go(self, nameless: set[Digest]) -> None:
        """From here on names and labels keep what came in, and a collector takes what they don't.

        A nameless image is still kept by itself.
        """
        if not self._store.traits.garbage_collected:
            return
        for digest in self._new - nameless:
            self._store.update(digest, {}, [f"labels.{GC_ROOT}"])

    def _document(self, digest: Digest) -> bytes:
        size = self._size(digest)
        if size is None:
            raise _lacks(str(digest))
        if size > MAX_MANIFEST:
            raise FailedPrecondition(f"{digest} is too large for a manifest")
        return b"".join(verified_chunks(self._store, digest))

    def _size(self, digest: Digest) -> int | None:
        """The size of a blob in the store, in bytes; None: it isn't there."""
        try:
            info: Info = self._store.info(digest)
        except NotFound:
            return None
        return info.size


def _blob_digest(name: str) -> Digest | None:
    """The digest that a layout's member is named after."""
    parts = name.split("/")
    if len(parts) != 3 or parts[0] != "blobs":
        return None
    try:
        return Digest.parse(f"{parts[1]}:{parts[2]}")
    except InvalidArgument:
        return None


def _lacks(what: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"the archive lacks {visible(what, 120)}",
        advice="what came in is kept, without a name; export the image again, whole",
    )
