"""An image from a registry into a store: manifests first, then blobs, several at once.

Order and labels are those of containerd's ``client/pull.go`` and ``core/remotes/handlers.go``.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from contentui.content.errors import (
    ContentError,
    FailedPrecondition,
    NotFound,
    ReadOnly,
    ResourceExhausted,
)
from contentui.content.helpers import put_blob, verified_chunks
from contentui.content.model import Descriptor
from contentui.content.rules import DISTRIBUTION_SOURCE, GC_ROOT
from contentui.oci.documents import (
    MAX_DEPTH,
    MAX_MANIFEST_SIZE,
    MAX_MANIFESTS,
    Child,
    child_gc_labels,
    make_ref_key,
    parse_manifest,
)
from contentui.oci.platforms import match, own_platform
from contentui.oci.stored import SMALL_BLOB, size_of
from contentui.text import human_size, rfc3339, visible
from contentui.transfers.base import ImageTransfer
from contentui.transfers.batcher import BlobBatcher
from contentui.transfers.fetch import Fetch
from contentui.transfers.model import FREE_CONNECTION, Part, Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contentui.content.digest import Digest
    from contentui.content.store import Store
    from contentui.oci.documents import Manifest
    from contentui.oci.platforms import Platform
    from contentui.remotes.registry import Registry
    from contentui.transfers.base import Report

LARGE_AT_ONCE = 3
"""Large blobs that are downloaded at the same time."""
LARGE_AT_ONCE_INTO_DAEMON = 4
"""The same where another process hashes and syncs them: a client mostly waits for that."""
SMALL_AT_ONCE = 8
"""Small blobs that are downloaded at the same time: there latency counts, not bandwidth."""
MAX_PARTS = 10_000
"""Blobs of one image, all platforms together."""


class Pull(ImageTransfer):
    """One pull.

    Args:
        store: the destination.
        registry: the source.
        platforms: of an index; empty: this machine's.
        all_platforms: instead of ``platforms``.
        record: also create or update the image's name in the store.
        reports: each gets the whole state on every change.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        *,
        platforms: Sequence[Platform] = (),
        all_platforms: bool = False,
        record: bool = True,
        reports: Sequence[Report] = (),
    ) -> None:
        super().__init__("pull" if record else "fetch", store, registry, reports)
        self._platforms = platforms
        self._all_platforms = all_platforms
        naming = store.roles.image_naming if record else None
        self._images = None if naming is None else naming.images
        self._children: dict[Digest, Child] = {}
        self._manifests: set[Digest] = set()
        self._batcher = BlobBatcher(store, self._source_labels(), self._report_part)

    def run(self) -> Descriptor:
        """Get everything; returns the image's descriptor.

        Raises:
            ContentError: from the registry or the store.
            Stopped: `stop` was called.
        """
        with self._outcome_reported():
            if reason := self._store.traits.read_only_reason:
                raise ReadOnly("nothing can be stored here", advice=reason)
            leases = self._store.roles.transfer_leases
            if leases is not None:
                leases.begin_transfer(str(self._registry.reference))
            self._report(message="resolving")
            root = self._retry(self._registry.resolve)
            self._report(message="reading manifests")
            root = self._walk(Child(root, "manifest"), 0)
            self._report(message="")
            self._check_space()
            self._fetch_all()
            if self._images is not None:
                self._images.put(str(self._registry.reference), root)
            if leases is not None:
                refs = [part.ref for part in self._parts.values()]
                leases.end_transfer({*self._manifests, *self._parts}, refs)
        return root

    def _walk(self, child: Child, depth: int) -> Descriptor:
        """Store a manifest or index, list all that it needs; returns its verified descriptor."""
        digest = child.descriptor.digest
        if digest in self._manifests:
            return child.descriptor
        self._manifests.add(digest)
        if depth > MAX_DEPTH or len(self._manifests) > MAX_MANIFESTS:
            raise _invalid("its indexes are nested too deeply, or it has too many manifests")
        self._check_stop()
        data, manifest = self._document(child)
        if depth and len(data) != child.descriptor.size:
            raise _invalid(
                f"{digest} has {len(data)} bytes, but {child.descriptor.size} in its descriptor"
            )
        labels = {**self._source_labels(), **child_gc_labels(manifest)}
        if not depth and self._images is None and self._store.traits.garbage_collected:
            labels[GC_ROOT] = rfc3339(time.time_ns()) or "now"
        chosen = self._chosen(manifest)
        self._put_document(digest, data, labels)
        for each in chosen:
            if each.may_have_children:
                self._walk(each, depth + 1)
            else:
                self._add_part(each)
        return Descriptor(manifest.media_type, digest, len(data))

    def _add_part(self, child: Child) -> None:
        """A blob to get that is neither a manifest nor an index."""
        descriptor = child.descriptor
        known = self._parts.get(descriptor.digest)
        if known is not None:
            if known.descriptor.size != descriptor.size:
                raise _invalid(f"it has two sizes for {descriptor.digest}")
            return
        if len(self._parts) >= MAX_PARTS:
            raise _invalid(f"it has more than {MAX_PARTS} blobs")
        part = Part(descriptor, make_ref_key(child), Phase.WAITING)
        if child.data is not None:
            labels = self._source_labels()
            put_blob(self._store, child.data, expected=descriptor.digest, labels=labels)
            self._report_part(part._replace(phase=Phase.DONE, offset=descriptor.size))
            return
        self._children[descriptor.digest] = child
        self._report_part(part._replace(message=FREE_CONNECTION))

    def _document(self, child: Child) -> tuple[bytes, Manifest]:
        """A manifest or index: from the store if it is there."""
        descriptor = child.descriptor
        data = child.data
        if data is None and descriptor.size <= MAX_MANIFEST_SIZE:
            try:
                data = b"".join(verified_chunks(self._store, descriptor.digest))
            except ContentError:
                data = None  # missing or damaged
        if data is None:
            data = self._retry(partial(self._registry.manifest, descriptor))
        return data, parse_manifest(data, descriptor.media_type)

    def _chosen(self, manifest: Manifest) -> Sequence[Child]:
        if not manifest.is_index or self._all_platforms:
            return manifest.children
        chosen: dict[Digest, Child] = {}
        for platform in self._platforms or (own_platform(),):
            best = min(
                (
                    (distance, number, child)
                    for number, child in enumerate(manifest.children)
                    if (distance := match(platform, child.platform)) is not None
                ),
                default=None,
            )
            if best is None:
                offers = {str(each.platform) for each in manifest.children if each.platform}
                raise NotFound(
                    f"{visible(str(self._registry.reference))} has no image for {platform}",
                    advice=f"it has {visible(', '.join(sorted(offers)), 300) or 'none at all'}",
                )
            chosen[best[2].descriptor.digest] = best[2]
        return tuple(chosen.values())

    def _source_labels(self) -> dict[str, str]:
        """The label that names the repository that has the content."""
        reference = self._registry.reference
        return {DISTRIBUTION_SOURCE + reference.host.partition(":")[0]: reference.repository}

    def _put_document(self, digest: Digest, data: bytes, labels: dict[str, str]) -> None:
        """Store a manifest or index with its labels, or add them to the one that is there."""
        info = put_blob(self._store, data, expected=digest, labels=labels)
        known = info.labels or {}
        for key in self._source_labels():
            names = {*known.get(key, "").split(","), labels[key]}
            labels[key] = ",".join(sorted(filter(None, names)))
        missing = {key: value for key, value in labels.items() if known.get(key) != value}
        if missing:
            self._store.update(digest, missing, [f"labels.{key}" for key in missing])

    def _check_space(self) -> None:
        """Compare what is missing with what is free, before anything large is requested.

        Raises ResourceExhausted. Where the free space is unknown, nothing is checked.
        """
        disk = self._store.roles.disk_usage
        usage = None if disk is None else disk.usage()
        if usage is None:
            return
        missing = 0
        for child in self._children.values():
            descriptor = child.descriptor
            if size_of(self._store, descriptor.digest) is None:
                missing += descriptor.size - self._begun(make_ref_key(child), descriptor.size)
        if missing > usage.free:
            raise ResourceExhausted(
                f"{visible(str(self._registry.reference))} needs {human_size(missing)} more in"
                f" {visible(self._store.name, 200)}, and {human_size(usage.free)} are free",
                advice="free space there first; nothing was downloaded",
            )

    def _begun(self, ref: str, size: int) -> int:
        """Bytes of an ingest that needn't be stored again."""
        try:
            return min(self._store.status(ref).offset, size)
        except NotFound:
            return 0

    def _fetch_all(self) -> None:
        children = sorted(self._children.values(), key=lambda child: -child.descriptor.size)
        large = [each for each in children if each.descriptor.size > SMALL_BLOB]
        small = [each for each in self._children.values() if each.descriptor.size <= SMALL_BLOB]
        at_once = (
            LARGE_AT_ONCE_INTO_DAEMON if self._store.traits.garbage_collected else LARGE_AT_ONCE
        )
        self._run_workers([(large, at_once), (small, SMALL_AT_ONCE)], self._fetch)

    def _fetch(self, child: Child) -> None:
        Fetch(
            self._store,
            self._registry,
            child.descriptor,
            make_ref_key(child),
            labels=self._source_labels(),
            urls=child.urls if child.is_nondistributable else (),
            report=self._report_part,
            stop=self._stop,
            batcher=self._batcher,
        ).run()


def _invalid(why: str) -> FailedPrecondition:
    return FailedPrecondition(f"invalid image: {why}")
