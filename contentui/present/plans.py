"""Plans and outcomes as texts and JSON records, for verbs and screen. Texts are safe to print.

A step's record has: ``verb``; ``name``, the ref, id:HEX, digest or image name as it can be typed;
``ref`` and ``id``, or ``digest``; ``before``, the item as it was shown; ``lost_bytes`` and
``lost_bytes_bound``; ``effect``; ``holder``; ``needs`` and ``needs_total``, null when unknown;
``freed_by``; ``concerns``; ``refusal``; an ingest's or image's ``namespace`` (null without one) or
a blob's ``namespaces``. Blobs and images add the blobs to which nothing refers afterwards:
``unreferenced`` (digests, at most 100), ``unreferenced_total`` (their count) and
``unreferenced_bytes``. An outcome adds ``result`` and ``reason``. For texts and times see
`contentui.actions.records`.
"""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from contentui.actions.model import Concern, Result, Verb
from contentui.actions.reasons import CONCERNS
from contentui.actions.records import (
    MAX_REFERRERS,
    holder_to_json,
    referrers_to_json,
    target_to_json,
    text_value,
)
from contentui.content.model import Image, Info, Lease, Status
from contentui.content.rules import GC_SNAPSHOT
from contentui.stores.source import of_store
from contentui.text import holder_text, human_age, human_size, namespaces_text, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from contentui.actions.model import Outcome, Plan, Step
    from contentui.content.model import Holder

NO_CONDITIONAL_DELETE = (
    "The daemon has no conditional delete; an item may change between check and deletion."
)
"""containerd's content service (api/services/content/v1) takes no expected state."""
SLOW_OPEN = 256_000_000
"""Bytes from which a daemon needs a second or more to open an ingest: it hashes all of them
(containerd plugins/content/local/store.go, ``resumeStatus``)."""

_AFTER_ABORT = "will not notice until its commit fails, and keeps the ref locked until then"
_PULL_AGAIN = "; containerd does not retry a pull that fails like this: start it again"
_VERIFY_FIRST = (
    " To find out whether a writer is live, press v or run 'contentui verify --ingest REF'."
)
_PAST = {
    Verb.ABORT: "aborted",
    Verb.TRUNCATE: "truncated",
    Verb.DELETE: "deleted",
    Verb.UNTAG: "untagged",
    Verb.RELEASE: "deleted",
}
_NOUNS = {
    Verb.ABORT: "ingest",
    Verb.TRUNCATE: "ingest",
    Verb.DELETE: "blob",
    Verb.UNTAG: "image name",
    Verb.RELEASE: "lease",
}
_STYLES = {
    Result.DONE: "good",
    Result.SKIPPED: "warning",
    Result.REFUSED: "warning",
    Result.FAILED: "danger",
}


GROUPED_FROM = 12
"""More items than this come in groups of equal effect and holder."""
_EXAMPLES = 3
"""Names that are shown of a group."""


class Line(NamedTuple):
    """A line of text and what it is."""

    style: str
    """``title``, ``name``, ``text``, ``muted``, ``good``, ``warning`` or ``danger``."""
    text: str
    """One line without control codes; indented below the item that it is about."""


class Fact(NamedTuple):
    """One thing to know about a step."""

    label: str
    """``item``, ``in``, ``refused``, ``loses``, ``effect``, ``held by``, ``concern``,
    ``needed`` or ``takes along``."""
    text: str
    style: str
    """As in `Line`."""


def count_text(verb: Verb, count: int) -> str:
    """``3 ingests``, ``1 blob``, ``2 image names``: what a verb acts on."""
    return f"{count:,} {_NOUNS[verb]}{'' if count == 1 else 's'}"


# Effects.


def effect(step: Step, plan: Plan) -> str:
    """What a step does to its item, to a live writer and to what refers to it, in sentences."""
    collected = plan.garbage_collected
    if isinstance(step.target, Image):
        return _untag_effect(step, garbage_collected=collected)
    if isinstance(step.target, Lease):
        return _release_effect(step, step.target)
    if not isinstance(step.target, Status):
        return _delete_effect(step, step.target, garbage_collected=collected)
    if step.verb is Verb.ABORT:
        lost = _lost_by_abort(step.target)
        return f"{lost}{_writer_after_abort(step, garbage_collected=collected)}"
    return _truncate_effect(step, step.target, garbage_collected=collected)


def _lost_by_abort(status: Status) -> str:
    size = human_size(status.offset)
    if status.damage:
        return "Its files are damaged; after their removal the next attempt starts from zero."
    if status.refused is not None:
        return (
            f"Its {size} have the wrong digest, so nothing usable is lost, "
            "and the next attempt can succeed."
        )
    if 0 < status.total == status.offset:
        return f"All its {size} have arrived and only the commit is missing: they are discarded."
    if status.offset == 0:
        return "Nothing has arrived yet; the ingest is removed."
    return f"Its {size} are lost; the next attempt starts from zero."


def _writer_after_abort(step: Step, *, garbage_collected: bool) -> str:
    after = f"{_AFTER_ABORT}{_PULL_AGAIN if garbage_collected else ''}"
    if Concern.LIVE_WRITER in step.concerns:
        return f" Its live writer {after}."
    if Concern.HOLDER_UNKNOWN in step.concerns:
        return f" A live writer, if there is one, {after}.{_VERIFY_FIRST}"
    return f" A live writer, if there is one, {after}." if Concern.MOVING in step.concerns else ""


def _truncate_effect(step: Step, status: Status, *, garbage_collected: bool) -> str:
    size = human_size(status.offset)
    bad = " with the wrong digest" if status.refused is not None else ""
    unknown = ""
    if Concern.HOLDER_UNKNOWN in step.concerns:
        unknown = " If a writer is live, the store refuses."
    cost = ""
    if garbage_collected and status.offset >= SLOW_OPEN:
        cost = (
            f" To truncate it the daemon first reads all its {size} while other changes wait:"
            " an abort reads nothing."
        )
    drops = f"Drops its {size}{bad} and keeps the ingest; the next writer starts from zero."
    return f"{drops}{cost}{unknown}"


def _delete_effect(step: Step, info: Info, *, garbage_collected: bool) -> str:
    text = f"Its {human_size(info.size)} are gone until they are fetched or ingested again."
    if garbage_collected:
        where = f" from {namespaces_text(info.namespaces)}" if info.namespaces else ""
        text = (
            f"It is gone{where} at once; the file with its {human_size(info.size)} is deleted by"
            f" the daemon's next garbage collection{_along(step)}, unless another namespace has it."
        )
    elif step.unreferenced:
        text += (
            f" Nothing else here refers to {_blobs(step.unreferenced)} of those that it refers to:"
            " they stay."
        )
    needed = Concern.REFERENCED in step.concerns
    if needed:
        text += " What needs it stays, incomplete."
    if Concern.REFERRERS_UNKNOWN in step.concerns:
        text += f" Whether something {'else ' if needed else ''}needs it is unknown here."
    if step.freed_by:
        text += " What needs it is deleted first, by this plan."
    return text


def _along(step: Step) -> str:
    """The blobs that the garbage collector removes as well, as a clause."""
    if not step.unreferenced and not step.bound:
        return ""
    bound = f"{step.bound} " if step.bound else ""
    return f", and with it {bound}{_blobs(step.unreferenced)} that only it keeps{_snapshots(step)}"


def _blobs(infos: Sequence[Info]) -> str:
    """``6 blobs (40.0 MB)``."""
    size = human_size(sum(info.size for info in infos))
    return f"{count_text(Verb.DELETE, len(infos))} ({size})"


def _snapshots(step: Step) -> str:
    """Snapshots that go too: containerd labels the config or manifest of what was unpacked."""
    infos = [*step.unreferenced, *([step.target] if isinstance(step.target, Info) else [])]
    unpacked = any(key.startswith(GC_SNAPSHOT) for info in infos for key in info.labels or ())
    return ", and the snapshots that were unpacked from them" if unpacked else ""


def _untag_effect(step: Step, *, garbage_collected: bool) -> str:
    if not step.unreferenced and not step.bound:
        return "Removes the name. Something else here refers to all blobs of this image."
    bound = f"{step.bound} " if step.bound else ""
    blobs = f"{bound}{_blobs(step.unreferenced)}"
    if garbage_collected:
        return (
            f"Removes the name. Nothing else here keeps {blobs} of this image: the daemon's next"
            f" garbage collection deletes them{_snapshots(step)}."
        )
    return f"Removes the name and no blob. Nothing else here refers to {blobs} of this image."


def _release_effect(step: Step, lease: Lease) -> str:
    """What the garbage collector of a daemon, which alone has leases, does afterwards."""
    text = "Deletes the lease."
    if Concern.COLLECTED not in step.concerns:
        text += " Something else keeps all blobs and ingests of it."
    else:
        parts = [_blobs(step.unreferenced)] if step.unreferenced else []
        if step.ingests:
            size = human_size(sum(status.offset for status in step.ingests))
            parts.append(f"{count_text(Verb.ABORT, len(step.ingests))} ({size})")
        text += (
            f" Nothing else keeps {' and '.join(parts)}: the daemon's next garbage collection"
            f" deletes them{_snapshots(step)}, unless another namespace has them."
        )
    if lease.others:
        text += f" It also keeps {lease.others:,} snapshots or other things of unknown size."
    return f"{text} A client that still works with it fails."


# Plans.


def plan_title(plan: Plan) -> str:
    """``Abort 3 ingests in SOURCE: 12.0 MB lost``."""
    verb = str(plan.verb).capitalize()
    things = count_text(plan.verb, len(plan.steps))
    return f"{verb} {things} in {visible(plan.source, 200)}: {lost_text(plan)} lost"


def lost_text(plan: Plan) -> str:
    """The bytes that a plan loses: ``12.0 MB``, ``at least 40.0 MB``."""
    return f"{plan.bound} {human_size(plan.lost_bytes)}".lstrip()


def plan_notes(plan: Plan) -> list[str]:
    """What is true of all items, as sentences."""
    is_daemon = plan.garbage_collected or not of_store(plan.source).is_directory
    if is_daemon and any(plan.able()):
        return [NO_CONDITIONAL_DELETE]
    return []


class StepGroup(NamedTuple):
    """Steps of a plan that have the same effect and the same holder."""

    steps: tuple[Step, ...]
    refusal: str
    concerns: frozenset[Concern]
    holder: Holder | None

    @property
    def lost_bytes(self) -> int:
        return sum(step.lost_bytes for step in self.steps)


def plan_groups(plan: Plan) -> list[StepGroup]:
    """The steps by effect and holder: first what is refused, then what needs confirming."""
    found: dict[tuple[str, frozenset[Concern], Holder | None], list[Step]] = {}
    kind = attrgetter("refusal", "concerns", "holder")
    for key, alike in groupby(plan.steps, kind):  # neighbours are mostly alike
        found.setdefault(key, []).extend(alike)
    groups = [StepGroup(tuple(some), *key) for key, some in found.items()]
    return sorted(groups, key=lambda group: (not group.refusal, not group.concerns))


def group_facts(group: StepGroup, plan: Plan, now_ns: int) -> Iterator[Fact]:
    """What there is to know about a group: how many, what they lose, who holds them, why not."""
    count = count_text(plan.verb, len(group.steps))
    yield Fact("item", count, "text")
    if group.refusal:
        yield Fact("refused", visible(group.refusal), "danger")
    else:
        bound = f"{plan.bound} " if plan.bound else ""
        yield Fact("loses", f"{bound}{human_size(group.lost_bytes)}", "text")
    if group.holder is not None:
        yield Fact("held by", holder_text(group.holder, now_ns), "warning")
    for concern in sorted(group.concerns):
        if concern is not Concern.LIVE_WRITER or group.holder is None:
            are = "it is" if len(group.steps) == 1 else "each is"
            yield Fact("concern", f"{are} {CONCERNS[concern]}", "warning")
    names = [_short_name(step) for step in group.steps[:_EXAMPLES]]
    yield Fact("such as", ", ".join(names), "muted")


def _short_name(step: Step) -> str:
    """A name that is enough for an example: digests are shortened."""
    target = step.target
    return target.digest.short() if isinstance(target, Info) else visible(step.name, 100)


def plan_lines(plan: Plan, now_ns: int, *, summary: bool = False) -> list[Line]:
    """What a plan would do; ages as of ``now_ns``.

    More than `GROUPED_FROM` items come in groups first. Then item by item, which ``summary``
    leaves out where there are groups.
    """
    lines = [Line("title", plan_title(plan))]
    refused = len(plan.steps) - sum(1 for _ in plan.able())
    if refused and len(plan.steps) > 1:
        lines.append(Line("danger", f"{refused:,} of {len(plan.steps):,} are refused"))
    lines += [Line("muted", note) for note in plan_notes(plan)]
    grouped = len(plan.steps) > GROUPED_FROM
    for group in plan_groups(plan) if grouped else ():
        count, *others = group_facts(group, plan, now_ns)
        lines.append(Line("name", f"  {count.text}"))
        lines += map(_fact_line, others)
    if grouped and summary:
        lines.append(Line("muted", "--dry-run lists each of them"))
        return lines
    for step in plan.steps:
        lines.append(Line("name", f"  {visible(step.name, 1000)}"))
        facts = step_facts(step, plan, now_ns)
        lines += [_fact_line(fact) for fact in facts if fact.label != "loses"]
    return lines


def _fact_line(fact: Fact) -> Line:
    if fact.label in ("item", "concern", "effect"):
        return Line(fact.style, f"    {fact.text}")
    mark = ":" if fact.label == "refused" else ""
    return Line(fact.style, f"    {fact.label}{mark} {fact.text}")


def step_facts(step: Step, plan: Plan, now_ns: int, *, max_referrers: int = 5) -> Iterator[Fact]:
    """What there is to know about one item; ages as of ``now_ns``, ``max_referrers`` by name."""
    yield Fact("item", _item_text(step.target, now_ns), "muted")
    if step.namespaces:
        yield Fact("in", namespaces_text(step.namespaces), "text")
    if step.refusal:
        yield Fact("refused", visible(step.refusal), "danger")
        return
    bound = f"{step.bound} " if step.bound and plan.garbage_collected else ""
    exact = f" ({step.lost_bytes:,} bytes)"
    yield Fact("loses", f"{bound}{human_size(step.lost_bytes)}{exact}", "text")
    yield Fact("effect", visible(effect(step, plan)), "text")
    if step.holder is not None:
        yield Fact("held by", holder_text(step.holder, now_ns), "warning")
    for concern in sorted(step.concerns - {Concern.REFERENCED}):
        if concern is not Concern.LIVE_WRITER or step.holder is None:
            yield Fact("concern", f"it is {CONCERNS[concern]}", "warning")
    referrers = step.referrers or ()
    for referrer in referrers[:max_referrers]:
        yield Fact("needed", f"by {visible(referrer.text, 300)}", "warning")
    if len(referrers) > max_referrers:
        yield Fact("needed", f"by {len(referrers) - max_referrers:,} more", "warning")
    if plan.garbage_collected:
        yield from _collected_facts(step.unreferenced, max_referrers)


def _collected_facts(infos: Sequence[Info], most: int) -> Iterator[Fact]:
    """The blobs that the garbage collector removes as well, the ``most`` largest by name."""
    largest = sorted(infos, key=lambda info: -info.size)
    for info in largest[:most]:
        yield Fact("takes along", f"{info.digest.short()}, {human_size(info.size)}", "warning")
    if len(largest) > most:
        yield Fact("takes along", f"{_blobs(largest[most:])} more", "warning")


def concern_lines(plan: Plan) -> list[str]:
    """Each concern with the number of items that it applies to, one sentence each."""
    able = [step for step in plan.steps if not step.refusal]
    counts = Counter(concern for step in able for concern in step.concerns)
    lines = []
    for concern in Concern:
        count = counts[concern]
        if count == len(able) and count:
            lines.append(f"{'It is' if count == 1 else 'All are'} {CONCERNS[concern]}.")
        elif count:
            are = "is" if count == 1 else "are"
            lines.append(f"{count:,} of {len(able):,} {are} {CONCERNS[concern]}.")
    return lines


def _item_text(target: Status | Info | Image | Lease, now_ns: int) -> str:
    if isinstance(target, Lease):
        kept = f"{len(target.blobs):,} blobs, {len(target.ingests):,} ingests"
        return f"keeps {kept}, made {_ago(target.created_ns, now_ns)}"
    if isinstance(target, Image):
        return f"names {target.target.digest}, updated {_ago(target.updated_ns, now_ns)}"
    if not isinstance(target, Status):
        return f"{human_size(target.size)}, committed {_ago(target.committed_ns, now_ns)}"
    size = human_size(target.offset)
    if target.total > 0:
        percent = f" ({100 * target.offset // target.total}%)"
        size = f"{size} of {human_size(target.total)}{percent}"
    started, updated = _ago(target.started_ns, now_ns), _ago(target.updated_ns, now_ns)
    damage = f", damaged: {visible(target.damage, 500)}" if target.damage else ""
    return f"{size}, started {started}, last changed {updated}{damage}"


def _ago(then_ns: int, now_ns: int) -> str:
    age = human_age(then_ns, now_ns)
    return {"now": "just now", "?": "at an unknown time", "future": "in the future"}.get(
        age, f"{age} ago"
    )


# Outcomes.


def outcome_line(outcome: Outcome) -> Line:
    """How one item ended, with the reason when it was not done."""
    name = visible(outcome.step.name, 200)
    if outcome.step.namespaces:
        name += f" ({namespaces_text(outcome.step.namespaces)})"
    if outcome.result is Result.DONE:
        return Line("good", f"{name}: {_PAST[outcome.step.verb]}")
    advice = outcome.error.advice if outcome.error is not None else ""
    reason = f"{outcome.reason}; {advice}" if advice else outcome.reason
    return Line(_STYLES[outcome.result], f"{name}: {outcome.result}: {visible(reason, 2000)}")


def outcomes_summary(outcomes: Iterable[Outcome]) -> str:
    """``2 aborted, 1 skipped: 5.00 MB gone``."""
    counts: Counter[str] = Counter()
    lost = 0
    for outcome in outcomes:
        done = outcome.result is Result.DONE
        counts[_PAST[outcome.step.verb] if done else str(outcome.result)] += 1
        lost += outcome.step.lost_bytes if done else 0
    parts = ", ".join(f"{count} {result}" for result, count in counts.items())
    return f"{parts}: {human_size(lost)} gone"


# JSON.


def step_record(step: Step, plan: Plan) -> dict[str, Any]:
    """One step of a plan."""
    return {
        "verb": str(step.verb),
        "name": text_value(step.name),
        **target_to_json(step),
        "lost_bytes": step.lost_bytes,
        "lost_bytes_bound": step.bound if plan.garbage_collected else "",
        "effect": effect(step, plan),
        "holder": holder_to_json(step.holder),
        **referrers_to_json(step.referrers),
        "freed_by": [str(digest) for digest in step.freed_by[:MAX_REFERRERS]],
        "concerns": sorted(map(str, step.concerns)),
        "refusal": text_value(step.refusal),
    }


def outcome_record(outcome: Outcome, plan: Plan) -> dict[str, Any]:
    """A step of ``plan``, its ``result`` and the ``reason`` for it (empty when done)."""
    reason = text_value(outcome.reason)
    return {**step_record(outcome.step, plan), "result": str(outcome.result), "reason": reason}
