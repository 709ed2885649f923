"""Plans and their runs on a live store, as the verbs and the screen make them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.actions.model import Concern, Plan, Result
from contentui.actions.planner import Planner
from contentui.actions.run import run

if TYPE_CHECKING:
    from contentui.actions.model import Outcome
    from contentui.content.digest import Digest
    from contentui.content.model import Status
    from contentui.content.store import Store
    from contentui.index.refresher import ReferrerRefresher

FORCE = frozenset(Concern)


def found(store: Store, ref: str, namespace: str = "default") -> Status:
    """The ingest of that ref in a listing."""
    (one,) = [
        status for status in store.statuses() if (status.ref, status.namespace) == (ref, namespace)
    ]
    return one


def abort_plan(store: Store, *statuses: Status) -> Plan:
    planner = Planner(store)
    return planner.abort(planner.facts(statuses))


def truncate_plan(store: Store, *statuses: Status) -> Plan:
    planner = Planner(store)
    return planner.truncate(planner.facts(statuses))


def delete_plan(store: Store, *digests: Digest) -> tuple[Plan, ReferrerRefresher]:
    """The plan, and the store that is read again before each deletion."""
    planner = Planner(store)
    plan = planner.delete([store.info(digest) for digest in digests])
    return plan, planner.referrer_refresher()


def force(store: Store, plan: Plan) -> None:
    """Do all of a plan."""
    outcomes = run(store, plan, allow=FORCE)
    assert [outcome.result for outcome in outcomes] == [Result.DONE] * len(outcomes), outcomes


def refused(outcomes: list[Outcome]) -> str:
    """Why the only step of a run was refused."""
    (outcome,) = outcomes
    assert outcome.result is Result.REFUSED, outcome
    return outcome.reason
