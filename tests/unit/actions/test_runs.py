"""A run reads each item again, and leaves alone and names what changed since."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from contentui.actions.facts import ingest_facts
from contentui.actions.journal import Journal
from contentui.actions.model import Concern, Result, Verb
from contentui.actions.plan import plan_delete, plan_ingests
from contentui.actions.run import run
from contentui.content.digest import Digest
from contentui.content.errors import (
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
)
from contentui.content.rules import GC_REFERENCE, GC_ROOT
from contentui.index.content_index import ContentIndex
from contentui.index.model import Referrer
from contentui.stores.local.store import LocalStore
from contentui.stores.memory import MemoryStore

ALL = frozenset(Concern)


def certain_in(index):
    """Whether the referrers of a digest are all known."""
    return lambda digest: index.all_referrers([digest]).get(digest, ((), True))[1]


@pytest.fixture(params=["memory", "directory"])
def store(request, tmp_path):
    made = MemoryStore("here") if request.param == "memory" else LocalStore(str(tmp_path / "s"))
    yield made
    made.close()


def idle(store, ref="r", data=b"abc", **more):
    with store.writer(ref, **more) as writer:
        writer.write(data)
    return store.status(ref)


def aborting(store, *refs):
    return plan_ingests(
        Verb.ABORT, store.name, ingest_facts(store, [store.status(ref) for ref in refs])
    )


def truncating(store, *refs):
    return plan_ingests(
        Verb.TRUNCATE, store.name, ingest_facts(store, [store.status(ref) for ref in refs])
    )


def results(outcomes):
    return [(outcome.step.name, outcome.result, outcome.reason) for outcome in outcomes]


def only(outcomes):
    (outcome,) = outcomes
    return outcome


class TestIngests:
    def test_abort(self, store):
        idle(store, "a")
        idle(store, "b")
        heard = []
        outcomes = run(store, aborting(store, "a", "b"), report=heard.append)
        assert results(outcomes) == [("a", Result.DONE, ""), ("b", Result.DONE, "")]
        assert heard == outcomes
        assert store.statuses() == []

    def test_truncate(self, store):
        before = idle(store)
        assert only(run(store, truncating(store, "r"))).result is Result.DONE
        assert store.status("r").offset == 0
        assert store.status("r").started_ns == before.started_ns

    def test_one_that_moved_is_skipped_and_the_rest_goes_on(self, store):
        idle(store, "a")
        idle(store, "b")
        plan = aborting(store, "a", "b")
        idle(store, "a", b"def")
        assert results(run(store, plan, allow=ALL)) == [
            (
                "a",
                Result.SKIPPED,
                "it received bytes since it was shown, from 3 B to 6 B (3 to 6 bytes)",
            ),
            ("b", Result.DONE, ""),
        ]
        assert [status.ref for status in store.statuses()] == ["a"]

    def test_one_that_vanished_is_skipped(self, store):
        idle(store)
        plan = aborting(store, "r")
        store.abort("r")
        outcome = only(run(store, plan))
        assert outcome.result is Result.SKIPPED
        assert outcome.reason == "it is gone: committed or aborted since it was shown"
        assert isinstance(outcome.error, NotFound)

    def test_one_begun_anew_is_skipped(self, store):
        idle(store)
        plan = aborting(store, "r")
        store.abort("r")
        idle(store)
        assert only(run(store, plan)).reason == "it was started anew since it was shown"
        assert store.status("r")

    def test_one_that_was_only_touched_is_skipped(self, store):
        idle(store)
        plan = aborting(store, "r")
        with store.writer("r") as writer:
            writer.truncate(0)
            writer.write(b"xyz")
        assert "opened, closed or written" in only(run(store, plan)).reason

    def test_one_whose_commit_failed_since_is_skipped(self, store):
        idle(store)
        plan = truncating(store, "r")
        with pytest.raises(FailedPrecondition):
            store.writer("r").commit(expected=Digest.of(b"other"))
        assert "a commit was tried" in only(run(store, plan)).reason

    @pytest.mark.parametrize("planned", [aborting, truncating])
    def test_one_that_a_writer_took_is_skipped(self, store, planned):
        idle(store)
        plan = planned(store, "r")
        with store.writer("r"):
            outcome = only(run(store, plan, allow=ALL))
        assert outcome.result is Result.SKIPPED
        assert outcome.reason.startswith("a writer opened it since it was shown: pid ")
        assert store.status("r")

    def test_a_live_writer_needs_force(self, store):
        with store.writer("r"):
            outcome = only(run(store, aborting(store, "r")))
            assert outcome.result is Result.REFUSED
            assert outcome.reason.startswith("it is held by a live writer: pid ")
            assert outcome.reason.endswith("only --force does it anyway")
            assert store.status("r")

    def test_a_live_writer_may_move_meanwhile(self, store):
        writer = store.writer("r")
        writer.write(b"one")
        plan = aborting(store, "r")
        writer.write(b"two")
        allow = {Concern.LIVE_WRITER, Concern.MOVING}
        assert only(run(store, plan, allow=allow)).result is Result.DONE
        assert store.statuses() == []

    def test_a_live_writer_that_outruns_every_look(self):
        class Racing(MemoryStore):
            def abort(self, ref, *, if_match=None, force=False):
                writer.write(b"more")
                super().abort(ref, if_match=if_match, force=force)

        store = Racing()
        writer = store.writer("r")
        plan = aborting(store, "r")
        assert only(run(store, plan, allow=ALL)).result is Result.DONE
        assert store.statuses() == []

    def test_a_mover_without_a_known_holder_is_left_when_it_outruns_us(self):
        class Blind(MemoryStore):
            def holders(self, ids):
                return None

            def abort(self, ref, *, if_match=None, force=False):
                assert not force
                writer.write(b"more")
                with self._mutex:
                    self._held.clear()
                super().abort(ref, if_match=if_match, force=force)

        store = Blind()
        writer = store.writer("r")
        if_match = store.statuses()
        facts = ingest_facts(
            store, if_match, second_look_s=1, sleep=lambda _: writer.write(b"go") and None
        )
        plan = plan_ingests(Verb.ABORT, ".", facts)
        assert plan.concerns == {Concern.MOVING, Concern.HOLDER_UNKNOWN}
        assert only(run(store, plan, allow=ALL)).result is Result.SKIPPED
        assert store.status("r")

    def test_another_writer_than_the_planned_one_is_left_alone(self, store):
        first = store.writer("r")
        plan = aborting(store, "r")
        first.close()
        with store.writer("r"):
            reason = only(run(store, plan, allow=ALL)).reason
        assert reason.startswith("another writer opened it since it was shown: pid ")
        assert store.status("r")

    def test_a_writer_that_ended_needs_no_force(self, store):
        forced = []
        abort = store.abort
        store.abort = lambda ref, *, if_match=None, force=False: (
            forced.append(force),
            abort(ref, if_match=if_match, force=force),
        )
        writer = store.writer("r")
        plan = aborting(store, "r")
        writer.close()
        assert only(run(store, plan, allow=ALL)).result is Result.DONE
        assert forced == [False]

    def test_damage_and_repair_are_changes(self, store):
        shown = idle(store)
        broken = shown._replace(damage="torn")
        for was, now, words in [(shown, broken, "damaged"), (broken, shown, "repaired")]:
            store.status = lambda ref, now=now: now
            plan = plan_ingests(Verb.ABORT, ".", ingest_facts(store, [was]))
            outcome = only(run(store, plan))
            assert outcome.result is Result.SKIPPED
            assert words in outcome.reason

    def test_a_held_truncate_is_refused(self, store):
        with store.writer("r"):
            outcome = only(run(store, truncating(store, "r"), allow=ALL))
        assert outcome.result is Result.REFUSED
        assert "wait until it ends" in outcome.reason

    def test_an_unknown_holder_needs_force(self, store):
        shown = idle(store)
        store.holders = lambda ids: None
        plan = plan_ingests(Verb.ABORT, ".", ingest_facts(store, [shown]))
        outcome = only(run(store, plan))
        assert outcome.result is Result.REFUSED
        assert "possibly held by a live writer" in outcome.reason
        assert only(run(store, plan, allow=ALL)).result is Result.DONE

    def test_a_failure_is_told_and_the_rest_goes_on(self, store):
        idle(store, "a")
        idle(store, "b")
        plan = aborting(store, "a", "b")
        abort = store.abort

        def failing(ref, **more):
            if ref == plan.steps[0].target.id:
                raise PermissionDenied("the folder can't be changed")
            abort(ref, **more)

        store.abort = failing
        assert results(run(store, plan)) == [
            ("a", Result.FAILED, "the folder can't be changed"),
            ("b", Result.DONE, ""),
        ]

    def test_a_store_that_fails_to_be_read_fails_the_item(self, store):
        idle(store)
        plan = aborting(store, "r")

        def failing(ref):
            raise ResourceExhausted("no descriptors left")

        store.status = failing
        assert only(run(store, plan)).result is Result.FAILED

    def test_hostile_refs(self, store):
        refs = ["-rf", "a\nb", "\x1b[2J", "id:fake", "a/../b", "\udcff\x00", " "]
        for ref in refs:
            idle(store, ref)
        plan = aborting(store, *refs)
        assert {outcome.result for outcome in run(store, plan)} == {Result.DONE}
        assert store.statuses() == []


WRITER = """
import sys
from contentui.stores.local.store import LocalStore
writer = LocalStore(sys.argv[1]).writer("r")
writer.write(b"abc")
print("writing", flush=True)
sys.stdin.readline()
writer.write(b"def")
try:
    writer.commit()
except Exception as error:
    print(type(error).__name__, flush=True)
"""


def test_the_writer_of_another_process_is_named_and_loses_its_commit(tmp_path):
    store = LocalStore(str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "writing\n"
        plan = aborting(store, "r")
        assert f"pid {process.pid} (" in only(run(store, plan)).reason
        assert f"pid {process.pid} (" in only(run(store, truncating(store, "r"))).reason
        assert only(run(store, plan, allow=ALL)).result is Result.DONE
        answer, _ = process.communicate("go\n")
    assert answer.strip() in {"DataLoss", "NotFound"}
    assert store.statuses() == []
    assert list(store.walk()) == []
    store.close()


def document(*infos):
    return json.dumps({"manifests": [{"digest": info.digest} for info in infos]}).encode()


class TestBlobs:
    @pytest.fixture
    def layer(self, store):
        return store.put(b"layer")

    @pytest.fixture
    def manifest(self, store, layer):
        return store.put(document(layer))

    @pytest.fixture
    def index(self, store):
        index = ContentIndex(store)
        assert index.refresh(60)
        return index

    def test_a_set_that_holds_itself_goes_whole(self, store, layer, manifest, index):
        plan = plan_delete(
            ".",
            [layer, manifest],
            index.referrers,
            certain=certain_in(index),
        )
        outcomes = run(store, plan, referrers=index.referrers)
        assert [outcome.result for outcome in outcomes] == [Result.DONE, Result.DONE]
        assert list(store.walk()) == []

    def test_what_is_needed_must_be_forced(self, store, layer, manifest, index):
        plan = plan_delete(".", [layer], index.referrers)
        outcome = only(run(store, plan, referrers=index.referrers))
        assert outcome.result is Result.REFUSED
        assert outcome.reason.startswith("it is needed by manifest index sha256:")
        assert only(run(store, plan, allow=ALL, referrers=index.referrers)).result is Result.DONE

    def test_needed_by_many_is_counted(self, store, layer):
        needs = tuple(Referrer("image", f"i{number}") for number in range(3))
        outcome = only(run(store, plan_delete(".", [layer], lambda _: needs)))
        assert "image i0 and 2 more" in outcome.reason

    def test_unknown_needs_must_be_forced(self, store, layer):
        plan = plan_delete(".", [layer], lambda _: None)
        assert "possibly needed" in only(run(store, plan)).reason
        assert only(run(store, plan, allow=ALL)).result is Result.DONE

    def test_a_child_stays_when_its_holder_does(self, store, layer, manifest, index):
        store.update(manifest.digest, {GC_ROOT: "x"})
        index.update(store.walk())
        plan = plan_delete(".", [layer, store.info(manifest.digest)], index.referrers)
        assert results(run(store, plan)) == [
            (
                manifest.digest,
                Result.REFUSED,
                f"it is needed by root {GC_ROOT}; only --force does it anyway",
            ),
            (
                layer.digest,
                Result.SKIPPED,
                f"{manifest.digest.short()} still needs it, and was not deleted",
            ),
        ]
        assert len(list(store.walk())) == 2

    def test_a_child_goes_when_its_holder_has_vanished_by_itself(
        self, store, layer, manifest, index
    ):
        plan = plan_delete(".", [layer, manifest], index.referrers)
        store.delete(manifest.digest)
        outcomes = run(store, plan, referrers=index.referrers)
        assert [outcome.result for outcome in outcomes] == [Result.SKIPPED, Result.DONE]
        assert outcomes[0].reason == "it is gone: deleted since it was shown"

    def test_a_need_that_came_since_ends_it(self, store, layer, index):
        plan = plan_delete(".", [layer], index.referrers)
        manifest = store.put(document(layer))
        index.refresh(60)
        outcome = only(run(store, plan, allow=ALL, referrers=index.referrers))
        assert outcome.result is Result.SKIPPED
        assert manifest.digest.short() in outcome.reason

    def test_a_planned_need_may_still_be_there(self, store, layer, manifest, index):
        plan = plan_delete(".", [layer], index.referrers)
        store.put(document(manifest))  # the need has another name now, not another digest
        index.refresh(60)
        assert only(run(store, plan, allow=ALL, referrers=index.referrers)).result is Result.DONE

    def test_a_root_label_that_came_since_ends_it_even_without_an_index(self, store, layer):
        plan = plan_delete(".", [layer], lambda _: ())
        store.update(layer.digest, {GC_ROOT: "now"})
        outcome = only(run(store, plan, allow=ALL))
        assert outcome.reason == f"something needs it since it was shown: root {GC_ROOT}"

    def test_needs_that_became_unknown_end_it(self, store, layer):
        plan = plan_delete(".", [layer], lambda _: ())
        outcome = only(run(store, plan, referrers=lambda _: None))
        assert outcome.result is Result.SKIPPED
        assert "no longer known" in outcome.reason

    def test_unknown_needs_that_became_known_need_their_own_leave(self, store, layer):
        found = (Referrer("image", "busybox"),)
        plan = plan_delete(".", [layer], lambda _: None)
        allow = {Concern.REFERRERS_UNKNOWN}
        outcome = only(run(store, plan, allow=allow, referrers=lambda _: found))
        assert outcome.reason == "something needs it since it was shown: image busybox"
        outcome = only(run(store, plan, allow=ALL, referrers=lambda _: found))
        assert outcome.result is Result.DONE

    def test_a_blob_stored_anew_is_skipped(self, store, layer):
        plan = plan_delete(".", [layer], lambda _: ())
        store.delete(layer.digest)
        store.put(b"layer")
        assert "stored again" in only(run(store, plan)).reason
        assert store.info(layer.digest)

    def test_a_circle_goes_whole(self, store):
        first, second = store.put(b"first"), store.put(b"second")
        store.update(first.digest, {GC_REFERENCE: second.digest})
        store.update(second.digest, {GC_REFERENCE: first.digest})
        index = ContentIndex(store)
        index.refresh(60)
        plan = plan_delete(".", store.walk(), index.referrers)
        outcomes = run(store, plan, referrers=index.referrers)
        assert {outcome.result for outcome in outcomes} == {Result.DONE}


class TestJournaling:
    def test_each_outcome_is_a_line(self, store, tmp_path):
        idle(store, "a")
        idle(store, "b")
        plan = aborting(store, "a", "b")
        store.abort("a")
        journal = Journal(str(tmp_path / "j"))
        run(store, plan, journal=journal, clock=lambda: 10**18)
        assert [(line["name"], line["result"]) for line in journal.tail(9)] == [
            ("a", "skipped"),
            ("b", "done"),
        ]
        assert journal.tail(1)[0]["at"] == "2001-09-09T01:46:40.000000000Z"

    def test_a_full_disk_stops_nothing(self, store):
        idle(store)
        journal = Journal("/dev/full")
        assert only(run(store, aborting(store, "r"), journal=journal)).result is Result.DONE
        assert journal.problem.endswith("No space left on device")
        assert store.statuses() == []
