"""Plans and outcomes as lines of text that are safe to print anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from contentui.actions import words
from contentui.actions.model import Concern, Result, Verb
from contentui.actions.records import outcome_to_json, plan_to_json
from contentui.content.model import Status
from contentui.text import human_age, human_size, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from contentui.actions.model import Outcome, Plan, Step
    from contentui.content.model import Info

__all__ = ["Line", "describe_outcomes", "describe_plan", "outcome_to_json", "plan_to_json"]

MAX_NEEDS = 5
"""Needs that are named for one item; the rest is counted."""

_PAST = {Verb.ABORT: "aborted", Verb.TRUNCATE: "truncated", Verb.DELETE: "deleted"}
_STYLES = {
    Result.DONE: "good",
    Result.SKIPPED: "warning",
    Result.REFUSED: "warning",
    Result.FAILED: "danger",
}


class Line(NamedTuple):
    """A line of text and what it is."""

    style: str
    """``title``, ``name``, ``text``, ``muted``, ``good``, ``warning`` or ``danger``."""
    text: str
    """One line, indented by what it belongs to; names are made visible, no control codes."""


def describe_plan(plan: Plan, now_ns: int, *, limit: int | None = None) -> list[Line]:
    """What a plan would do, item by item, the first ``limit`` of them; times as seen at now_ns."""
    lines = [Line("title", _plan_title(plan))]
    refused = sum(bool(step.refusal) for step in plan.steps)
    if refused and len(plan.steps) > 1:
        lines.append(Line("danger", f"{refused} of {len(plan.steps)} are refused"))
    lines += [Line("muted", note) for note in plan.notes]
    for step in plan.steps[:limit]:
        lines += _step_lines(step, now_ns)
    if limit is not None and len(plan.steps) > limit:
        lines.append(Line("muted", f"… and {len(plan.steps) - limit} more"))
    return lines


def describe_outcomes(outcomes: Sequence[Outcome], *, limit: int | None = None) -> list[Line]:
    """How each item ended, and a count of it all when there are several."""
    lines = [describe_outcome(outcome) for outcome in outcomes[:limit]]
    if limit is not None and len(outcomes) > limit:
        lines.append(Line("muted", f"… and {len(outcomes) - limit} more"))
    if len(outcomes) > 1:
        lines.append(Line("title", _summary(outcomes)))
    return lines


def describe_outcome(outcome: Outcome) -> Line:
    """How one item ended, with the reason when it was not done."""
    name = visible(outcome.step.name, 200)
    if outcome.step.namespaces:
        name += f" ({words.namespace_words(outcome.step.namespaces)})"
    if outcome.result is Result.DONE:
        return Line("good", f"{name}: {_PAST[outcome.step.verb]}")
    advice = outcome.error.advice if outcome.error is not None else ""
    reason = f"{outcome.reason}; {advice}" if advice else outcome.reason
    return Line(_STYLES[outcome.result], f"{name}: {outcome.result}: {visible(reason, 2000)}")


def _plan_title(plan: Plan) -> str:
    count = len(plan.steps)
    thing = "blob" if plan.verb is Verb.DELETE else "ingest"
    things = f"{count} {thing}{'' if count == 1 else 's'}"
    source = visible(plan.source, 200)
    return f"{str(plan.verb).capitalize()} {things} in {source}: {human_size(plan.lost_bytes)} lost"


def _step_lines(step: Step, now_ns: int) -> Iterator[Line]:
    yield Line("name", f"  {visible(step.name, 1000)}")
    if isinstance(step.target, Status):
        yield Line("muted", f"    {_ingest_words(step.target, now_ns)}")
    else:
        yield Line("muted", f"    {_blob_words(step.target, now_ns)}")
    if step.namespaces:
        yield Line("muted", f"    in {words.namespace_words(step.namespaces)}")
    if step.refusal:
        yield Line("danger", f"    refused: {visible(step.refusal)}")
        return
    yield from _concern_lines(step, now_ns)
    yield Line("text", f"    {step.effect}")


def _ingest_words(status: Status, now_ns: int) -> str:
    size = human_size(status.offset)
    if status.total > 0:
        percent = f" ({100 * status.offset // status.total}%)"
        size = f"{size} of {human_size(status.total)}{percent}"
    started = human_age(status.started_ns, now_ns)
    updated = human_age(status.updated_ns, now_ns)
    damage = f", damaged: {visible(status.damage, 500)}" if status.damage else ""
    return f"{size}, started {_ago(started)}, last changed {_ago(updated)}{damage}"


def _blob_words(info: Info, now_ns: int) -> str:
    return f"{human_size(info.size)}, committed {_ago(human_age(info.committed_ns, now_ns))}"


def _ago(age: str) -> str:
    return {"now": "just now", "?": "at an unknown time", "future": "in the future"}.get(
        age, f"{age} ago"
    )


def _concern_lines(step: Step, now_ns: int) -> Iterator[Line]:
    for concern in sorted(step.concerns - {Concern.NEEDED}):
        text = words.CONCERNS[concern]
        if concern is Concern.LIVE_WRITER:
            text = f"{text}: {words.holder_words(step.holder)}"
            if step.holder is not None and step.holder.since_ns:
                text += f", since {human_age(step.holder.since_ns, now_ns)}"
        yield Line("warning", f"    {text}")
    needs = step.needs or ()
    for need in needs[:MAX_NEEDS]:
        yield Line("warning", f"    needed by {visible(f'{need.by} {need.name}', 300)}")
    if len(needs) > MAX_NEEDS:
        yield Line("warning", f"    and {len(needs) - MAX_NEEDS} more that need it")


def _summary(outcomes: Iterable[Outcome]) -> str:
    counts: dict[str, int] = {}
    lost = 0
    for outcome in outcomes:
        done = outcome.result is Result.DONE
        word = _PAST[outcome.step.verb] if done else str(outcome.result)
        counts[word] = counts.get(word, 0) + 1
        lost += outcome.step.lost_bytes if done else 0
    parts = ", ".join(f"{count} {word}" for word, count in counts.items())
    return f"{parts}: {human_size(lost)} gone"
