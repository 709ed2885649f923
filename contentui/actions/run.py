"""Run a plan: each item is read again, and skipped with a reason when it has changed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from contentui.actions import reasons
from contentui.actions.facts import only_leased
from contentui.actions.model import Concern, Outcome, Result, Verb
from contentui.content.errors import Changed, ContentError, Locked, NotFound
from contentui.content.helpers import find_lease, image_names, lock_holders
from contentui.content.model import Image, Info, Lease, Status
from contentui.index.labels import root_referrers
from contentui.text import holder_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from contentui.actions.journal import Journal
    from contentui.actions.model import Plan, Step
    from contentui.content.digest import Digest
    from contentui.content.store import Store
    from contentui.index.model import Referrer

    FindReferrers = Callable[[Digest], tuple[Referrer, ...] | None]
    FindUnreferenced = Callable[[Info | Image | Lease], tuple[Info, ...]]

_ABORT_ATTEMPTS = 3
"""Times that an ingest with a live writer is read and aborted; it changes between the two."""


class _Skip(Exception):
    """The item has changed since the plan was made."""


def run(
    store: Store,
    plan: Plan,
    *,
    allow: Collection[Concern] = frozenset(),
    journal: Journal | None = None,
    report: Callable[[Outcome], None] | None = None,
    referrers: FindReferrers | None = None,
    unreferenced: FindUnreferenced | None = None,
    clock: Callable[[], int] = time.time_ns,
) -> list[Outcome]:
    """Carry out ``plan``, item by item, continuing after failures; never raises ContentError.

    A KeyboardInterrupt ends the run after the outcome of the current item has been recorded and
    reported.

    Args:
        store: the store that the plan was made for.
        plan: what to do.
        allow: concerns that were confirmed; a step with any other concern is refused.
        journal: where each outcome is recorded. A journal that can't be written stops nothing;
            see `Journal.problem`.
        report: called with each outcome, after it was recorded.
        referrers: returns what refers to a blob, called right before each deletion; see
            `Planner.referrer_refresher`.
        unreferenced: returns the blobs that a garbage collector would remove after a blob or an
            image's name, called right before that goes; a step that would take more of them along
            than the plan shows is skipped.
        clock: the time of each outcome, nanoseconds since 1970.
    """
    collected = unreferenced if plan.garbage_collected else None
    runner = _Run(store, plan, frozenset(allow), referrers, collected)
    outcomes: list[Outcome] = []

    def record(outcome: Outcome) -> None:
        if journal is not None:
            journal.write(plan.source, outcome, clock())
        if report is not None:
            report(outcome)
        outcomes.append(outcome)

    for number, step in enumerate(plan.steps):
        try:
            record(runner.outcome(step))
        except KeyboardInterrupt:
            if len(outcomes) == number:
                record(runner.interrupted(step))
            raise
    return outcomes


def _skip_if(changed: str) -> None:
    if changed:
        raise _Skip(changed)


class _Run:
    """One run of one plan."""

    def __init__(
        self,
        store: Store,
        plan: Plan,
        allow: frozenset[Concern],
        referrers: FindReferrers | None,
        unreferenced: FindUnreferenced | None,
    ) -> None:
        self._store = store
        self._allow = allow
        self._referrers = referrers
        self._unreferenced = unreferenced
        self._shown = {info.digest for step in plan.steps for info in step.unreferenced}
        """What the plan shows to go along."""
        self._leases = [step.target for step in plan.steps if isinstance(step.target, Lease)]
        self._ingests = {(each.namespace, each.ref): each for s in plan.steps for each in s.ingests}
        """Ingests that the plan shows to go along with leases."""
        self._going = {step.target.digest for step in plan.steps if isinstance(step.target, Info)}
        """Blobs of the plan, less those whose deletion was skipped, was refused or failed."""

    def outcome(self, step: Step) -> Outcome:
        """Do one step and return how it ended."""
        outcome = self._try(step)
        stays = outcome.result is not Result.DONE and not isinstance(outcome.error, NotFound)
        if stays and isinstance(step.target, Info):
            self._going.discard(step.target.digest)
        return outcome

    def interrupted(self, step: Step) -> Outcome:
        """How a step ended that was interrupted: the store is read again to find out."""
        target = step.target
        try:
            if isinstance(target, Info):
                self._store.info(target.digest)
            elif isinstance(target, Lease):
                find_lease(self._store, target)
            elif isinstance(target, Image):
                image_names(self._store).get(target.name)
            elif self._store.status(target.id).offset == 0 < target.offset:
                return Outcome(step, Result.DONE)  # truncated
        except NotFound:
            return Outcome(step, Result.DONE)
        except ContentError as error:
            return Outcome(step, Result.FAILED, error.message, error)
        return Outcome(step, Result.SKIPPED, "it was interrupted")

    def _try(self, step: Step) -> Outcome:
        if refusal := step.refusal or self._refusal(step):
            return Outcome(step, Result.REFUSED, refusal)
        try:
            self._act(step)
        except _Skip as skip:
            return Outcome(step, Result.SKIPPED, str(skip))
        except NotFound as error:
            return Outcome(step, Result.SKIPPED, reasons.gone(step), error)
        except Locked as error:
            return Outcome(step, Result.SKIPPED, reasons.locked(error), error)
        except Changed as error:
            return Outcome(step, Result.SKIPPED, error.message, error)
        except ContentError as error:
            return Outcome(step, Result.FAILED, error.message, error)
        return Outcome(step, Result.DONE)

    def _refusal(self, step: Step) -> str:
        """Why a step needs more than was allowed; empty when it doesn't."""
        open_concerns = sorted(step.concerns - self._allow)
        if not open_concerns:
            return ""
        why = ", and ".join(reasons.concern_reason(step, concern) for concern in open_concerns)
        return f"{why}; only --force does it anyway"

    def _act(self, step: Step) -> None:
        if isinstance(step.target, Lease):
            self._release(step, step.target)
        elif isinstance(step.target, Info):
            self._delete(step, step.target)
        elif isinstance(step.target, Image):
            self._untag(step.target)
        elif step.verb is Verb.ABORT:
            self._abort(step, step.target)
        else:
            now = self._store.status(step.target.id)
            moving = Concern.MOVING in step.concerns
            _skip_if(reasons.ingest_changed(step.target, now, moving=moving))
            self._store.truncate(now.id, if_match=now)

    def _abort(self, step: Step, shown: Status) -> None:
        """Remove an ingest; one with a live writer may change between the check and the abort."""
        live = Concern.LIVE_WRITER in step.concerns
        moving = live or Concern.MOVING in step.concerns
        for _ in range(_ABORT_ATTEMPTS):
            now = self._store.status(shown.id)
            _skip_if(reasons.ingest_changed(shown, now, moving=moving))
            force = live and self._still_held(step)
            try:
                return self._store.abort(now.id, if_match=now, force=force)
            except Changed as error:
                changed = error
                if not moving:
                    raise
        if not force:
            raise changed
        # The writer that was shown still holds it, so no other can have started it anew.
        return self._store.abort(shown.id, force=True)

    def _still_held(self, step: Step) -> bool:
        """Whether the writer of the plan still holds the ref. Raises _Skip for another writer."""
        assert isinstance(step.target, Status)
        holders = lock_holders(self._store, [step.target.id])
        now = None if holders is None else holders.get(step.target.id)
        if now is None:
            return False
        shown = step.holder
        if shown is not None and (now.pid, now.since_ns) != (shown.pid, shown.since_ns):
            raise _Skip(f"another writer opened it since it was shown: {holder_text(now)}")
        return True

    def _delete(self, step: Step, shown: Info) -> None:
        now = self._store.info(shown.digest)
        _skip_if(reasons.blob_changed(shown, now))
        kept = next((digest for digest in step.freed_by if digest not in self._going), None)
        if kept is not None:
            raise _Skip(f"{kept.short()} still needs it, and was not deleted")
        self._check_referrers(step, now)
        self._check_unreferenced(shown)
        self._store.delete(shown.digest, if_match=now)

    def _untag(self, shown: Image) -> None:
        _skip_if(reasons.image_changed(shown, image_names(self._store).get(shown.name)))
        self._check_unreferenced(shown)
        image_names(self._store).delete(shown.name, if_match=shown)

    def _release(self, step: Step, shown: Lease) -> None:
        _skip_if(reasons.lease_changed(shown, find_lease(self._store, shown)))
        self._check_unreferenced(shown)
        self._check_ingests(step, shown)
        role = self._store.roles.leasing
        if role is not None:
            role.delete_lease(shown)

    def _check_ingests(self, step: Step, lease: Lease) -> None:
        """Raise _Skip when other ingests would go with a lease than the plan shows, or changed."""
        moving = bool(step.concerns & {Concern.LIVE_WRITER, Concern.MOVING})
        (now,) = only_leased(self._store, [lease], self._leases)
        for status in now:
            before = self._ingests.get((status.namespace, status.ref))
            if before is None:
                raise _Skip(f"since it was shown it has become all that keeps {status.ref!a}")
            if changed := reasons.ingest_changed(before, status, moving=moving):
                raise _Skip(f"its ingest {status.ref!a} has changed: {changed}")

    def _check_unreferenced(self, shown: Info | Image | Lease) -> None:
        """Raise _Skip when the garbage collector would remove more than the plan shows."""
        found = () if self._unreferenced is None else self._unreferenced(shown)
        more = [
            info
            for info in found
            if info.digest not in self._shown and info.digest not in self._going
        ]
        if more:
            raise _Skip(reasons.takes_more(more))

    def _check_referrers(self, step: Step, now: Info) -> None:
        """Raise _Skip when something needs the blob that did not when the plan was made."""
        current = () if self._referrers is None else self._referrers(now.digest)
        if (
            current is None
            and step.referrers is not None
            and not self._allowed(Concern.REFERRERS_UNKNOWN)
        ):
            raise _Skip("it is no longer known whether something needs it")
        if step.referrers is None and self._allowed(Concern.REFERENCED):
            return
        planned = {
            (referrer.by, referrer.digest or referrer.name) for referrer in step.referrers or ()
        }
        for referrer in (*root_referrers(now.labels), *(current or ())):
            known = (referrer.by, referrer.digest or referrer.name) in planned
            if not known and referrer.digest not in self._going:
                raise _Skip(f"something needs it since it was shown: {referrer.text}")

    def _allowed(self, concern: Concern) -> bool:
        return concern in self._allow
