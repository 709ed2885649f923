"""Plans say exactly what would happen, to whom, and in which order."""

from __future__ import annotations

import pytest

from contentui.actions.facts import IngestFacts, ingest_facts
from contentui.actions.model import Concern, Verb
from contentui.actions.plan import plan_delete, plan_ingests
from contentui.content.digest import Digest
from contentui.content.model import Holder, Info, Liveness, Status, ingest_id
from contentui.index.model import Referrer
from contentui.present.plans import effect
from contentui.stores.memory import MemoryStore

HOLDER = Holder(4711, 5, "curl \x1b[2J https://x", 6)
MB = 1_000_000


def status(ref="layer-1", offset=3 * MB, total=10 * MB, **more):
    fields = {"started_ns": 1, "updated_ns": 2, "expected": None, "id": ingest_id(ref), **more}
    return Status(ref, offset, total, **fields)


def facts(liveness=Liveness.FREE, *, holder=None, moving=False, **more):
    return IngestFacts(status(**more), liveness, holder, moving)


HELD = {"liveness": Liveness.HELD, "holder": HOLDER}
UNKNOWN = {"liveness": Liveness.UNKNOWN}


def only(plan):
    (step,) = plan.steps
    return step


def effect_of(plan):
    return effect(only(plan), plan)


class TestFacts:
    def test_held_and_free(self):
        store = MemoryStore()
        with store.writer("idle") as writer:
            writer.write(b"abc")
        with store.writer("busy"):
            found = {fact.status.ref: fact for fact in ingest_facts(store, store.statuses())}
        assert found["idle"].liveness is Liveness.FREE
        assert found["idle"].holder is None
        assert found["busy"].liveness is Liveness.HELD
        assert found["busy"].holder.pid > 0
        assert not found["busy"].moving

    def test_unknown_holders(self):
        class Blind(MemoryStore):
            def holders(self, ids):
                return None

        store = Blind()
        store.writer("x").close()
        (fact,) = ingest_facts(store, store.statuses())
        assert fact.liveness is Liveness.UNKNOWN

    def test_a_second_look_tells_what_moves(self):
        store = MemoryStore()
        store.writer("still").close()
        store.writer("gone").close()
        writer = store.writer("moving")
        seen = store.statuses()

        def meanwhile(seconds):
            assert seconds == 0.2
            writer.write(b"more")
            store.abort("gone")

        found = ingest_facts(store, seen, second_look_s=0.2, sleep=meanwhile)
        assert [(fact.status.ref, fact.moving, fact.status.offset) for fact in found] == [
            ("still", False, 0),
            ("gone", False, 0),
            ("moving", True, 4),
        ]

    def test_of_nothing(self):
        assert ingest_facts(MemoryStore(), [], second_look_s=9) == []


class TestAbort:
    def test_of_an_idle_ingest(self):
        plan = plan_ingests(Verb.ABORT, ".content", [facts()])
        step = only(plan)
        assert effect_of(plan) == "Its 3.00 MB are lost; the next attempt starts from zero."
        assert (step.concerns, step.refusal, step.lost_bytes) == (frozenset(), "", 3 * MB)
        assert plan.lost_bytes == 3 * MB

    def test_of_a_held_one_says_what_becomes_of_the_writer(self):
        plan = plan_ingests(Verb.ABORT, ".", [facts(**HELD)])
        assert only(plan).concerns == {Concern.LIVE_WRITER}
        assert only(plan).holder is HOLDER
        assert effect_of(plan).endswith(
            "Its live writer will not notice until its commit fails, and keeps the ref locked "
            "until then."
        )

    def test_where_holders_are_unknown(self):
        plan = plan_ingests(Verb.ABORT, ".", [facts(**UNKNOWN)])
        assert only(plan).concerns == {Concern.HOLDER_UNKNOWN}
        assert "A live writer, if there is one, will not notice until its" in effect_of(plan)

    def test_of_a_moving_one(self):
        step = only(plan_ingests(Verb.ABORT, ".", [facts(moving=True, **HELD)]))
        assert step.concerns == {Concern.LIVE_WRITER, Concern.MOVING}

    @pytest.mark.parametrize(
        ("more", "words"),
        [
            ({"offset": 10 * MB}, "only the commit is missing"),
            ({"offset": 10 * MB, "refused": Digest.of(b"")}, "have the wrong digest"),
            ({"damage": "no \x1b data"}, "Its files are damaged; after their removal"),
            ({"offset": 0}, "Nothing has arrived yet"),
            ({"offset": 0, "total": 0}, "Nothing has arrived yet"),
        ],
    )
    def test_says_what_is_lost(self, more, words):
        text = effect_of(plan_ingests(Verb.ABORT, ".", [facts(**more)]))
        assert words in text
        assert "\x1b" not in text

    def test_read_only_refuses_all(self):
        plan = plan_ingests(
            Verb.ABORT, ".", [facts(), facts(ref="b")], read_only_reason="it is a daemon's"
        )
        assert [step.refusal for step in plan.steps] == ["it is a daemon's"] * 2
        assert plan.lost_bytes == 0
        assert plan.concerns == frozenset()

    def test_an_ingest_named_twice_is_one_step(self):
        assert len(plan_ingests(Verb.ABORT, ".", [facts(), facts()]).steps) == 1


class TestTruncate:
    def test_of_an_idle_ingest(self):
        plan = plan_ingests(Verb.TRUNCATE, ".", [facts()])
        assert effect_of(plan) == (
            "Drops its 3.00 MB and keeps the ingest; the next writer starts from zero."
        )
        assert not only(plan).refusal

    def test_of_a_held_one_is_refused_and_names_the_holder(self):
        plan = plan_ingests(Verb.TRUNCATE, ".", [facts(**HELD)])
        assert only(plan).refusal == (
            "it is held by a live writer: pid 4711 (curl \\x1b[2J https://x); "
            "wait until it ends, or abort the ingest instead"
        )
        assert plan.lost_bytes == 0

    def test_of_one_held_in_another_container(self):
        holder = HOLDER._replace(foreign=True, command="")
        step = only(
            plan_ingests(Verb.TRUNCATE, ".", [facts(liveness=Liveness.HELD, holder=holder)])
        )
        assert "pid 4711 of another pid namespace;" in step.refusal

    def test_of_one_held_by_nobody_knows_whom(self):
        holder = HOLDER._replace(pid=0, command="")
        step = only(
            plan_ingests(Verb.TRUNCATE, ".", [facts(liveness=Liveness.HELD, holder=holder)])
        )
        assert "an unknown process" in step.refusal

    def test_of_a_damaged_one_is_refused(self):
        assert (
            "abort it instead"
            in only(plan_ingests(Verb.TRUNCATE, ".", [facts(damage="torn")])).refusal
        )

    def test_where_holders_are_unknown(self):
        plan = plan_ingests(Verb.TRUNCATE, ".", [facts(**UNKNOWN)])
        assert only(plan).concerns == {Concern.HOLDER_UNKNOWN}
        assert "the store refuses" in effect_of(plan)

    def test_of_a_poisoned_one(self):
        plan = plan_ingests(Verb.TRUNCATE, ".", [facts(refused=Digest.of(b""))])
        assert "3.00 MB with the wrong digest" in effect_of(plan)

    def test_read_only_refuses(self):
        assert (
            only(plan_ingests(Verb.TRUNCATE, ".", [facts()], read_only_reason="no")).refusal == "no"
        )


def info(name, size=5):
    return Info(Digest.of(name.encode()), size, 1, 1, {})


INDEX, MANIFEST, LAYER, OTHER = (info(name) for name in ("index", "manifest", "layer", "other"))


def by(holder):
    return Referrer("manifest", "x", holder.digest)


GRAPH = {
    INDEX.digest: (),
    MANIFEST.digest: (by(INDEX),),
    LAYER.digest: (by(MANIFEST), by(OTHER)),
    OTHER.digest: None,
}


class TestDelete:
    def plan(self, *infos, **more):
        return plan_delete(".", infos, GRAPH.get, **more)

    def test_of_what_nobody_needs(self):
        plan = self.plan(INDEX)
        step = only(plan)
        assert (step.referrers, step.concerns, step.freed_by) == ((), frozenset(), ())
        assert effect_of(plan) == "Its 5 B are gone until they are fetched or ingested again."

    def test_of_what_is_needed(self):
        plan = self.plan(MANIFEST)
        assert only(plan).referrers == (by(INDEX),)
        assert only(plan).concerns == {Concern.REFERENCED}
        assert "What needs it stays, incomplete." in effect_of(plan)

    def test_of_what_may_be_needed(self):
        plan = self.plan(OTHER)
        assert only(plan).referrers is None
        assert only(plan).concerns == {Concern.REFERRERS_UNKNOWN}
        assert "Whether something needs it is unknown here." in effect_of(plan)

    def test_a_holder_in_the_same_plan_does_not_count_and_goes_first(self):
        plan = self.plan(LAYER, MANIFEST, INDEX)
        assert [step.target for step in plan.steps] == [INDEX, MANIFEST, LAYER]
        assert [step.referrers for step in plan.steps] == [(), (), (by(OTHER),)]
        assert [step.freed_by for step in plan.steps] == [(), (INDEX.digest,), (MANIFEST.digest,)]

    def test_all_of_an_image_holds_itself_only(self):
        graph = {**GRAPH, LAYER.digest: (by(MANIFEST),)}
        plan = plan_delete(".", [LAYER, INDEX, MANIFEST], graph.get)
        assert plan.concerns == frozenset()

    def test_a_root_label_counts_although_its_blob_goes(self):
        plan = plan_delete(".", [INDEX], lambda _: (Referrer("root", "containerd.io/gc.root"),))
        assert plan.concerns == {Concern.REFERENCED}

    def test_what_is_not_all_that_is_known_is_no_freedom(self):
        plan = self.plan(INDEX, MANIFEST, LAYER, certain=lambda _: False)
        assert plan.concerns == {Concern.REFERRERS_UNKNOWN, Concern.REFERENCED}
        assert [step.referrers for step in plan.steps] == [None, None, (by(OTHER),)]
        assert "Whether something else needs it is unknown" in effect(plan.steps[2], plan)

    def test_circles_end(self):
        graph = {
            INDEX.digest: (by(MANIFEST), by(INDEX)),
            MANIFEST.digest: (by(LAYER),),
            LAYER.digest: (by(INDEX),),
        }
        plan = plan_delete(".", [INDEX, MANIFEST, LAYER], graph.get)
        assert sorted(step.target for step in plan.steps) == sorted([INDEX, MANIFEST, LAYER])
        assert plan.concerns == frozenset()

    def test_a_long_chain_needs_no_deep_stack(self):
        infos = [info(f"{number}") for number in range(5000)]
        holders = dict(zip((each.digest for each in infos), infos[1:], strict=False))
        plan = plan_delete(
            ".", infos, lambda digest: (by(holders[digest]),) if digest in holders else ()
        )
        assert [step.target for step in plan.steps] == infos[::-1]

    def test_read_only_refuses_all(self):
        plan = self.plan(INDEX, MANIFEST, read_only_reason="no")
        assert [step.refusal for step in plan.steps] == ["no", "no"]

    def test_a_blob_named_twice_is_one_step(self):
        assert len(self.plan(INDEX, INDEX).steps) == 1
