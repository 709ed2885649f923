"""Plans for a daemon's store tell what that daemon will do."""

from __future__ import annotations

from contentui.actions.describe import describe_outcome, describe_plan
from contentui.actions.facts import IngestFacts
from contentui.actions.model import Outcome, Result
from contentui.actions.plan import plan_abort, plan_delete, plan_truncate
from contentui.actions.records import step_to_json
from contentui.actions.words import GAP
from contentui.content.digest import Digest
from contentui.content.model import Holder, Info, IngestId, Liveness, Status
from contentui.index.model import Referrer

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


def test_the_writer_of_an_aborted_one_learns_of_it_at_its_commit():
    step = only(plan_abort(SOURCE, [facts(Liveness.HELD)], collects=True))
    assert "notices nothing until its commit, which fails" in step.effect
    assert "start it anew" in step.effect
    assert "start it anew" not in only(plan_abort(".", [facts(Liveness.HELD)])).effect
    assert "start it anew" not in only(plan_abort(SOURCE, [facts()], collects=True)).effect


def test_who_does_not_know_is_told_to_ask():
    step = only(plan_abort(SOURCE, [facts(Liveness.UNKNOWN)], collects=True))
    assert "'contentui verify --ingest REF'" in step.effect
    assert "verify" not in only(plan_abort(SOURCE, [facts()], collects=True)).effect


def test_a_large_one_is_rather_aborted_than_truncated():
    small = only(plan_truncate(SOURCE, [facts()], collects=True))
    assert "abort" not in small.effect
    large = only(plan_truncate(SOURCE, [facts(offset=3_000_000_000)], collects=True))
    assert "reads all its 3.00 GB while other changes wait: rather abort it" in large.effect
    assert "reads" not in only(plan_truncate(".", [facts(offset=3_000_000_000)])).effect


def test_a_blob_goes_from_its_namespaces_and_its_file_later():
    step = only(plan_delete(SOURCE, [blob("k8s.io", "moby")], lambda _: (), collects=True))
    assert step.effect == (
        "It is gone from namespaces k8s.io, moby at once; the file with its 5.00 kB goes at the"
        " daemon's next collection, unless another namespace knows it."
    )
    needs = (Referrer("lease", "l"),)
    step = only(plan_delete(SOURCE, [blob("k8s.io")], lambda _: needs, collects=True))
    assert "from namespace k8s.io at once" in step.effect
    assert "What needs it stays behind, incomplete." in step.effect
    assert step.needs == needs


def test_the_gap_is_told_where_there_is_one():
    for plan in (
        plan_abort(SOURCE, [facts()], collects=True),
        plan_truncate(SOURCE, [facts()]),  # a socket of ours, without a collector
        plan_delete(SOURCE, [blob()], lambda _: ()),
    ):
        assert plan.notes == (GAP,)
        assert GAP in [line.text for line in describe_plan(plan, NOW)]
    assert plan_abort("/srv/store", [facts()]).notes == ()


def test_namespaces_are_shown_and_harmless():
    ingest = plan_abort(SOURCE, [facts(namespace="k8s\x1b[2Jio")], collects=True)
    some = plan_delete(SOURCE, [blob(*"abcdefg", "\x1b]0;")], lambda _: (), collects=True)
    texts = [line.text for plan in (ingest, some) for line in describe_plan(plan, NOW)]
    assert "    in namespace k8s\\x1b[2Jio" in texts
    assert "    in namespaces a, b, c, d, e and 3 more" in texts
    assert all(text.isprintable() for text in texts)
    done = describe_outcome(Outcome(only(ingest), Result.DONE)).text
    assert done.endswith("(namespace k8s\\x1b[2Jio): aborted")


def test_json_has_the_namespaces():
    ingest = only(plan_abort(SOURCE, [facts(namespace="k8s.io")]))
    assert step_to_json(ingest)["namespace"] == "k8s.io"
    assert step_to_json(only(plan_delete(".", [blob("a", "b")], lambda _: ())))["namespaces"] == [
        "a",
        "b",
    ]
