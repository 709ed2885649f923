"""Image names and leases keep blobs; while they can't be known, nothing is free."""

from __future__ import annotations

import json

import pytest

from contentui.actions.model import Concern, Result
from contentui.actions.plan import plan_delete
from contentui.actions.run import run
from contentui.content.errors import PermissionDenied, Unavailable
from contentui.content.model import Root
from contentui.index.content_index import ContentIndex
from contentui.index.model import Referrer
from contentui.index.refresher import ReferrerRefresher
from contentui.stores.memory import MemoryStore


class Rooted(MemoryStore):
    """Roots as tests want them."""

    def __init__(self):
        super().__init__()
        self.kept = []
        self.error = None
        self.asked = 0

    def roots(self):
        self.asked += 1
        if self.error is not None:
            raise self.error
        return list(self.kept)


@pytest.fixture
def store():
    return Rooted()


def certain_in(index):
    """Whether the referrers of a digest are all known."""
    return lambda digest: index.all_referrers([digest]).get(digest, ((), True))[1]


def settled(store):
    index = ContentIndex(store)
    assert index.refresh(60)
    return index


def manifest_of(*infos):
    layers = [{"digest": info.digest} for info in infos]
    return json.dumps({"schemaVersion": 2, "layers": layers}).encode()


def test_names_and_leases_are_needs(store):
    blob, other = store.put(b"blob"), store.put(b"other")
    store.kept = [Root("lease", "l", blob.digest), Root("image", "redis:7", blob.digest)]
    index = settled(store)
    assert index.referrers(blob.digest) == (Referrer("image", "redis:7"), Referrer("lease", "l"))
    assert index.referrers(other.digest) == ()


def test_what_a_named_manifest_points_at_is_needed_by_it_under_that_name(store):
    layer = store.put(b"layer")
    manifest = store.put(manifest_of(layer))
    store.kept = [Root("image", "redis:7", manifest.digest)]
    assert settled(store).referrers(layer.digest) == (
        Referrer("manifest", "redis:7", manifest.digest),
    )


def test_namespaces_are_named_when_there_are_several(store):
    one, two = store.put(b"1"), store.put(b"2")
    store.kept = [Root("image", "a", one.digest, "k8s.io")]
    index = settled(store)
    assert index.referrers(one.digest) == (Referrer("image", "a"),)
    store.kept.append(Root("lease", "a", two.digest, "moby"))
    index.update_roots()
    assert index.referrers(one.digest) == (Referrer("image", "a in k8s.io"),)
    assert index.referrers(two.digest) == (Referrer("lease", "a in moby"),)


@pytest.mark.parametrize("error", [PermissionDenied("no"), Unavailable("gone")])
def test_unknown_roots_make_nothing_free(store, error):
    blob, free = store.put(b"blob"), store.put(b"free")
    store.kept = [Root("image", "a", blob.digest)]
    store.error = error
    index = settled(store)
    assert index.referrers(blob.digest) is None
    store.error = None
    index.update_roots()
    assert index.referrers(free.digest) == ()
    store.error = error
    version = index.version
    index.update_roots()
    assert index.version > version
    assert index.referrers(free.digest) is None
    assert index.referrers(blob.digest) == (Referrer("image", "a"),)
    assert not index.all_referrers([blob.digest])[blob.digest][1]


def test_the_version_grows_only_with_news(store):
    blob = store.put(b"blob")
    store.kept = [Root("image", "a", blob.digest)]
    index = settled(store)
    version = index.version
    index.update_roots()
    assert index.version == version
    store.kept = []
    index.update_roots()
    assert index.version > version
    assert index.referrers(blob.digest) == ()


def test_a_name_that_came_since_the_plan_keeps_its_blob(store):
    blob = store.put(b"blob")
    index = settled(store)
    plan = plan_delete(
        ".",
        [blob],
        index.referrers,
        certain=certain_in(index),
    )
    assert not plan.concerns
    store.kept = [Root("image", "a", blob.digest)]
    (outcome,) = run(store, plan, referrers=ReferrerRefresher(store, index))
    assert outcome.result is Result.SKIPPED
    assert "image a" in outcome.reason


def test_a_name_is_not_freed_by_deleting_all_blobs(store):
    layer = store.put(b"layer")
    manifest = store.put(manifest_of(layer))
    store.kept = [Root("image", "a", manifest.digest)]
    index = settled(store)
    plan = plan_delete(
        ".",
        [layer, manifest],
        index.referrers,
        certain=certain_in(index),
    )
    assert [step.target.digest for step in plan.steps] == [manifest.digest, layer.digest]
    assert plan.steps[0].concerns == {Concern.REFERENCED}
    assert plan.steps[0].referrers == (Referrer("image", "a"),)
    outcomes = run(store, plan, referrers=ReferrerRefresher(store, index))
    assert [outcome.result for outcome in outcomes] == [Result.REFUSED, Result.SKIPPED]


def test_the_store_in_memory_tells_its_own_images():
    from contentui.content.model import Descriptor

    store = MemoryStore()
    blob = store.put(b"blob")
    store.images.put("mine", Descriptor("application/x", blob.digest, blob.size))
    assert settled(store).referrers(blob.digest) == (Referrer("image", "mine"),)
