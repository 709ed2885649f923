"""Plans for one store: what abort, truncate, delete and untag would do now."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from contentui.actions import plan
from contentui.actions.facts import ingest_facts, only_leased
from contentui.actions.model import Verb

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from contentui.actions.facts import IngestFacts
    from contentui.actions.model import Plan
    from contentui.content.model import Image, Info, IngestId, Lease, Status
    from contentui.content.store import Store
    from contentui.index.content_index import ContentIndex
    from contentui.index.model import Referrer
    from contentui.index.refresher import ReferrerRefresher


class Planner:
    """Makes the plans of the verbs and of the dashboard. Reads the store and changes nothing.

    Every method may block, and may raise what the store's listing methods raise.
    """

    def __init__(self, store: Store, index: ContentIndex | None = None) -> None:
        """``index``: one that a monitor keeps up to date; None makes one when it is needed."""
        self._store = store
        self._known_index = index

    def facts(
        self,
        statuses: Sequence[Status],
        *,
        second_look_s: float | None = None,
        moving: Collection[IngestId] = (),
    ) -> list[IngestFacts]:
        """What `abort` and `truncate` must know about ingests.

        See `contentui.actions.facts.ingest_facts`. ``moving``: ids of ingests that a monitor has
        seen receiving bytes.
        """
        found = ingest_facts(self._store, statuses, second_look_s=second_look_s)
        return [fact._replace(moving=fact.moving or fact.status.id in moving) for fact in found]

    def abort(self, facts: Iterable[IngestFacts]) -> Plan:
        """Remove ingests and their bytes."""
        return self._ingests(Verb.ABORT, facts)

    def truncate(self, facts: Iterable[IngestFacts]) -> Plan:
        """Drop the bytes of idle ingests and keep the ingests."""
        return self._ingests(Verb.TRUNCATE, facts)

    def _ingests(self, verb: Verb, facts: Iterable[IngestFacts]) -> Plan:
        traits = self._store.traits
        return plan.plan_ingests(
            verb,
            self._store.name,
            facts,
            read_only_reason=traits.read_only_reason,
            garbage_collected=traits.garbage_collected,
        )

    def delete(
        self,
        infos: Sequence[Info],
        *,
        listed: Iterable[Info] | None = None,
        budget_s: float = math.inf,
    ) -> Plan:
        """Delete blobs.

        ``listed``: all blobs of the store, where the caller has just listed them. ``budget_s``:
        seconds to spend on reading documents; what is unknown after that is a concern.
        """
        store = self._store
        digests = [info.digest for info in infos]
        if infos:
            self._refresh_index(listed, budget_s)
        unreferenced = self._index.unreferenced_after(digests)
        known = self._index.all_referrers(digests)
        nothing: tuple[tuple[Referrer, ...], bool] = (), True
        return plan.plan_delete(
            store.name,
            infos,
            lambda digest: known.get(digest, nothing)[0],
            certain=lambda digest: known.get(digest, nothing)[1],
            involved=known.keys() | {digests[at] for at in unreferenced},
            unreferenced={digests[at]: some for at, some in unreferenced.items()},
            bound=self._bound(),
            read_only_reason=store.traits.read_only_reason,
            garbage_collected=store.traits.garbage_collected,
        )

    def untag(self, images: Sequence[Image]) -> Plan:
        """Remove names of images."""
        store = self._store
        if images:
            self._refresh_index(None, math.inf)
        unreferenced = self._index.unreferenced_after((), images)
        return plan.plan_untag(
            store.name,
            [(image, unreferenced.get(at, ())) for at, image in enumerate(images)],
            bound=self._bound(),
            read_only_reason=store.traits.read_only_reason,
            garbage_collected=store.traits.garbage_collected,
        )

    def release(self, leases: Sequence[Lease]) -> Plan:
        """Delete leases of a daemon."""
        store = self._store
        if leases:
            self._refresh_index(None, math.inf)
        unreferenced = self._index.unreferenced_after((), leases)
        ingests = only_leased(store, leases, leases)
        return plan.plan_release(
            store.name,
            [
                (lease, unreferenced.get(at, ()), self.facts(ingests[at], second_look_s=0))
                for at, lease in enumerate(leases)
            ],
            bound=self._bound(),
            read_only_reason=store.traits.read_only_reason,
            garbage_collected=store.traits.garbage_collected,
        )

    def referrer_refresher(self) -> ReferrerRefresher:
        """Who needs a blob at the moment of its deletion, for `contentui.actions.run.run`."""
        from contentui.index.refresher import ReferrerRefresher

        return ReferrerRefresher(self._store, self._index)

    def _refresh_index(self, listed: Iterable[Info] | None, budget_s: float) -> None:
        self._index.update(self._store.walk() if listed is None else listed)
        self._index.scan(budget_s)

    def _bound(self) -> str:
        """What is not known may keep more, or be kept by what goes."""
        if not self._index.roots_known:
            return "at most"
        return "" if self._index.labels_known else "at least"

    @property
    def _index(self) -> ContentIndex:
        if self._known_index is None:
            from contentui.index.content_index import ContentIndex

            self._known_index = ContentIndex(self._store)
        return self._known_index
