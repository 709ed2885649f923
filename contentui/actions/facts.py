"""Facts about ingests that a plan requires."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from contentui.content.helpers import lock_holders, refresh_statuses
from contentui.content.model import Holder, Liveness, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from contentui.content.model import Lease
    from contentui.content.store import Store


class IngestFacts(NamedTuple):
    """An ingest, and whether a writer holds it."""

    status: Status
    liveness: Liveness
    holder: Holder | None
    """The writer, when ``liveness`` is HELD."""
    moving: bool
    """It changed between two checks."""


def only_leased(
    store: Store, leases: Sequence[Lease], going: Sequence[Lease]
) -> list[list[Status]]:
    """Of each of ``leases`` the ingests that no lease but the ``going`` ones keeps, each once.

    A garbage collector removes them with the leases. May raise what listings of ``store`` raise.
    """
    role = store.roles.leasing
    gone = {(lease.namespace, lease.id) for lease in going}
    kept = {
        (lease.namespace, ref)
        for lease in (role.list_leases() if role else ())
        if (lease.namespace, lease.id) not in gone
        for ref in lease.ingests
    }
    statuses = {(status.namespace, status.ref): status for status in store.statuses()}
    found: list[list[Status]] = []
    for lease in leases:
        keys = [(lease.namespace, ref) for ref in lease.ingests]
        found.append([statuses[key] for key in keys if key in statuses and key not in kept])
        kept.update(keys)
    return found


def ingest_facts(
    store: Store,
    statuses: Sequence[Status],
    *,
    second_look_s: float | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> list[IngestFacts]:
    """The facts about each of ``statuses``, in their order, with one read of all the locks.

    With ``second_look_s`` the statuses are read again after that many seconds, to detect which
    move; the facts then hold the later status. An ingest that is gone by then keeps the old one.
    """
    later: list[Status | None] = list(statuses)
    if second_look_s is not None and statuses:
        sleep(second_look_s)
        later = refresh_statuses(store, statuses)
    holders = lock_holders(store, [status.id for status in statuses]) if statuses else {}
    facts = []
    for before, now in zip(statuses, later, strict=True):
        holder = holders.get(before.id) if holders is not None else None
        if holders is None:
            liveness = Liveness.UNKNOWN
        else:
            liveness = Liveness.FREE if holder is None else Liveness.HELD
        moving = now is not None and (now.offset, now.updated_ns) != (
            before.offset,
            before.updated_ns,
        )
        facts.append(IngestFacts(now or before, liveness, holder, moving))
    return facts
