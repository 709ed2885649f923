"""An image from a registry into a store: its documents first, then its parts, several at once."""

from __future__ import annotations

import os
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from contentui.content.errors import ContentError, FailedPrecondition, NotFound, ReadOnly
from contentui.content.helpers import put_blob, verified_chunks
from contentui.content.model import Descriptor
from contentui.content.rules import DISTRIBUTION_SOURCE, GC_ROOT
from contentui.oci.manifests import (
    DEEPEST,
    MOST_DOCUMENTS,
    Child,
    gc_labels,
    parse_manifest,
    ref_of,
)
from contentui.oci.platforms import own_platform, suits
from contentui.remotes.registry import MAX_MANIFEST
from contentui.text import rfc3339, visible
from contentui.transfers.fetch import SMALL, Fetch
from contentui.transfers.model import Part, Phase, Transfer
from contentui.transfers.patience import Stopped, retried
from contentui.transfers.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from contentui.content.digest import Digest
    from contentui.content.store import Store
    from contentui.oci.manifests import Manifest
    from contentui.oci.platforms import Platform
    from contentui.remotes.registry import Registry

_T = TypeVar("_T")

LARGE_AT_ONCE = 3
"""Large parts that come at the same time."""
LARGE_INTO_DAEMON = 4
"""The same where another process hashes and syncs them: more, as that is what is waited for."""
SMALL_AT_ONCE = 8
"""Small parts that come at the same time: there the answers' delay counts, not their bytes."""


MOST_PARTS = 10_000
"""Blobs of one image, all platforms together."""


class Wanted(NamedTuple):
    """What to take of an image."""

    platforms: tuple[Platform, ...] = ()
    """Empty: this machine's."""
    all_platforms: bool = False


class Pull:
    """One pull. `run` it once; `stop` may be called from any thread or signal handler.

    Args:
        store: where the content goes.
        registry: where it comes from.
        wanted: which platforms.
        record: also let the image's name stand for it in the store.
        tell: hear the whole state on every change, from several threads, one at a time.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        *,
        wanted: Wanted | None = None,
        record: bool = True,
        tell: Sequence[Callable[[Transfer], None]] = (),
    ) -> None:
        self._store = store
        self._registry = registry
        self._wanted = wanted or Wanted()
        naming = store.roles.image_naming if record else None
        self._images = None if naming is None else naming.images
        self._tell = tell
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._children: dict[Digest, Child] = {}
        self._parts: dict[Digest, Part] = {}
        self._documents: set[Digest] = set()
        self._shelf = Shelf(store, self._source(), self._say)
        verb = "pull" if record else "fetch"
        name = str(registry.reference)
        self._transfer = Transfer(verb, name, os.getpid(), time.time_ns())

    def stop(self) -> None:
        """End soon; what arrived is kept."""
        self._stop.set()
        self._registry.interrupt()

    def run(self) -> Descriptor:
        """Get everything; returns the image's descriptor.

        Raises:
            ContentError: what can't be had, or can't be stored.
            Stopped: `stop` was called.
        """
        try:
            root = self._get()
        except (ContentError, Stopped) as error:
            words = error.message if isinstance(error, ContentError) else "interrupted"
            self._update(error=words, words="")
            raise
        self._update(words="")
        return root

    def _get(self) -> Descriptor:
        if reason := self._store.traits.read_only_reason:
            raise ReadOnly("nothing can be stored here", advice=reason)
        self._update(words="resolving")
        root = self._retried(self._registry.resolve)
        self._update(words="reading manifests")
        root = self._walk(Child(root, "manifest"), 0)
        self._update(words="")
        self._fetch_all()
        if self._images is not None:
            self._images.put(str(self._registry.reference), root)
        return root

    def _walk(self, child: Child, depth: int) -> Descriptor:
        """Take in a document and everything that it leads to; returns what it is for sure."""
        if child.descriptor.digest in self._documents:
            return child.descriptor
        self._documents.add(child.descriptor.digest)
        if depth > DEEPEST or len(self._documents) > MOST_DOCUMENTS:
            raise FailedPrecondition(
                "the image can't be used: its indexes are nested too deeply or too many"
            )
        self._check_stop()
        data, manifest = self._document(child)
        if depth and len(data) != child.descriptor.size:
            raise FailedPrecondition(
                f"the image can't be used: {child.descriptor.digest} has {len(data)} bytes where"
                f" an index promises {child.descriptor.size}"
            )
        labels = {**self._source(), **gc_labels(manifest)}
        if not depth and self._images is None and self._store.traits.garbage_collected:
            labels[GC_ROOT] = rfc3339(time.time_ns()) or "now"
        chosen = self._chosen(manifest)
        self._keep(child.descriptor, data, labels)
        for each in chosen:
            if each.leads_on:
                self._walk(each, depth + 1)
            else:
                self._expect(each)
        return Descriptor(manifest.media_type, child.descriptor.digest, len(data))

    def _expect(self, child: Child) -> None:
        """A part to get, of those that lead nowhere."""
        descriptor = child.descriptor
        known = self._parts.get(descriptor.digest)
        if known is not None:
            if known.descriptor.size != descriptor.size:
                raise FailedPrecondition(
                    f"the image can't be used: it gives two sizes for {descriptor.digest}"
                )
            return
        if len(self._parts) >= MOST_PARTS:
            raise FailedPrecondition(f"the image can't be used: more than {MOST_PARTS} parts")
        part = Part(descriptor, ref_of(child), Phase.WAITING)
        if child.data is not None:
            put_blob(self._store, child.data, expected=descriptor.digest, labels=self._source())
            self._say(part._replace(phase=Phase.DONE, offset=descriptor.size))
            return
        self._children[descriptor.digest] = child
        self._say(part._replace(words="waiting for a free connection"))

    def _document(self, child: Child) -> tuple[bytes, Manifest]:
        """A document's bytes, from the store where it is there."""
        descriptor = child.descriptor
        data = child.data
        if data is None and descriptor.size <= MAX_MANIFEST:
            try:
                data = b"".join(verified_chunks(self._store, descriptor.digest))
            except ContentError:
                data = None  # not there, or not sound
        if data is None:
            data = self._retried(partial(self._registry.manifest, descriptor))
        return data, parse_manifest(data, descriptor.media_type)

    def _chosen(self, manifest: Manifest) -> Sequence[Child]:
        if not manifest.is_index or self._wanted.all_platforms:
            return manifest.children
        chosen: dict[Digest, Child] = {}
        for platform in self._wanted.platforms or (own_platform(),):
            best = min(
                (
                    (fit, number, child)
                    for number, child in enumerate(manifest.children)
                    if (fit := _fit(platform, child)) is not None
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

    def _source(self) -> dict[str, str]:
        """The label that tells where content may be had again."""
        reference = self._registry.reference
        host = reference.host.partition(":")[0]
        return {DISTRIBUTION_SOURCE + host: reference.repository}

    def _retried(self, act: Callable[[], _T]) -> _T:
        before = self._transfer.words
        result = retried(act, self._stop, lambda words: self._update(words=words))
        self._update(words=before)
        return result

    def _keep(self, descriptor: Descriptor, data: bytes, labels: dict[str, str]) -> None:
        """Store a document with its labels, or give them to the one that is there."""
        info = put_blob(self._store, data, expected=descriptor.digest, labels=labels)
        known = info.labels or {}
        for key in self._source():
            names = {*known.get(key, "").split(","), labels[key]}
            labels[key] = ",".join(sorted(filter(None, names)))
        missing = {key: value for key, value in labels.items() if known.get(key) != value}
        if missing:
            mask = [f"labels.{key}" for key in missing]
            self._store.update(descriptor.digest, missing, mask)

    def _fetch_all(self) -> None:
        large = [each for each in self._children.values() if each.descriptor.size > SMALL]
        small = [each for each in self._children.values() if each.descriptor.size <= SMALL]
        large.sort(key=lambda child: -child.descriptor.size)
        errors: list[BaseException] = []
        at_once = LARGE_INTO_DAEMON if self._store.traits.garbage_collected else LARGE_AT_ONCE
        threads = [
            threading.Thread(target=self._work, args=(queue, errors), daemon=True)
            for queue, count in ((large, at_once), (small, SMALL_AT_ONCE))
            for _ in range(min(count, len(queue)))
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except BaseException:  # an interruption: what arrived is to be kept in order
            self.stop()
            for thread in threads:
                thread.join()
            raise
        if errors:
            raise next((e for e in errors if not isinstance(e, Stopped)), errors[0])
        self._check_stop()

    def _work(self, queue: list[Child], errors: list[BaseException]) -> None:
        while not self._stop.is_set():
            with self._lock:
                if not queue:
                    return
                child = queue.pop(0)
            try:
                self._fetch(child)
            except BaseException as error:  # raised again by the thread that waits
                errors.append(error)
                part = self._parts[child.descriptor.digest]
                if isinstance(error, ContentError) and part.phase is not Phase.DONE:
                    self._say(part._replace(phase=Phase.FAILED, words=error.message))
                self.stop()

    def _fetch(self, child: Child) -> None:
        Fetch(
            self._store,
            self._registry,
            child.descriptor,
            ref_of(child),
            labels=self._source(),
            urls=child.urls if child.is_foreign else (),
            tell=self._say,
            stop=self._stop,
            shelf=self._shelf,
        ).run()

    def _say(self, part: Part) -> None:
        with self._lock:
            self._parts[part.descriptor.digest] = part
            self._transfer = self._transfer._replace(parts=tuple(self._parts.values()))
            self._tell_all()

    def _update(self, **changes: str) -> None:
        with self._lock:
            self._transfer = self._transfer._replace(**changes)  # type: ignore[arg-type] # texts
            self._tell_all()

    def _tell_all(self) -> None:
        for tell in self._tell:
            tell(self._transfer)

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise Stopped


def _fit(platform: Platform, child: Child) -> int | None:
    """How well an entry suits; one that names no platform suits any, after those that do."""
    return 1000 if child.platform is None else suits(platform, child.platform)
