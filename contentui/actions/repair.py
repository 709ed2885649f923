"""Repairing what a check of a directory has found; each outcome goes into the journal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from contentui.actions.records import repaired_to_json
from contentui.stores import directory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from contentui.actions.journal import Journal
    from contentui.stores.directory import Finding, LocalStore, Repaired


def repair(
    store: LocalStore,
    findings: Sequence[Finding],
    *,
    journal: Journal | None = None,
    report: Callable[[Repaired], None] | None = None,
    clock: Callable[[], int] = time.time_ns,
) -> list[Repaired]:
    """Repair what can be repaired, going on after failures; ``report`` is called with each outcome.

    What keeps the journal from being written stops nothing, and is in `Journal.problem`.

    Raises:
        ReadOnly: the store must not be changed from here.
    """
    outcomes = []
    for outcome in directory.repair(store, findings):
        if journal is not None:
            facts = {"verb": "repair", **repaired_to_json(outcome)}
            journal.write_facts(store.name, facts, clock())
        if report is not None:
            report(outcome)
        outcomes.append(outcome)
    return outcomes
