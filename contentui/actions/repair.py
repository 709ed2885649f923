"""Repairing what a check of a directory has found; each outcome goes into the journal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from contentui.actions.records import text_value
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
            facts = {"verb": "repair", **outcome_to_json(outcome)}
            journal.write_facts(store.name, facts, clock())
        if report is not None:
            report(outcome)
        outcomes.append(outcome)
    return outcomes


def finding_to_json(finding: Finding) -> dict[str, Any]:
    """A finding: ``kind``, ``name``, ``problem``, ``repair`` and ``advice``, null without one."""
    return {
        "kind": str(finding.kind),
        "name": text_value(finding.name),
        "problem": text_value(finding.problem),
        "repair": finding.repair or None,
        "advice": text_value(finding.advice) or None,
    }


def outcome_to_json(outcome: Repaired) -> dict[str, Any]:
    """A finding, its ``result`` and the ``reason`` for it (empty when done)."""
    reason = text_value(outcome.reason)
    return {**finding_to_json(outcome.finding), "result": outcome.result, "reason": reason}
