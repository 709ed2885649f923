"""Plans for a daemon's store tell what that daemon will do."""

from __future__ import annotations

from contentui.actions.facts import IngestFacts
from contentui.actions.model import Outcome, Result, Verb
from contentui.actions.plan import plan_delete, plan_ingests
from contentui.content.digest import Digest
from contentui.content.model import Holder, Info, IngestId, Liveness, Status
from contentui.index.model import Referrer
from contentui.present.plans import (
    NO_CONDITIONAL_DELETE,
    effect,
    outcome_line,
    plan_lines,
    plan_notes,
    step_record,
)

SOURCE = "unix:///run/c.sock"
NOW = 1_700_000_000 * 10**9


def facts(liveness=Liveness.FREE, offset=3_000_000, **more):
    fields = {"started_ns": 1, "updated_ns": 2, "expected": None, "id": IngestId("ab"), **more}
    holder = Holder(0, 0, "", 5) if liveness is Liveness.HELD else None
    return IngestFacts(Status("layer", offset, 0, **fields), liveness, holder, moving=False)


def blob(*namespaces):
    return Info(Digest.of(b"x"), 5_000, NOW, NOW, {}, namespaces)


def only(plan):
    (step,) = plan.steps
    return step


def effect_of(plan):
    return effect(only(plan), plan)


def test_the_writer_of_an_aborted_one_learns_of_it_at_its_commit():
    text = effect_of(
        plan_ingests(Verb.ABORT, SOURCE, [facts(Liveness.HELD)], garbage_collected=True)
    )
    assert "will not notice until its commit fails" in text
    assert "start it again" in text
    assert "start it again" not in effect_of(plan_ingests(Verb.ABORT, ".", [facts(Liveness.HELD)]))
    free = plan_ingests(Verb.ABORT, SOURCE, [facts()], garbage_collected=True)
    assert "start it again" not in effect_of(free)


def test_who_does_not_know_is_told_to_ask():
    unknown = plan_ingests(Verb.ABORT, SOURCE, [facts(Liveness.UNKNOWN)], garbage_collected=True)
    assert "'contentui verify --ingest REF'" in effect_of(unknown)
    free = plan_ingests(Verb.ABORT, SOURCE, [facts()], garbage_collected=True)
    assert "verify" not in effect_of(free)


def test_a_large_one_is_rather_aborted_than_truncated():
    small = plan_ingests(Verb.TRUNCATE, SOURCE, [facts()], garbage_collected=True)
    assert "abort" not in effect_of(small)
    large = plan_ingests(
        Verb.TRUNCATE, SOURCE, [facts(offset=3_000_000_000)], garbage_collected=True
    )
    assert "reads all its 3.00 GB while other changes wait: an abort reads" in effect_of(large)
    assert "reads" not in effect_of(plan_ingests(Verb.TRUNCATE, ".", [facts(offset=3_000_000_000)]))


def test_a_blob_goes_from_its_namespaces_and_its_file_later():
    plan = plan_delete(SOURCE, [blob("k8s.io", "moby")], lambda _: (), garbage_collected=True)
    assert effect_of(plan) == (
        "It is gone from namespaces k8s.io, moby at once; the file with its 5.00 kB is deleted by"
        " the daemon's next garbage collection, unless another namespace has it."
    )
    needs = (Referrer("lease", "l"),)
    plan = plan_delete(SOURCE, [blob("k8s.io")], lambda _: needs, garbage_collected=True)
    assert "from namespace k8s.io at once" in effect_of(plan)
    assert "What needs it stays, incomplete." in effect_of(plan)
    assert only(plan).referrers == needs


def test_the_gap_is_told_where_there_is_one():
    for plan in (
        plan_ingests(Verb.ABORT, SOURCE, [facts()], garbage_collected=True),
        plan_ingests(Verb.TRUNCATE, SOURCE, [facts()]),  # a socket of ours, without a collector
        plan_delete(SOURCE, [blob()], lambda _: ()),
    ):
        assert plan_notes(plan) == [NO_CONDITIONAL_DELETE]
        assert NO_CONDITIONAL_DELETE in [line.text for line in plan_lines(plan, NOW)]
    assert plan_notes(plan_ingests(Verb.ABORT, "/srv/store", [facts()])) == []


def test_namespaces_are_shown_and_harmless():
    ingest = plan_ingests(
        Verb.ABORT, SOURCE, [facts(namespace="k8s\x1b[2Jio")], garbage_collected=True
    )
    some = plan_delete(SOURCE, [blob(*"abcdefg", "\x1b]0;")], lambda _: (), garbage_collected=True)
    texts = [line.text for plan in (ingest, some) for line in plan_lines(plan, NOW)]
    assert "    in namespace k8s\\x1b[2Jio" in texts
    assert "    in namespaces a, b, c, d, e and 3 more" in texts
    assert all(text.isprintable() for text in texts)
    done = outcome_line(Outcome(only(ingest), Result.DONE)).text
    assert done.endswith("(namespace k8s\\x1b[2Jio): aborted")


def test_json_has_the_namespaces():
    ingest = plan_ingests(Verb.ABORT, SOURCE, [facts(namespace="k8s.io")])
    assert step_record(only(ingest), ingest)["namespace"] == "k8s.io"
    some = plan_delete(".", [blob("a", "b")], lambda _: ())
    assert step_record(only(some), some)["namespaces"] == ["a", "b"]
