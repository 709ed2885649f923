"""The store behind the screen, its monitor and its journal: everything that may block."""

from __future__ import annotations

import gc
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from contentui.content.errors import ContentError, DataLoss, Unavailable
from contentui.content.helpers import probe_ingest, verify
from contentui.content.model import IngestId, Status
from contentui.text import visible
from contentui.tui.probing import ProbeResult

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence

    from contentui.actions.journal import Journal
    from contentui.actions.model import Concern, Outcome, Plan, Verb
    from contentui.content.digest import Digest
    from contentui.content.model import Info
    from contentui.content.store import Store
    from contentui.index.content_index import ContentIndex
    from contentui.monitor.feed import Feed
    from contentui.monitor.model import RowKey, StoreView
    from contentui.monitor.monitor import Monitor
    from contentui.stores.source import Source

INDEX_BUDGET_S = 1.0
"""Seconds that a plan for deletions may spend on finding out who needs what."""


@contextmanager
def _no_cyclic_collection() -> Iterator[None]:
    """A plan is 100,000 objects without a cycle, for which the collector would run many times."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _ingests_of(plan: Plan) -> list[IngestId]:
    return [step.target.id for step in plan.steps if isinstance(step.target, Status)]


class Session:
    """Opened off the event loop after the first paint; opened again after it was lost.

    Every method but `views`, `focus`, `history`, `wake` and `attend` blocks: call it on a thread.
    """

    def __init__(
        self, source: Source | None, *, read_only: bool = False, create: bool = False
    ) -> None:
        self.source = source
        self.read_only = read_only
        self.create = create
        self._store: Store | None = None
        self._monitor: Monitor | None = None
        self._feed: Feed | None = None
        self._index: ContentIndex | None = None
        self._journal: Journal | None = None
        self._interval_s = 0.25

    @property
    def store(self) -> Store:
        """The open store. Raises Unavailable while there is none."""
        if self._store is None:
            raise Unavailable("the store is not open yet")
        return self._store

    def open(self) -> str:
        """Open the store; returns why it is read-only, or nothing.

        Raises:
            ContentError, OSError: as opening a store, and making its directory, does.
        """
        from contentui.index.content_index import ContentIndex
        from contentui.monitor.feed import Feed
        from contentui.monitor.monitor import Monitor
        from contentui.stores.open import open_store
        from contentui.transfers.status import TransferStatusReader, status_directory

        self.close()
        if self.source is None:
            raise Unavailable("no store is chosen yet")
        if self.create and self.source.is_directory:
            os.makedirs(self.source.path, 0o755, exist_ok=True)
        store = open_store(self.source, read_only=self.read_only, create=self.create)
        self._index = ContentIndex(store)
        status = TransferStatusReader(status_directory(self.source))
        self._monitor = Monitor(store, index=self._index, transfers=status.transfers)
        self._feed = Feed(self._monitor, interval_s=self._interval_s)
        self._store = store
        return store.traits.read_only_reason

    def close(self) -> None:
        """Let go of the store."""
        store, self._store = self._store, None
        self._monitor, self._feed, self._index = None, None, None
        if store is not None:
            store.close()

    async def views(self) -> AsyncIterator[StoreView]:
        """The pictures, until the feed ends or fails."""
        if self._feed is None:
            raise Unavailable("the store is not open yet")
        async for view in self._feed:
            yield view

    def pace(self, interval_s: float) -> None:
        """Look every so many seconds from now on."""
        self._interval_s = interval_s
        if self._feed is not None:
            self._feed.interval_s = interval_s

    def focus(self, keys: Iterable[RowKey]) -> None:
        """These ingests are on the screen: look at them first."""
        if self._monitor is not None:
            self._monitor.focus(name for _, name in keys)

    def history(self, ingest: RowKey) -> tuple[float, ...]:
        """One ingest's rate in bytes per second, once a second, oldest first."""
        if self._monitor is None:
            return ()
        return tuple(self._monitor.history(IngestId(ingest[1])))

    def plan(
        self, verb: Verb, targets: Sequence[Status] | Sequence[Info], moving: Collection[IngestId]
    ) -> Plan:
        """What the verb would do to the targets as they were shown, looked at once more.

        ``moving``: which of them the screen shows as moving. Raises ContentError.
        """
        from contentui.actions.model import Verb as AnyVerb
        from contentui.actions.planner import Planner

        planner = Planner(self.store, self._index)
        with _no_cyclic_collection():
            if verb is AnyVerb.DELETE:
                return planner.delete(cast("Sequence[Info]", targets), budget_s=INDEX_BUDGET_S)
            statuses = cast("Sequence[Status]", targets)
            facts = planner.facts(statuses, second_look_s=0, moving=moving)
            return planner.abort(facts) if verb is AnyVerb.ABORT else planner.truncate(facts)

    def run(self, plan: Plan, allow: Collection[Concern]) -> tuple[Outcome, ...]:
        """Carry the plan out, reading each item again first, and write it into the journal."""
        from contentui.actions.planner import Planner
        from contentui.actions.run import run

        referrers = Planner(self.store, self._index).referrer_refresher()
        try:
            outcomes = run(
                self.store,
                plan,
                allow=allow,
                journal=self.journal,
                referrers=referrers,
                unreferenced=referrers.unreferenced,
            )
        finally:  # what went leaves the screen at once, also where nothing announces changes
            if self._monitor is not None:
                self._monitor.hint(_ingests_of(plan), blobs=True, everything=True)
            self.wake()
        return tuple(outcomes)

    @property
    def journal(self) -> Journal:
        """The journal of this user: what was deleted, aborted, truncated and untagged."""
        if self._journal is None:
            from contentui.actions.journal import Journal

            self._journal = Journal()
        return self._journal

    def wake(self) -> None:
        """Look as soon as may be. Doesn't block."""
        if self._feed is not None:
            self._feed.wake()

    @property
    def is_slow(self) -> bool:
        """Whether the store is read less often, because nothing in it moves."""
        return self._feed is not None and self._feed.is_slow

    def attend(self) -> None:
        """A person acts: look often for a while. Doesn't block."""
        if self._feed is not None:
            self._feed.attend()

    def probe(self, status: Status) -> ProbeResult:
        """Probe an ingest, if it is still as shown (`contentui.content.helpers.probe_ingest`)."""
        try:
            probe = probe_ingest(self.store, status.id, if_match=status)
        except ContentError as error:
            return ProbeResult(status, None, error)
        finally:
            self.wake()
        return ProbeResult(status, probe, None)

    @property
    def garbage_collected(self) -> bool:
        """Whether the store has a garbage collector (`Traits`); False while none is open."""
        return self._store is not None and self._store.traits.garbage_collected

    def verify(self, digest: Digest, progress: Callable[[int, int], bool]) -> int:
        """Read a whole blob and compare its digest; returns its size in bytes.

        ``progress`` gets bytes read and size, and returns whether to continue.

        Raises:
            DataLoss: the bytes do not match the digest.
            NotFound: it is gone.
            Unavailable: ``progress`` stopped it.
        """
        size = self.store.info(digest).size
        monitor = self._monitor

        def read(offset: int) -> None:
            if not progress(offset, size):
                raise Unavailable("the verification was stopped")

        def found(problem: str) -> None:
            if monitor is not None:
                monitor.verified(digest, problem)
                self.wake()

        try:
            verify(self.store, digest, read)
        except DataLoss as error:
            found(visible(error.message, 300))
            raise
        found("")
        return size
