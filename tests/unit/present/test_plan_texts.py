"""Plans and outcomes as text for people, and as JSON for programs."""

from __future__ import annotations

import json

from contentui.actions.facts import IngestFacts
from contentui.actions.model import Concern, Outcome, Plan, Result, Step, Verb
from contentui.actions.plan import plan_delete, plan_ingests
from contentui.content.digest import Digest
from contentui.content.errors import PermissionDenied
from contentui.content.model import Holder, Info, Liveness, Status, ingest_id
from contentui.index.model import Referrer
from contentui.present.plans import (
    outcome_line,
    outcome_record,
    outcomes_summary,
    plan_lines,
    step_record,
)

NOW = 1_700_000_000 * 10**9
HOUR = 3600 * 10**9
HOSTILE = "\x1b]0;pwned\x07 \u202e\udcff\n"


def fact(ref="layer", liveness=Liveness.FREE, holder=None, *, damage=""):
    status = Status(
        ref, 3_000_000, 10_000_000, NOW - HOUR, NOW - HOUR // 60, None, ingest_id(ref), damage
    )
    return IngestFacts(status, liveness, holder, moving=False)


def texts(lines):
    return [(line.style, line.text) for line in lines]


def test_a_plan_to_abort():
    holder = Holder(7, NOW, "curl x", NOW - HOUR)
    plan = plan_ingests(Verb.ABORT, ".content", [fact(), fact("b", Liveness.HELD, holder)])
    lines = texts(plan_lines(plan, NOW))
    assert lines[:4] == [
        ("title", "Abort 2 ingests in .content: 6.00 MB lost"),
        ("name", "  layer"),
        ("muted", "    3.00 MB of 10.0 MB (30%), started 1h ago, last changed 1m ago"),
        ("text", "    Its 3.00 MB are lost; the next attempt starts from zero."),
    ]
    assert ("warning", "    held by pid 7 (curl x), since 1h") in lines


def test_a_plan_to_truncate_that_is_refused():
    holder = Holder(7, NOW, "curl", 0)
    plan = plan_ingests(Verb.TRUNCATE, ".", [fact(), fact("b", Liveness.HELD, holder)])
    lines = texts(plan_lines(plan, NOW))
    assert lines[0] == ("title", "Truncate 2 ingests in .: 3.00 MB lost")
    assert lines[1] == ("danger", "1 of 2 are refused")
    assert lines[-1][0] == "danger"
    assert lines[-1][1].startswith("    refused: it is held by a live writer: pid 7 (curl)")


def test_a_plan_to_delete():
    info = Info(Digest.of(b"x"), 512, 0, 0, {})
    needs = tuple(Referrer("manifest", f"app:{number}") for number in range(7))
    plan = plan_delete(".", [info], lambda _: needs)
    lines = texts(plan_lines(plan, NOW))
    assert lines[:3] == [
        ("title", "Delete 1 blob in .: 512 B lost"),
        ("name", f"  {info.digest}"),
        ("muted", "    512 B, committed at an unknown time"),
    ]
    assert ("warning", "    needed by manifest app:4") in lines
    assert ("warning", "    needed by 2 more") in lines


def test_unknown_needs_are_said():
    info = Info(Digest.of(b"x"), 512, NOW + HOUR, 0, {})
    lines = texts(plan_lines(plan_delete(".", [info], lambda _: None), NOW))
    assert ("muted", "    512 B, committed in the future") in lines
    assert ("warning", "    it is possibly needed: what needs it is not known") in lines


def test_long_plans_are_grouped():
    plan = plan_ingests(Verb.ABORT, ".", [fact(f"{number}") for number in range(30)])
    lines = texts(plan_lines(plan, NOW, summary=True))
    assert lines[1:] == [
        ("name", "  30 ingests"),
        ("text", "    loses 90.0 MB"),
        ("muted", "    such as 0, 1, 2"),
        ("muted", "--dry-run lists each of them"),
    ]
    names = [text for style, text in texts(plan_lines(plan, NOW)) if style == "name"]
    assert names == ["  30 ingests", *(f"  {number}" for number in range(30))]


def test_a_report_of_many_outcomes_is_cut():
    plan = plan_ingests(Verb.ABORT, ".", [fact(f"{number}") for number in range(30)])
    outcomes = [Outcome(step, Result.DONE) for step in plan.steps]
    assert outcome_line(outcomes[0]) == ("good", "0: aborted")
    assert outcomes_summary(outcomes) == "30 aborted: 90.0 MB gone"


def test_outcomes():
    info = Info(Digest.of(b"x"), 512, NOW, 0, {})
    step = Step(Verb.DELETE, info, 512)
    error = PermissionDenied("no way in", advice="ask root")
    outcomes = [
        Outcome(step, Result.DONE),
        Outcome(step, Result.SKIPPED, "it moved"),
        Outcome(step, Result.REFUSED, "no"),
        Outcome(step, Result.FAILED, error.message, error),
    ]
    assert texts(map(outcome_line, outcomes)) == [
        ("good", f"{info.digest}: deleted"),
        ("warning", f"{info.digest}: skipped: it moved"),
        ("warning", f"{info.digest}: refused: no"),
        ("danger", f"{info.digest}: failed: no way in; ask root"),
    ]
    summary = "1 deleted, 1 skipped, 1 refused, 1 failed: 512 B gone"
    assert outcomes_summary(outcomes) == summary


def hostile_plan():
    holder = Holder(7, NOW, HOSTILE, NOW)
    ingest = plan_ingests(
        Verb.ABORT, HOSTILE, [fact(HOSTILE, Liveness.HELD, holder, damage=HOSTILE)]
    ).steps
    refused = plan_ingests(Verb.TRUNCATE, HOSTILE, [fact("x", Liveness.HELD, holder)]).steps
    info = Info(Digest.of(b"x"), 512, NOW, 0, {})
    blob = plan_delete(HOSTILE, [info], lambda _: (Referrer(HOSTILE, HOSTILE),)).steps
    return Plan(Verb.ABORT, HOSTILE, (*ingest, *refused, *blob))


def test_nothing_hostile_reaches_a_line():
    plan = hostile_plan()
    outcomes = [Outcome(step, Result.FAILED, HOSTILE) for step in plan.steps]
    for line in [*plan_lines(plan, NOW), *map(outcome_line, outcomes)]:
        assert line.text.isprintable(), line


def test_json_of_hostile_things_is_valid_unicode():
    plan = hostile_plan()
    for step in plan.steps:
        json.dumps(step_record(step, plan), ensure_ascii=False).encode()
    outcome = Outcome(plan.steps[0], Result.FAILED, HOSTILE)
    json.dumps(outcome_record(outcome, plan), ensure_ascii=False).encode()


def test_the_names_in_json_are_stable():
    plan = plan_ingests(Verb.ABORT, ".", [fact()])
    assert set(step_record(plan.steps[0], plan)) == {
        "verb",
        "name",
        "ref",
        "id",
        "namespace",
        "before",
        "lost_bytes",
        "lost_bytes_bound",
        "effect",
        "holder",
        "needs",
        "needs_total",
        "freed_by",
        "concerns",
        "refusal",
    }
    blob = plan_delete(".", [Info(Digest.of(b"x"), 1, NOW, NOW, {})], lambda _: None)
    step = step_record(blob.steps[0], blob)
    assert set(step["before"]) == {"size_bytes", "committed_at"}
    assert step["namespaces"] == []
    assert step["needs"] is None
    assert step["concerns"] == [str(Concern.REFERRERS_UNKNOWN)]
    outcome = outcome_record(Outcome(blob.steps[0], Result.DONE), blob)
    assert outcome["result"] == "done"
    assert outcome["reason"] == ""
