"""A store as a stream of frozen views: one `tick`, one view."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from contentui.content.helpers import disk_usage
from contentui.monitor.blobs import BlobTracker
from contentui.monitor.clock import SECOND_NS, Clock, Now, SystemClock
from contentui.monitor.completions import CompletionMatcher, expected_digests
from contentui.monitor.events import (
    LIMIT,
    BlobRemoved,
    ConnectionLost,
    ConnectionRestored,
    Counters,
    Event,
    IngestAppeared,
    IngestStateChanged,
    limited,
)
from contentui.monitor.health import WAITING, HealthTracker
from contentui.monitor.hint_queue import HintQueue, ScanRequest
from contentui.monitor.ingests import IngestTracker
from contentui.monitor.model import Freshness, Health, StoreView, Verified
from contentui.monitor.rates import GrowthMeter, RateHistory
from contentui.monitor.states import Thresholds, default_thresholds
from contentui.monitor.transfers import TransferTracker
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from contentui.content.digest import Digest
    from contentui.content.model import IngestId, Usage
    from contentui.content.store import Store
    from contentui.monitor.enrich import Index
    from contentui.monitor.model import IngestRow, Transfer

SOON_S = 0.05
"""Pause before the next tick while blobs are still being listed, seconds."""
CONFIRM_AFTER_S = 0.16
"""Pause before the next tick while ingests wait for their second check, seconds."""


UNRATED_S = 1.0
"""The longest pause between two layers that come whole and make up one rate, seconds."""


PRECISE_S = 0.1
"""Pause before the next tick while a first rate is measured, seconds."""


class Monitor:
    """Watches one store. Call `tick` from one thread at a time; everything else is thread-safe.

    A store's `IngestListing`, `BlobVersions` and `FilePaths` make watching cheaper. Without an
    `IngestListing` each check of ingests is one listing of all; without `BlobVersions` blobs are
    listed seldom.

    Args:
        store: what to watch; it isn't closed.
        thresholds: when silence becomes a state; None: what suits the store's writers.
        index: finds kinds and referrers of blobs; without one they stay None.
        clock: where time comes from.
        reconcile_s: seconds after which everything is read again, with or without hints.
        transfers: returns the pulls and pushes that processes report, the oldest first.
        max_events: events in one view, the last of which counts the omitted ones; None: all.
    """

    def __init__(
        self,
        store: Store,
        *,
        thresholds: Thresholds | None = None,
        index: Index | None = None,
        clock: Clock | None = None,
        reconcile_s: float = 5.0,
        transfers: Callable[[], Sequence[Transfer]] | None = None,
        max_events: int | None = LIMIT,
    ) -> None:
        self.store = store
        self.thresholds = thresholds or default_thresholds(store)
        self._clock = clock or SystemClock()
        mono = self._clock.mono_ns
        self._ingests = IngestTracker(store, self.thresholds, reconcile_s, mono)
        self._blobs = BlobTracker(store, index, mono)
        self._reconcile_ns = int(reconcile_s * SECOND_NS)
        self._reconciled_at: int | None = None
        self._history = RateHistory(mono())
        self._unrated = GrowthMeter(mono(), longest_s=UNRATED_S)
        """Of the bytes that no row's rate counts: small layers come whole."""
        self._rate: tuple[tuple[IngestRow, ...], float | None] = (), 0.0
        """The sum of these rows' rates."""
        self._transfers = TransferTracker(transfers, store.name)
        self._hint_queue = HintQueue()
        self._health = HealthTracker()
        self._completions = CompletionMatcher()
        self._counters = Counters()
        self._max_events = max_events
        self._received = 0
        """Bytes that this tick saw arrive."""
        self._usage: Usage | None = None
        self._usage_at: int | None = None
        self._read_only = ""
        self._seq = 0
        self._ticking = threading.Lock()

    def watch_paths(self) -> list[str]:
        """Directories in which the kernel can announce changes; empty where it can't."""
        files = self.store.roles.file_paths
        try:
            return [] if files is None else files.watch_paths()
        except Exception:  # the next tick fails for the same reason and reports it
            return []

    def focus(self, ids: Iterable[str]) -> None:
        """Check these ingests (ids) and blobs (digests) on each tick: they are on a screen."""
        self._hint_queue.focus(ids)

    def hint(
        self,
        ids: Collection[IngestId] = (),
        blobs: bool = False,
        everything: bool = False,
    ) -> bool:
        """These ingests, blobs, or anything may have changed.

        False when no early tick is needed: each tick checks all of them anyway.
        """
        self._hint_queue.hint(ids, blobs=blobs, everything=everything)
        return blobs or everything or not self._ingests.are_active(ids)

    def verified(self, digest: Digest, problem: str) -> None:
        """A blob was verified: the next view has the result; ``problem`` empty: it is sound."""
        self._hint_queue.verified(digest, Verified(problem, self._clock.wall_ns()))

    def announce(self, freshness: Freshness, reason: str = "") -> None:
        """Set the state of change notifications: LIVE, or POLLING with a reason."""
        self._health.announce(freshness, reason)

    def history(self, ingest: IngestId) -> tuple[float, ...]:
        """Bytes per second of one ingest, second by second, oldest first, 300 at most.

        Empty for one that never grew while we watched.
        """
        return self._ingests.history(ingest, self._clock.mono_ns())

    @property
    def next_tick_s(self) -> float | None:
        """Seconds until an early tick is useful; None when none is needed."""
        if self._health.is_stale:
            return None
        if self._blobs.is_filling:
            return SOON_S
        if self._ingests.needs_confirmation:
            return CONFIRM_AFTER_S
        return PRECISE_S if self._ingests.needs_precision(self._clock.mono_ns()) else None

    @property
    def retry_s(self) -> float:
        """Seconds until the next try while the store can't be read; else 0.

        Grows from 0.25 to 2 with each failure.
        """
        return self._health.retry_s

    @property
    def is_calm(self) -> bool:
        """Whether nothing moves or waits for a check."""
        return (
            not self._health.is_stale
            and not self._ingests.is_active
            and not self._blobs.is_busy
            and self._transfers.is_calm
        )

    @property
    def is_announced(self) -> bool:
        """Whether the kernel notifies of changes."""
        return self._health.is_announced

    def tick(self) -> StoreView:
        """Read the store and return the view. Errors of the store are never raised.

        A failed tick keeps the last view's rows and makes its health stale, with the reason.
        """
        with self._ticking:
            now = Now(self._clock.mono_ns(), self._clock.wall_ns())
            request = self._hint_queue.take()
            was_stale = self._health.is_stale
            self._received = 0
            try:
                events = self._read(now, request)
            except Exception as error:  # the rows stay, with the reason in the health
                self._health.bad(error)
                now = Now(self._clock.mono_ns(), self._clock.wall_ns())  # it may have waited long
                self._hint_queue.put_back(request)
                self._reconciled_at = None
                self._ingests.invalidate()
                self._blobs.invalidate()
                reason = self._health.health(filling=False).reason
                events = [] if was_stale else [ConnectionLost(reason)]
            else:
                self._health.good(now.wall)
                if was_stale:
                    events.insert(0, ConnectionRestored())
            return self._view(now, events)

    def overdue(self, view: StoreView) -> StoreView:
        """The last view while a tick waits for the store: stale. From any thread."""
        wall_ns, since_ns = self._clock.wall_ns(), view.health.since_ns or view.taken_ns
        return replace(
            view,
            taken_ns=wall_ns,
            rate=None,
            health=Health(Freshness.STALE, WAITING, since_ns),
            events=(),
            notices=(),
        )

    def _read(self, now: Now, request: ScanRequest) -> list[Event]:
        changes = self._ingests.tick(now, request, announced=self._health.is_announced)
        self._completions.add(changes.gone, now.mono)
        asked = self._blobs.ask(expected_digests(changes.gone)) if changes.gone else []
        early, early_bytes = self._completions.resolve(asked, checked_ns=-1)
        reconcile = (
            self._reconciled_at is None or now.mono - self._reconciled_at >= self._reconcile_ns
        )
        hinted = request.blobs or request.everything or not self._completions.is_empty
        blobs = self._blobs.tick(now, request.focus, hinted=hinted, reconcile=reconcile)
        self._blobs.set_verified(request.verified)
        if reconcile:
            self._reconciled_at = now.mono
        ends, unseen = self._completions.resolve(blobs.came, checked_ns=self._blobs.checked_ns)
        whole = early_bytes + unseen
        self._received = changes.grown + whole
        self._history.add(self._received, now.mono)
        self._unrated.add(whole + changes.unrated, now.mono)
        self._read_usage(now)
        return [
            *(IngestAppeared(tracked.status) for tracked in changes.appeared),
            *(
                IngestStateChanged(tracked.status, before, tracked.state)
                for tracked, before in changes.state_changes
            ),
            *early,
            *ends,
            *map(BlobRemoved, blobs.went),
        ]

    def _read_usage(self, now: Now) -> None:
        if self._usage_at is None or now.mono - self._usage_at >= SECOND_NS:
            self._usage, self._usage_at = disk_usage(self.store), now.mono
            self._read_only = self.store.traits.read_only_reason

    def _view(self, now: Now, events: list[Event]) -> StoreView:
        self._seq += 1
        self._counters = self._counters.plus(events, self._received)
        if self._health.is_stale:
            self._history.rest(now.mono)
        ingests, groups = self._transfers.update(self._ingests.rows(), now.mono)
        return StoreView(
            seq=self._seq,
            taken_ns=now.wall,
            source=self.store.name,
            read_only_reason=self._read_only,
            ingests=ingests,
            blobs=self._blobs.rows(),
            counts=MappingProxyType(self._ingests.counts()),
            blob_bytes=self._blobs.bytes,
            rate=self._sum_of_rates(ingests, now.mono),
            history=self._history.history(now.mono),
            health=self._health.health(filling=self._blobs.is_filling),
            usage=self._usage,
            events=limited(events, self._max_events),
            counters=self._counters,
            notices=self._notices(),
            groups=groups,
            is_loading=self._blobs.is_filling,
        )

    def _sum_of_rates(self, rows: tuple[IngestRow, ...], mono: int) -> float | None:
        """The rate of the whole store: what its rows show, and what came without a row."""
        if self._health.is_stale:
            return 0.0
        if rows is not self._rate[0]:
            known = [row.rate for row in rows if row.rate is not None]
            total = sum(known)
            self._rate = rows, total if total or len(known) == len(rows) else None
        rate, unrated = self._rate[1], self._unrated.rate(mono) or 0.0
        return (unrated or None) if rate is None else rate + unrated

    def _notices(self) -> tuple[str, ...]:
        try:
            role = self.store.roles.notifications
            messages = [] if role is None else role.notifications()
        except Exception:  # the next tick fails as well and reports it
            return ()
        return tuple(visible(message, 600) for message in messages)
