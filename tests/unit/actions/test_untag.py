"""Removing an image's name: planned, confirmed, checked again, run and recorded."""

from __future__ import annotations

import json
from unittest.mock import patch

import pytest

from contentui.actions.journal import Journal
from contentui.actions.model import Concern, Result, Verb
from contentui.actions.planner import Planner
from contentui.actions.run import run
from contentui.content.digest import Digest
from contentui.content.errors import NotFound, Unavailable
from contentui.content.helpers import list_roots
from contentui.content.model import Descriptor, Root
from contentui.content.rules import GC_REFERENCE, GC_ROOT
from contentui.index.content_index import ContentIndex
from contentui.present.plans import effect, plan_lines, plan_title, step_record
from contentui.stores.local.store import LocalStore
from contentui.stores.memory import MemoryStore


class Collected(MemoryStore):
    """A store whose daemon has a garbage collector, as containerd."""

    @property
    def traits(self):
        return super().traits._replace(garbage_collected=True)


@pytest.fixture(params=["memory", "directory", "garbage collected"])
def store(request, tmp_path):
    if request.param == "directory":
        made = LocalStore(str(tmp_path / "s"))
    else:
        made = MemoryStore("here") if request.param == "memory" else Collected("here")
    yield made
    made.close()


def image(store, name, *layers):
    """An image with these layers; returns it and the size of its manifest."""
    descriptors = [
        {
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": str(info.digest),
            "size": info.size,
        }
        for info in map(store.put, layers)
    ]
    config = store.put(b"{}")
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": str(config.digest),
                "size": config.size,
            },
            "layers": descriptors,
        }
    ).encode()
    children = [config.digest, *(Digest(each["digest"]) for each in descriptors)]
    labels = {f"{GC_REFERENCE}.{number}": str(child) for number, child in enumerate(children)}
    info = store.put(manifest, labels=labels)
    media_type = "application/vnd.oci.image.manifest.v1+json"
    return store.images.put(name, Descriptor(media_type, info.digest, info.size))


def only(found):
    (one,) = found
    return one


def test_the_plan_names_what_becomes_unreferenced(store):
    one = image(store, "app:1", b"shared", b"own one")
    image(store, "app:2", b"shared", b"two")
    plan = Planner(store).untag([one])
    step = only(plan.steps)
    assert (plan.verb, step.name, step.target) == (Verb.UNTAG, "app:1", one)
    assert {info.digest for info in step.unreferenced} == {
        one.target.digest,
        store.put(b"own one").digest,
    }
    size = one.target.size + len(b"own one")
    assert plan.lost_bytes == (size if store.traits.garbage_collected else 0)
    sentence = effect(step, plan)
    if store.traits.garbage_collected:
        assert f"Nothing else here keeps 2 blobs ({size} B) of this image: the daemon" in sentence
    else:
        assert f"and no blob. Nothing else here refers to 2 blobs ({size} B)" in sentence
    record = step_record(step, plan)
    assert record["digest"] == str(one.target.digest)
    assert record["unreferenced"] == [str(info.digest) for info in step.unreferenced]
    assert (record["unreferenced_total"], record["unreferenced_bytes"]) == (2, size)
    assert store.images.get("app:1") == one


def test_a_second_name_of_the_same_content_loses_nothing(store):
    one = image(store, "app:1", b"layer")
    store.images.put("app:latest", one.target)
    plan = Planner(store).untag([one])
    assert only(plan.steps).unreferenced == ()
    assert "Something else here refers to all blobs" in effect(only(plan.steps), plan)
    both = Planner(store).untag(store.images.list())
    assert [len(step.unreferenced) for step in both.steps] == [3, 0]


def test_a_run_removes_the_name_and_records_it(store, tmp_path):
    one = image(store, "app:1", b"layer")
    plan = Planner(store).untag([one])
    journal = Journal(str(tmp_path / "journal"))
    outcome = only(run(store, plan, journal=journal))
    assert outcome.result is Result.DONE
    with pytest.raises(NotFound):
        store.images.get("app:1")
    assert one.target.digest in store.digests()
    record = only(journal.tail(9))
    assert (record["verb"], record["name"], record["result"]) == ("untag", "app:1", "done")
    assert record["digest"] == str(one.target.digest)
    assert str(one.target.digest) in record["unreferenced"]
    assert record["unreferenced_total"] == 3
    assert record["unreferenced_bytes"] == sum(i.size for i in plan.steps[0].unreferenced)


def test_a_name_that_was_moved_meanwhile_is_skipped(store, tmp_path):
    one = image(store, "app:1", b"layer")
    plan = Planner(store).untag([one])
    moved = image(store, "app:1", b"another")
    journal = Journal(str(tmp_path / "journal"))
    outcome = only(run(store, plan, journal=journal))
    assert outcome.result is Result.SKIPPED
    assert str(moved.target.digest) in outcome.reason
    assert store.images.get("app:1").target == moved.target
    assert only(journal.tail(9))["result"] == "skipped"


def test_changed_between_check_and_removal_is_skipped(store, monkeypatch):
    one = image(store, "app:1", b"layer")
    plan = Planner(store).untag([one])
    image(store, "app:1", b"another")
    images = store.images
    monkeypatch.setattr(type(images), "get", lambda _self, _name: one)
    outcome = only(run(store, plan))
    assert outcome.result is Result.SKIPPED
    assert outcome.error.__class__.__name__ == "Changed"
    monkeypatch.undo()
    assert store.images.get("app:1").target != one.target


def test_a_name_that_is_gone_is_skipped(store):
    one = image(store, "app:1", b"layer")
    plan = Planner(store).untag([one])
    store.images.delete("app:1")
    outcome = only(run(store, plan))
    assert (outcome.result, outcome.reason) == (
        Result.SKIPPED,
        "it is gone: the name was removed since it was shown",
    )


def test_an_interrupted_removal_is_looked_up(store, monkeypatch):
    one, two = image(store, "app:1", b"layer"), image(store, "app:2", b"layer")
    real = type(store.images).delete

    def interrupted(self, name, **more):
        if name == "app:1":
            real(self, name, **more)
        raise KeyboardInterrupt

    for victim, result in ((one, Result.DONE), (two, Result.SKIPPED)):
        plan = Planner(store).untag([victim])
        seen = []
        with monkeypatch.context() as patch:
            patch.setattr(type(store.images), "delete", interrupted)
            with pytest.raises(KeyboardInterrupt):
                run(store, plan, report=seen.append)
        assert only(seen).result is result


def test_a_read_only_store_refuses(store, tmp_path):
    image(store, "app:1", b"layer")
    if not isinstance(store, LocalStore):
        pytest.skip("needs a store that can be opened read-only")
    with LocalStore(store.name, read_only=True) as opened:
        plan = Planner(opened).untag(opened.images.list())
        assert only(plan.steps).refusal == opened.traits.read_only_reason
        assert only(run(opened, plan)).result is Result.REFUSED
    assert store.images.get("app:1")


def test_leases_and_labels_keep_what_an_image_loses(store):
    one = image(store, "app:1", b"layer", b"kept by a blob", b"kept by a lease")
    kept = [store.put(data).digest for data in (b"kept by a blob", b"kept by a lease")]
    store.put(b"other", labels={GC_ROOT: "now", f"{GC_REFERENCE}.x": str(kept[0])})
    index = ContentIndex(store)
    roots = [*list_roots(store), Root("lease", "pull", kept[1])]
    with patch("contentui.index.content_index.list_roots", lambda _: roots):
        step = only(Planner(store, index).untag([one]).steps)
    assert not {info.digest for info in step.unreferenced} & set(kept)
    assert len(step.unreferenced) == 3


def test_deleting_a_manifest_takes_its_layers_along(store):
    one = image(store, "app:1", b"shared", b"own one" * 1000)
    image(store, "app:2", b"shared", b"two")
    info = store.info(one.target.digest)
    store.images.delete("app:1")
    plan = Planner(store).delete([info])
    step = only(plan.steps)
    assert [each.size for each in step.unreferenced] == [7000]
    if store.traits.garbage_collected:
        assert plan.lost_bytes == info.size + 7000
        assert step.concerns == {Concern.COLLECTED}
        assert "with it 1 blob (7.00 kB) that only it keeps" in effect(step, plan)
        lines = [line.text for line in plan_lines(plan, 0)]
        assert f"    takes along {step.unreferenced[0].digest.short()}, 7.00 kB" in lines
        assert only(run(store, plan)).result is Result.REFUSED
    else:
        assert plan.lost_bytes == info.size
        assert not step.concerns
        assert "Nothing else here refers to 1 blob (7.00 kB)" in effect(step, plan)


def test_blobs_of_one_plan_share_what_they_take_along(store):
    one = image(store, "app:1", b"shared", b"own one")
    two = image(store, "app:2", b"shared", b"two")
    for name in ("app:1", "app:2"):
        store.images.delete(name)
    plan = Planner(store).delete([store.info(each.target.digest) for each in (one, two)])
    taken = [info.digest for step in plan.steps for info in step.unreferenced]
    expected = [b"shared", b"own one", b"two", b"{}"]
    assert sorted(taken) == sorted(Digest.of(data) for data in expected)


def test_what_is_not_known_is_a_bound(store, monkeypatch):
    one = image(store, "app:1", b"layer")
    info = store.info(one.target.digest)
    store.images.delete("app:1")
    blind = [each._replace(labels=None) for each in store.walk()]
    plan = Planner(store).delete([info], listed=blind)
    assert only(plan.steps).bound == "at least"
    if store.traits.garbage_collected:
        assert f"at least {info.size} B" in plan_title(plan)
    monkeypatch.setattr("contentui.index.content_index.list_roots", unreadable)
    assert only(Planner(store).delete([info]).steps).bound == "at most"


def unreadable(_store):
    raise Unavailable("no roots")


def test_what_goes_along_is_counted_again_before_it_goes():
    """Another name that kept a layer is removed between the plan and its confirmation."""
    store = Collected("here")
    one = image(store, "app:1", b"shared", b"own one")
    two = image(store, "app:2", b"shared", b"two")
    shared = store.put(b"shared").digest
    planner = Planner(store)
    for plan in (planner.untag([one]), planner.delete([store.info(one.target.digest)])):
        assert shared not in {info.digest for info in plan.steps[0].unreferenced}
        store.images.delete("app:2", if_match=two)
        refresher = planner.referrer_refresher()
        (outcome,) = run(
            store,
            plan,
            allow=frozenset(Concern),
            referrers=refresher,
            unreferenced=refresher.unreferenced,
        )
        assert outcome.result is Result.SKIPPED
        assert "it has become all that keeps 2 blobs (8 B)" in outcome.reason
        assert store.images.get("app:1") == one
        two = store.images.put("app:2", two.target)
