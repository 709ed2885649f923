"""Carry out a plan: every item is read again, and what changed since is left alone and named."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from contentui.actions import words
from contentui.actions.model import Concern, Outcome, Result, Verb
from contentui.content.errors import Changed, ContentError, Locked, NotFound
from contentui.content.helpers import lock_holders
from contentui.content.model import Status
from contentui.index.labels import root_referrers
from contentui.text import human_size

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from contentui.actions.journal import Journal
    from contentui.actions.model import Plan, Step
    from contentui.content.digest import Digest
    from contentui.content.model import Info
    from contentui.content.store import Store
    from contentui.index.model import Referrer

    Needs = Callable[[Digest], tuple[Referrer, ...] | None]

_CHASES = 3


class _Skip(Exception):
    """The item is not what the plan says any more."""


def run(
    store: Store,
    plan: Plan,
    *,
    allow: Collection[Concern] = frozenset(),
    journal: Journal | None = None,
    report: Callable[[Outcome], None] | None = None,
    needs: Needs | None = None,
    clock: Callable[[], int] = time.time_ns,
) -> list[Outcome]:
    """Do what ``plan`` says, item by item, going on after failures; never raises ContentError.

    An interruption ends it, but only after it has been noted and told how its item ended.

    A step with a concern that is not in ``allow`` is refused. ``needs`` is asked again right
    before each deletion; `ReferrerRefresher` is made for it. ``report`` hears each
    outcome as it comes, after the ``journal`` (times from ``clock``, nanoseconds); what keeps the
    journal from being written stops nothing and stands in `Journal.problem`.
    """
    runner = _Run(store, plan, frozenset(allow), needs)
    outcomes: list[Outcome] = []

    def tell(outcome: Outcome) -> None:
        if journal is not None:
            journal.write(plan.source, outcome, clock())
        if report is not None:
            report(outcome)
        outcomes.append(outcome)

    for number, step in enumerate(plan.steps):
        try:
            tell(runner.outcome(step))
        except KeyboardInterrupt:
            if len(outcomes) == number:
                tell(runner.interrupted(step))
            raise
    return outcomes


class _Run:
    """One run of one plan."""

    def __init__(
        self, store: Store, plan: Plan, allow: frozenset[Concern], needs: Needs | None
    ) -> None:
        self._store = store
        self._allow = allow
        self._needs = needs
        self._going = {
            step.target.digest for step in plan.steps if not isinstance(step.target, Status)
        }
        """Blobs that are gone or will be: what of them fails is taken out."""

    def outcome(self, step: Step) -> Outcome:
        """Do one step, and say how it ended."""
        outcome = self._try(step)
        stays = outcome.result is not Result.DONE and not isinstance(outcome.error, NotFound)
        if stays and not isinstance(step.target, Status):
            self._going.discard(step.target.digest)
        return outcome

    def interrupted(self, step: Step) -> Outcome:
        """How a step ended that was cut short: looked up, as only the store knows."""
        target = step.target
        try:
            if not isinstance(target, Status):
                self._store.info(target.digest)
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
            return Outcome(step, Result.SKIPPED, _gone(step), error)
        except Locked as error:
            return Outcome(step, Result.SKIPPED, _taken(error), error)
        except Changed as error:
            return Outcome(step, Result.SKIPPED, error.message, error)
        except ContentError as error:
            return Outcome(step, Result.FAILED, error.message, error)
        return Outcome(step, Result.DONE)

    def _refusal(self, step: Step) -> str:
        """Why a step asks for more than was allowed; empty when it doesn't."""
        open_concerns = sorted(step.concerns - self._allow)
        if not open_concerns:
            return ""
        reasons = ", and ".join(_concern_words(step, concern) for concern in open_concerns)
        return f"{reasons}; it must be forced (--force)"

    def _act(self, step: Step) -> None:
        if not isinstance(step.target, Status):
            self._delete(step, step.target)
        elif step.verb is Verb.ABORT:
            self._abort(step, step.target)
        else:
            now = self._store.status(step.target.id)
            _compare_ingests(step.target, now, moving=Concern.MOVING in step.concerns)
            self._store.truncate(now.id, seen=now)

    def _abort(self, step: Step, shown: Status) -> None:
        """Remove an ingest; one with a live writer moves even between reading it and this."""
        live = Concern.LIVE_WRITER in step.concerns
        moving = live or Concern.MOVING in step.concerns
        for _ in range(_CHASES):
            now = self._store.status(shown.id)
            _compare_ingests(shown, now, moving=moving)
            force = live and self._still_held(step)
            try:
                return self._store.abort(now.id, seen=now, force=force)
            except Changed as error:
                outrun = error
                if not moving:
                    raise
        if not force:
            raise outrun
        # The same writer holds it as was shown, so nobody else can have begun it anew.
        return self._store.abort(shown.id, force=True)

    def _still_held(self, step: Step) -> bool:
        """Whether the writer of the plan still holds the ref. Another one ends the step."""
        assert isinstance(step.target, Status)
        holders = lock_holders(self._store, [step.target.id])
        now = None if holders is None else holders.get(step.target.id)
        if now is None:
            return False
        shown = step.holder
        if shown is not None and (now.pid, now.since_ns) != (shown.pid, shown.since_ns):
            raise _Skip(f"another writer took it since: {words.holder_words(now)}")
        return True

    def _delete(self, step: Step, shown: Info) -> None:
        now = self._store.info(shown.digest)
        if now.namespaces != shown.namespaces:
            where = words.namespace_words(now.namespaces)
            raise _Skip(f"it is in other namespaces than were shown: {where}")
        if (now.size, now.committed_ns) != (shown.size, shown.committed_ns):
            raise _Skip("it was removed and stored anew since it was shown")
        kept = next((digest for digest in step.freed_by if digest not in self._going), None)
        if kept is not None:
            raise _Skip(f"{kept.short()} still needs it, and was not deleted")
        self._ask_again(step, now)
        self._store.delete(shown.digest, seen=now)

    def _ask_again(self, step: Step, now: Info) -> None:
        """End the step when something needs the blob that didn't when it was planned."""
        asked = () if self._needs is None else self._needs(now.digest)
        if asked is None and step.needs is not None and not self._allowed(Concern.NEEDS_UNKNOWN):
            raise _Skip("it can't be known any more whether something needs it")
        if step.needs is None and self._allowed(Concern.NEEDED):
            return
        planned = {(need.by, need.digest or need.name) for need in step.needs or ()}
        for need in (*root_referrers(now.labels), *(asked or ())):
            known = (need.by, need.digest or need.name) in planned
            if not known and need.digest not in self._going:
                raise _Skip(f"it is needed since: {need.by} {need.name}")

    def _allowed(self, concern: Concern) -> bool:
        return concern in self._allow


def _concern_words(step: Step, concern: Concern) -> str:
    if concern is Concern.LIVE_WRITER:
        return f"{words.CONCERNS[concern]}: {words.holder_words(step.holder)}"
    if concern is Concern.NEEDED and step.needs:
        more = f" and {len(step.needs) - 1} more" if len(step.needs) > 1 else ""
        return f"{words.CONCERNS[concern]}: {step.needs[0].by} {step.needs[0].name}{more}"
    return words.CONCERNS[concern]


def _compare_ingests(shown: Status, now: Status, *, moving: bool) -> None:
    """Raise _Skip when an ingest is not what was shown, or moved although it should not."""
    if now.started_ns != shown.started_ns:
        raise _Skip("it was begun anew since it was shown")
    if now.damage != shown.damage:
        raise _Skip(
            "it was damaged since it was shown" if now.damage else "it was repaired since shown"
        )
    if now.refused != shown.refused:
        raise _Skip("a commit was tried since it was shown")
    if moving:
        return
    if now.offset != shown.offset:
        sizes = f"{human_size(shown.offset)} to {human_size(now.offset)}"
        exact = f"{shown.offset} to {now.offset} bytes"
        raise _Skip(f"it moved since it was shown, from {sizes} ({exact})")
    if now.updated_ns != shown.updated_ns:
        raise _Skip("it was opened, closed or written since it was shown")


def _gone(step: Step) -> str:
    if isinstance(step.target, Status):
        return "it is gone: committed or aborted since it was shown"
    return "it is gone: deleted since it was shown"


def _taken(error: Locked) -> str:
    who = f": {words.holder_words(error.holder)}" if error.holder is not None else ""
    return f"a writer took it since it was shown{who}"
