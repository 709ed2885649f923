"""Texts of the screens: empty states, failures, outcomes, the journal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from contentui.actions.model import Result
from contentui.glyphs import GLYPHS
from contentui.monitor.model import Freshness, StoreView
from contentui.monitor.states import IngestState
from contentui.present.columns import SHAPES
from contentui.present.journal import journal_entry
from contentui.present.plans import outcome_line, outcomes_summary
from contentui.stores.source import of_store
from contentui.text import local_time, visible
from contentui.tui.text_view import Line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from contentui.actions.model import Outcome
    from contentui.content.errors import ContentError
    from contentui.present.journal import JournalEntry
    from contentui.tui.messages import StoreFailed

DESTRUCTIVE = {
    "ingest.abort": "Abort",
    "ingest.delete": "Abort",
    "ingest.truncate": "Truncate",
    "blob.delete": "Delete",
}
"""Commands that are refused where the store is read-only, and their verbs."""

_LEGEND = {
    IngestState.MOVING: "bytes arrive",
    IngestState.COMPLETE: "all bytes are there, not committed yet",
    IngestState.QUIET: "no byte for some seconds",
    IngestState.UNKNOWN: "no byte was seen, and whether a writer holds it is unknown",
    IngestState.TRICKLE: "bytes arrive, but very slowly",
    IngestState.STALLED: "no byte for long, while a writer holds it",
    IngestState.ABANDONED: "incomplete, and no writer holds it",
    IngestState.POISONED: "complete with the wrong digest: retries fail until it is removed",
    IngestState.DAMAGED: "its files are not what they should be",
}


def legend() -> list[tuple[str, str, str]]:
    """Shape, word and meaning of each state."""
    return [(SHAPES[state], state.value, text) for state, text in _LEGEND.items()]


_GRPC_PREFIX = re.compile(
    "failed to connect to all addresses; last error: (?:.*error: )?", re.DOTALL
)
"""How gRPC begins the message of a failed connection, before the cause."""


def _brief(reason: str) -> str:
    return visible(_GRPC_PREFIX.sub("", reason), 400)


def failed(error: ContentError) -> str:
    """Why the store can't be shown, and what to do, for the place of the rows."""
    advice = f"\n{visible(error.advice, 600)}" if error.advice else ""
    return f"{_brief(error.message)}{advice}\n\nStill trying. r tries now, q leaves."


def warning(failure: StoreFailed | None, store_view: StoreView | None) -> str:
    """The problem with the view, for the warning line; empty without one."""
    if failure is not None:
        if store_view is None:
            return f"The store can't be shown: {_brief(failure.error.message)}"
        advice = f" {visible(failure.error.advice, 300)}" if failure.error.advice else ""
        return f"Lost the store: {_brief(failure.error.message)}{advice} Still trying."
    if store_view is not None and store_view.health.freshness is Freshness.STALE:
        reason = _brief(store_view.health.reason)
        if not store_view.health.since_ns:
            return f"The store can't be shown: {reason}"
        since = local_time(store_view.health.since_ns).rpartition(" ")[2]
        return f"Out of date since {since}: {reason}"
    return ""


def empty(store_view: StoreView, *, garbage_collected: bool = False) -> tuple[str, str]:
    """Texts for an empty ingest pane and an empty blob pane.

    ``garbage_collected``: a containerd's store, which requires a namespace for a new ingest.
    """
    import shlex

    source = of_store(store_view.source)
    if garbage_collected and len(source.namespaces) != 1:
        source = source.narrowed("default")
    where = visible(shlex.quote(source.text), 300)
    command = f"contentui --store {where} ingest mine < FILE"
    if store_view.health.freshness is Freshness.STALE:
        if not store_view.health.since_ns:
            return f"{_brief(store_view.health.reason)}\n\nr tries now, q leaves.", ""
        return ("Nothing was here when the store was last read.",) * 2
    if store_view.read_only_reason:
        ingests = "No ingests."
    elif store_view.blobs or store_view.is_loading:
        ingests = f"No ingests. To start one:\n\n{command}"
    else:
        ingests = (
            "This store is empty.\n"
            "An ingest is content that is being written. To start one:\n"
            f"\n  {command}\n"
            "\nIt is listed here while it is written, and as a blob once it is committed."
        )
    if store_view.is_loading:
        return ingests, GLYPHS.pending
    return ingests, "No blobs. A committed ingest is listed here as a blob."


def outcome(outcomes: Sequence[Outcome]) -> tuple[str, str]:
    """The outcomes of a plan as one line, and its severity; the journal has the others."""
    bad = [o for o in outcomes if o.result is not Result.DONE]
    if len(outcomes) == 1:
        return outcome_line(outcomes[0]).text, "error" if bad else "information"
    summary = outcomes_summary(outcomes)
    if not bad:
        return summary, "information"
    return f"{summary}. {outcome_line(bad[0]).text}. j lists each.", "warning"


_RESULT_STYLES = {"done": "good", "skipped": "warn", "refused": "warn", "failed": "bad"}


def journal_lines(records: Iterable[Mapping[str, Any]], path: str, problem: str) -> list[Line]:
    """The journal's records, given oldest first, as lines with the newest first."""
    lines = [Line(visible(problem, 600), "bad")] if problem else []
    for record in reversed(list(records)):
        lines += _entry_lines(journal_entry(record))
    if not lines:
        lines.append(Line("Nothing has been aborted, truncated, deleted or untagged yet."))
    return [*lines, Line(""), Line(visible(path, 1000), "dim", "file", "dim", hang=6)]


def _entry_lines(entry: JournalEntry) -> Iterator[Line]:
    text = f"{entry.verb} {entry.name}  {entry.size}".rstrip()
    style = _RESULT_STYLES.get(entry.result, "dim")
    yield Line(text, "plain", f"{entry.at}Z  {entry.result}", style, hang=31)
    if entry.reason:
        yield Line(entry.reason, "warn", hang=31)
    yield Line(f"{entry.user} (pid {entry.pid}) in {entry.source}", "dim", hang=31)
