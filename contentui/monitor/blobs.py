"""The blobs of a store: listed again only when some were added or removed."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from contentui.content.errors import NotFound
from contentui.content.helpers import list_digests
from contentui.monitor.clock import SECOND_NS
from contentui.monitor.enrich import Enricher
from contentui.monitor.model import BlobRow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping

    from contentui.content.digest import Digest
    from contentui.content.model import Info
    from contentui.content.store import Store
    from contentui.monitor.clock import Now
    from contentui.monitor.enrich import Index
    from contentui.monitor.model import Verified

BIG = 10_000
"""A store with more blobs is listed at most once a second."""
_SLICE_NS = 150_000_000
"""How long one tick may read about blobs, nanoseconds."""
_WALK_SLICE_NS = 50_000_000
"""How long one tick may continue a background walk, nanoseconds."""
_SMALL = 1_000
"""A store without a version of its labels is walked again up to this many blobs."""
_SHARE = 20
"""Listings and walks may take one part in so many of the time."""
_STEP = 256


class BlobChanges:
    """The blobs that were added and removed since the last tick."""

    __slots__ = ("came", "went")

    def __init__(self) -> None:
        self.came: list[Info] = []
        self.went: list[Info] = []


class Walk:
    """A walk over all blobs that continues over several ticks."""

    def __init__(self, infos: Iterator[Info], known: Iterable[str], began_ns: int) -> None:
        self._infos = iter(infos)
        self.unseen = set(known)
        """Digests that were known when it began and have not been listed yet."""
        self.began_ns = began_ns
        self.cost_ns = 0
        """Time it has taken so far."""

    def step(self) -> list[Info]:
        """The next few blobs; none at the end."""
        infos = list(islice(self._infos, _STEP))
        self.unseen.difference_update(info.digest for info in infos)
        return infos


class BlobTracker:
    """The blobs of one store, as rows that stay the same objects while nothing changes."""

    def __init__(self, store: Store, index: Index | None, mono: Callable[[], int]) -> None:
        self._store = store
        self._source = store.name
        self._mono = mono
        self._versions = store.roles.blob_versions
        self._rows: dict[str, BlobRow] = {}
        self._row_tuple: tuple[BlobRow, ...] | None = ()
        self._enricher = None if index is None else Enricher(index, self._rows, mono)
        self._first: Iterator[Info] | None = None
        self._listed = False
        self._version: Hashable = None
        self._confirm = False
        self._asked = False
        self._fresh: list[Digest] = []
        self._listed_at = 0
        self._list_cost_ns = 0
        self._labels_seen: Hashable = None
        self._walked_at = 0
        self._walk_cost_ns = 0
        self._walk: Walk | None = None
        self.checked_ns = -1
        """When (monotonic clock) all blobs were last known to be listed, nanoseconds; -1: never."""
        self.bytes = 0
        """Bytes in all blobs."""

    @property
    def is_filling(self) -> bool:
        """Whether existing blobs are still missing from the rows."""
        return not self._listed or bool(self._fresh)

    @property
    def is_busy(self) -> bool:
        """Whether another tick has more to read."""
        return self.is_filling or (self._enricher is not None and self._enricher.is_busy)

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self) -> tuple[BlobRow, ...]:
        """All rows; the same tuple when none changed."""
        if self._row_tuple is None:
            self._row_tuple = tuple(self._rows.values())
        return self._row_tuple

    def set_verified(self, results: Mapping[str, Verified]) -> None:
        """Keep these results of verifications, by digest, with their rows."""
        for digest, verified in results.items():
            if (row := self._rows.get(digest)) is not None:
                self._rows[digest] = row._replace(verified=verified)
                self._row_tuple = None

    def invalidate(self) -> None:
        """List again on the next tick."""
        self._confirm = True
        self._listed_at = self._walked_at = 0
        self._first = self._walk = None  # a failed iterator looks like one at its end

    def tick(
        self, now: Now, focus: Collection[str], *, hinted: bool, reconcile: bool
    ) -> BlobChanges:
        """Read what changed.

        Args:
            now: the time of the tick.
            focus: digests (and other keys) that are on a screen.
            hinted: blobs may have been added or removed.
            reconcile: check everything that is cheap to check.

        Raises:
            ContentError: the store can't be read.
        """
        changes = BlobChanges()
        if not self._listed:
            self._list_first(now)
        elif self._version is None:
            self._walk_again(now, changes, wanted=hinted or reconcile)
        else:
            if self._list_is_due(now, hinted=hinted, reconcile=reconcile):
                self._list(now, changes)
            if self._fresh:
                self._read_fresh(changes)
            if not self._fresh and self._is_listed(now):
                self.checked_ns = now.mono
            if reconcile:
                self._reread_labels(now)
        if self._enricher is not None and self._enricher.tick(
            now, focus, ready=not self.is_filling
        ):
            self._row_tuple = None
        return changes

    def ask(self, digests: Collection[Digest]) -> list[Info]:
        """Read these at once, where a listing is expensive; return the new ones.

        Raises:
            ContentError: the store can't be read.
        """
        if not self._listed or self._version is not None:
            return []
        began, came = self._mono(), []
        for digest in digests:
            if digest in self._rows:
                continue
            try:
                info = self._store.info(digest)
            except NotFound:
                continue
            self._put(info)
            came.append(info)
            if self._mono() - began > _SLICE_NS:
                break
        return came

    def _list_first(self, now: Now) -> None:
        """Walk everything, as far as the time of one tick allows."""
        if self._first is None:
            self._walk_cost_ns = 0
            if self._versions is not None:
                self._version = self._versions.blobs_version()
                self._labels_seen = self._versions.labels_version()
            self._first = iter(self._store.walk())
        began = self._mono()
        while infos := list(islice(self._first, _STEP)):
            for info in infos:
                self._put(info)
            if self._mono() - began > _SLICE_NS:
                self._walk_cost_ns += self._mono() - began
                return
        self._first, self._listed, self._confirm = None, True, True
        self._walk_cost_ns += self._mono() - began
        self._walked_at = now.mono if self._version is None else 0

    def _walk_again(self, now: Now, changes: BlobChanges, *, wanted: bool) -> None:
        """Walk all blobs of a store that has no `BlobVersions`."""
        if self._walk is None:
            big = len(self._rows) > BIG
            rest = max(SECOND_NS if big else 0, self._walk_cost_ns * _SHARE)
            if not wanted or now.mono - self._walked_at < rest:
                return
            self._walk = Walk(self._store.walk(), self._rows, now.mono)
        walk, began = self._walk, self._mono()
        while infos := walk.step():
            for info in infos:
                row = self._rows.get(info.digest)
                if row is None:
                    changes.came.append(info)
                if row is None or row.info != info:
                    self._put(info)
            if self._mono() - began > _WALK_SLICE_NS:
                walk.cost_ns += self._mono() - began
                return
        for digest in walk.unseen & self._rows.keys():
            changes.went.append(self._rows[digest].info)
            self._take_out(digest)
        self._walk, self.checked_ns, self._walked_at = None, walk.began_ns, now.mono
        self._walk_cost_ns = walk.cost_ns + self._mono() - began

    def _list_is_due(self, now: Now, *, hinted: bool, reconcile: bool) -> bool:
        since = now.mono - self._listed_at
        big = len(self._rows) > BIG
        self._asked = False
        if since < max(SECOND_NS if big else 0, self._list_cost_ns * _SHARE):
            return False
        self._asked = True
        before = self._version
        if self._versions is not None:
            self._version = self._versions.blobs_version()
        if self._version != before:
            self._confirm = True  # mtimes are coarse: a change right after this one may not show
            return True
        if (reconcile and self._confirm) or (hinted and not big):
            self._confirm = False
            return True
        return False

    def _is_listed(self, now: Now) -> bool:
        return self._listed_at == now.mono or (self._asked and self._version is not None)

    def _list(self, now: Now, changes: BlobChanges) -> None:
        began = self._mono()
        found = set(list_digests(self._store))
        new = found.difference(self._rows)
        for digest in [digest for digest in self._rows if digest not in found]:
            changes.went.append(self._rows[digest].info)
            self._take_out(digest)
        self._fresh = list(new)
        self._listed_at = now.mono
        self._list_cost_ns = self._mono() - began

    def _read_fresh(self, changes: BlobChanges) -> None:
        began = self._mono()
        while self._fresh:
            try:
                info = self._store.info(self._fresh[-1])
            except NotFound:
                self._fresh.pop()
                continue
            self._fresh.pop()
            self._put(info)
            changes.came.append(info)
            if self._mono() - began > _SLICE_NS:
                return

    def _reread_labels(self, now: Now) -> None:
        """Walk again when labels changed, if the last walk was cheap enough."""
        if now.mono - self._walked_at < self._walk_cost_ns * _SHARE:
            return
        if self._versions is None:
            return
        version = self._versions.labels_version()
        if version == self._labels_seen:
            return
        self._labels_seen = version
        began = self._mono()
        for info in self._store.walk():
            row = self._rows.get(info.digest)
            if row is not None and row.info != info:
                self._put(info)
        self._walked_at, self._walk_cost_ns = now.mono, self._mono() - began

    def _put(self, info: Info) -> None:
        old = self._rows.get(info.digest)
        if old is None:
            self._rows[info.digest] = BlobRow(info, source=self._source)
            self.bytes += info.size
        else:
            self._rows[info.digest] = old._replace(info=info)
            self.bytes += info.size - old.info.size
        self._row_tuple = None
        if self._enricher is not None:
            self._enricher.stale = True

    def _take_out(self, digest: str) -> None:
        self.bytes -= self._rows.pop(digest).info.size
        self._row_tuple = None
        if self._enricher is not None:
            self._enricher.stale = True
