"""What refers to each blob: a graph built by scanning the blobs of a store."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from contentui.content.digest import Digest
from contentui.content.errors import ContentError
from contentui.content.helpers import list_roots
from contentui.index.edges import MAX_EDGES, Edges
from contentui.index.labels import references, root_referrers
from contentui.index.model import Referrer
from contentui.index.roots import Roots, kept_by, root_key
from contentui.oci.documents import (
    HEAD_SIZE,
    MAX_DOCUMENT_SIZE,
    Document,
    kind_of,
    looks_like_json,
    parse_document,
)
from contentui.oci.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from contentui.content.model import Image, Info, Lease
    from contentui.content.store import Store

_MAX_TITLES = 20_000
_RETRY_AFTER_S = 30.0
_NOTHING: tuple[tuple[Referrer, ...] | None, bool] = (), True
"""Certainly nothing refers to a blob."""


class _ScanResult(NamedTuple):
    """The result of reading a blob."""

    kind: Kind
    document: Document | None = None
    failed: bool = False
    """It could not be read this time."""


class ContentIndex:
    """What the blobs of a store are and what refers to them. Thread-safe; reads outside its lock.

    List the blobs with `update`, call `scan` until it returns True (or do both with `refresh`),
    then query. A blob whose referrers are uncertain is reported as unknown, not as unreferenced.
    """

    def __init__(self, store: Store, *, max_edges: int = MAX_EDGES) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._scanned = threading.Condition(self._lock)
        self._listed = False
        self._infos: dict[Digest, Info] = {}
        self._kinds: dict[Digest, Kind] = {}
        self._pending: dict[Digest, None] = {}
        self._reading: dict[Digest, int] = {}
        self._unread: set[Digest] = set()
        self._retry_at = 0.0
        self._unparsed: set[Digest] = set()
        self._unlabelled: set[Digest] = set()
        self._kept_by_label: set[Digest] = set()
        """Blobs with a label that makes them roots."""
        self._documents = Edges(max_edges)
        self._references = Edges(max_edges)
        self._titles: dict[Digest, str] = {}
        self._given: dict[Digest, dict[Digest, str]] = {}
        self._given_count = 0
        self._roots = Roots()
        self._version = 0
        self._garbage_at: tuple[int, Collection[Digest]] = -1, ()
        """`_garbage` of a version."""

    @property
    def version(self) -> int:
        """Increases whenever the result of a query may have changed."""
        return self._version

    def update(self, infos: Iterable[Info]) -> None:
        """Replace the list of blobs, with their labels: ``infos`` must be complete.

        Reads the roots of the store as well: see `update_roots`.
        """
        self.update_roots()
        fresh = {info.digest: info for info in infos}
        with self._lock:
            self._version += not self._listed
            self._listed = True
            for digest in self._infos.keys() - fresh.keys():
                self._forget(digest)
            known = self._infos.get
            for info in [info for digest, info in fresh.items() if known(digest) is not info]:
                self._take(known(info.digest), info)
            self._infos = fresh
            self._retry()

    def update_roots(self) -> None:
        """Read the roots of the store: image names and leases.

        While they can't be read, no blob is known to be unreferenced.
        """
        try:
            found = list_roots(self._store)
        except ContentError:
            found = None
        with self._lock:
            self._version += self._roots.take(found)

    def scan(self, budget_s: float) -> bool:
        """Read blobs that may be documents, for about ``budget_s`` seconds, one blob at least.

        Returns whether all of them have been read.
        """
        deadline = time.monotonic() + budget_s
        while (digest := self._next()) is not None:
            self._finish(digest, self._read(digest))
            if time.monotonic() >= deadline:
                break
        with self._lock:
            return self._listed and not self._pending and not self._reading

    def refresh(self, budget_s: float) -> bool:
        """`update` from the store itself, then `scan`. Raises what `Store.walk` raises."""
        self.update(self._store.walk())
        return self.scan(budget_s)

    def kind(self, digest: Digest) -> Kind:
        """What a blob is; its bytes are read once. UNKNOWN when they can't be."""
        with self._lock:
            known = self._kinds.get(digest)
            if known is not None:
                return known
            self._start(digest)
        result = self._read(digest)
        self._finish(digest, result)
        return result.kind

    def referrers(self, digest: Digest) -> tuple[Referrer, ...] | None:
        """What refers to a blob; empty: certainly nothing does; None: unknown.

        Known referrers are returned even when there may be more: see `all_referrers`.
        """
        with self._lock:
            return self._find_known(digest)

    def current_referrers(
        self, digest: Digest, budget_s: float = 1.0
    ) -> tuple[Referrer, ...] | None:
        """`referrers`, after scanning blobs that were added since: the check before a deletion.

        Takes about ``budget_s`` seconds at most, and no time when all have been scanned.
        """
        deadline = time.monotonic() + budget_s
        while not self.scan(deadline - time.monotonic()) and time.monotonic() < deadline:
            with self._scanned:
                if self._reading and not self._pending:  # another thread is at the last ones
                    self._scanned.wait(max(deadline - time.monotonic(), 0))
                elif not self._listed:
                    break
        return self.referrers(digest)

    def all_referrers(
        self, digests: Sequence[Digest]
    ) -> dict[Digest, tuple[tuple[Referrer, ...] | None, bool]]:
        """`referrers` of each, and whether they are all: labels, documents and roots are known.

        What is not in the result has certainly none. Fast where that is so of most of them.
        """
        with self._lock:
            rest = set(digests)
            if self._knows_all():
                referred = (self._references, self._documents, self._roots)
                found: set[Digest] = set().union(*(some.pointed_at(rest) for some in referred))
                rest = found | (rest & self._kept_by_label) | (rest - self._infos.keys())
            return {digest: (self._find_known(digest), self._certain(digest)) for digest in rest}

    def unreferenced_after(
        self, deleted: Sequence[Digest], removed: Sequence[Image | Lease] = ()
    ) -> dict[int, tuple[Info, ...]]:
        """What nothing refers to any more without ``deleted`` blobs and ``removed`` roots.

        By the positions of those that leave something, counted through both; what several of
        them referred to is with the first. In a store with a garbage collector only labels and
        roots keep blobs, so these are the blobs that its next run removes as well (containerd
        core/metadata/gc.go); what it removes anyway keeps nothing. What refers to itself in a
        circle is not found.
        """
        names = {root_key(root) for root in removed}
        gone = set(deleted)
        found: dict[int, list[Info]] = {}
        with self._lock:
            pointing = set().union(*(edges.pointing(gone) for edges in self._edges()))
            todo = [
                (child, at)
                for at, digest in enumerate(deleted if pointing else ())
                if digest in pointing
                for child in self._all(digest)
            ]
            todo += [
                (digest, at)
                for at, root in enumerate(removed, start=len(deleted))
                for digest in kept_by(root)
            ]
            todo.reverse()
            while todo:
                digest, at = todo.pop()
                info = self._infos.get(digest)
                if info is None or digest in gone or self._is_kept(info, gone, names):
                    continue  # it is looked at again when its last referrer is gone
                gone.add(digest)
                found.setdefault(at, []).append(info)
                todo += [(child, at) for child in self._all(digest)]
        return {at: tuple(infos) for at, infos in found.items()}

    @property
    def labels_known(self) -> bool:
        """Whether the labels of all blobs could be read."""
        return not self._unlabelled

    @property
    def roots_known(self) -> bool:
        """Whether all image names and leases could be read."""
        return self._roots.known

    def _edges(self) -> tuple[Edges, ...]:
        """What keeps blobs: labels, and where no garbage collector decides, documents too."""
        collected = self._store.traits.garbage_collected
        return (self._references,) if collected else (self._references, self._documents)

    def _all(self, digest: Digest) -> set[Digest]:
        """All that a blob keeps."""
        return {child for edges in self._edges() for child in edges.children(digest)}

    def _is_kept(
        self, info: Info, gone: Collection[Digest], names: Collection[tuple[str, str, str]]
    ) -> bool:
        """Whether anything but ``gone`` blobs and roots of these ``names`` keeps a blob."""
        digest = info.digest
        if self._roots.keep(digest, names) or root_referrers(info.labels):
            return True
        parents = (parent for edges in self._edges() for parent in edges.parents(digest))
        return any(
            parent != digest and parent not in gone and parent not in self._garbage()
            for parent in parents
        )

    def _garbage(self) -> Collection[Digest]:
        """Blobs that the next run of a garbage collector removes anyway: they keep nothing.

        None where there is no collector, or where its roots could not be read.
        """
        if not self._store.traits.garbage_collected or not self._roots.known:
            return ()
        if self._garbage_at[0] != self._version:
            live: set[Digest] = set()
            todo = [
                digest
                for digest, info in self._infos.items()
                if self._roots.keep(digest, ()) or root_referrers(info.labels)
            ]
            while todo:
                digest = todo.pop()
                if digest not in live:
                    live.add(digest)
                    todo += self._references.children(digest)
            self._garbage_at = self._version, self._infos.keys() - live
        return self._garbage_at[1]

    def _knows_all(self) -> bool:
        return not (
            self._unlabelled
            or self._pending
            or self._reading
            or self._unread
            or self._unparsed
            or not self._roots.known
        )

    def _certain(self, digest: Digest) -> bool:
        if digest not in self._infos or self._unlabelled or not self._roots.known:
            return False
        # A blob can't be its own referrer.
        return all(
            not group or (len(group) == 1 and digest in group)
            for group in (self._pending, self._reading, self._unread, self._unparsed)
        )

    def _find_known(self, digest: Digest) -> tuple[Referrer, ...] | None:
        found = self._find(digest)
        return found if found or self._certain(digest) else None

    def _find(self, digest: Digest) -> tuple[Referrer, ...]:
        info = self._infos.get(digest)
        holders = sorted(self._references.parents(digest))
        labels = [self._label_referrer(digest, holder) for holder in holders if holder != digest]
        parents = sorted(self._documents.parents(digest))
        documents = [
            Referrer("manifest", self._name(parent), parent)
            for parent in parents
            if parent != digest
        ]
        kept = root_referrers(info.labels if info else None)
        return (*self._roots.referrers(digest), *kept, *labels, *documents)

    def _label_referrer(self, digest: Digest, holder: Digest) -> Referrer:
        key = references(self._infos[holder].labels or {}).get(digest, "")
        return Referrer("label", f"{key} of {holder.short()}", holder)

    def _name(self, digest: Digest) -> str:
        """The display name of a document: its own, one from an index, or its kind and digest."""
        if digest in self._titles:
            return self._titles[digest]
        if image := self._roots.image(digest):
            return image
        for parent in sorted(self._documents.parents(digest)):
            title = self._given.get(parent, {}).get(digest)
            if title:
                return title
        return f"{self._kinds.get(digest, Kind.UNKNOWN)} {digest.short()}"

    def _take(self, before: Info | None, info: Info) -> None:
        """Note a new blob, or new labels of a known one."""
        digest = info.digest
        if before is not None and (before.size, before.committed_ns) != info[1:3]:
            self._forget(digest)  # removed and stored again, possibly because it was damaged
            before = None
        if before is None and digest not in self._kinds and info.size <= MAX_DOCUMENT_SIZE:
            self._pending[digest] = None
        elif before is not None and before.labels == info.labels:
            return
        self._version += 1
        self._unlabelled.discard(digest)
        if root_referrers(info.labels):
            self._kept_by_label.add(digest)
        else:
            self._kept_by_label.discard(digest)
        if info.labels is None or not self._references.put(digest, references(info.labels)):
            self._references.drop(digest)
            self._unlabelled.add(digest)

    def _forget(self, digest: Digest) -> None:
        self._version += 1
        self._kinds.pop(digest, None)
        self._pending.pop(digest, None)
        for group in (self._unread, self._unparsed, self._unlabelled, self._kept_by_label):
            group.discard(digest)
        self._references.drop(digest)
        self._drop_document(digest)

    def _retry(self) -> None:
        """Read blobs that could not be read again, every `_RETRY_AFTER_S` seconds."""
        if self._unread and time.monotonic() >= self._retry_at:
            self._retry_at = time.monotonic() + _RETRY_AFTER_S
            self._pending.update(dict.fromkeys(self._unread))

    def _drop_document(self, digest: Digest) -> None:
        self._documents.drop(digest)
        self._titles.pop(digest, None)
        self._given_count -= len(self._given.pop(digest, ()))

    def _next(self) -> Digest | None:
        """Take the next blob to scan off the list."""
        with self._lock:
            if not self._pending:
                return None
            digest, _ = self._pending.popitem()
            self._start(digest)
            return digest

    def _start(self, digest: Digest) -> None:
        self._reading[digest] = self._reading.get(digest, 0) + 1

    def _finish(self, digest: Digest, result: _ScanResult) -> None:
        """Store the result of a scan, if the blob still exists."""
        with self._lock:
            self._reading[digest] -= 1
            if not self._reading[digest]:
                del self._reading[digest]
                self._scanned.notify_all()
            info = self._infos.get(digest)
            if info is None:
                return
            self._version += 1
            if result.failed:
                if info.size <= MAX_DOCUMENT_SIZE and digest not in self._kinds:
                    self._unread.add(digest)
                return
            self._pending.pop(digest, None)
            self._unread.discard(digest)
            self._kinds[digest] = result.kind
            self._drop_document(digest)
            if not self._keep(digest, result.document):
                self._unparsed.add(digest)

    def _keep(self, digest: Digest, document: Document | None) -> bool:
        """Store the references of a document; whether all of them are known."""
        if document is None:
            return True
        children = {self._same(child.digest): None for child in document.children}
        if not document.understood or not self._documents.put(digest, children):
            return False
        if document.title and len(self._titles) < _MAX_TITLES:
            self._titles[digest] = document.title
        titles = {self._same(child): title for child, title in document.titles}
        if titles and self._given_count + len(titles) < _MAX_TITLES:
            self._given[digest] = titles
            self._given_count += len(titles)
        return True

    def _same(self, digest: Digest) -> Digest:
        """The digest object in use for this blob, so that its text is in memory once."""
        info = self._infos.get(digest)
        return info.digest if info is not None else digest

    def _read(self, digest: Digest) -> _ScanResult:
        """Read enough of a blob to determine its kind and its references."""
        try:
            with self._store.reader(digest) as reader:
                size = reader.size
                head = reader.read_at(HEAD_SIZE, 0)
                if not looks_like_json(head) or size > MAX_DOCUMENT_SIZE:
                    return _ScanResult(kind_of(head, size), failed=not head and size > 0)
                data = head if len(head) == size else reader.read_at(size, 0)
        except (ContentError, OSError):
            return _ScanResult(Kind.UNKNOWN, failed=True)
        if Digest.of(data, digest.algorithm) == digest:
            document = parse_document(data)
        else:
            document = Document(
                Kind.UNKNOWN, understood=False
            )  # altered: its original content is unknown
        return _ScanResult(document.kind, document)
