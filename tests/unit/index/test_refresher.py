"""What came to referrer a blob between a plan and its run keeps it."""

from __future__ import annotations

import json

import pytest

from contentui.actions.model import Result, Verb
from contentui.index.content_index import ContentIndex
from contentui.index.refresher import ReferrerRefresher
from contentui.stores.local.store import LocalStore
from contentui.stores.source import parse


@pytest.fixture
def store(tmp_path):
    with LocalStore(str(tmp_path / "store")) as opened:
        yield opened


def manifest_of(*infos):
    layers = [{"digest": info.digest} for info in infos]
    return json.dumps({"schemaVersion": 2, "layers": layers}).encode()


def test_the_first_question_looks_again(store):
    layer, other = store.put(b"layer"), store.put(b"other")
    index = ContentIndex(store)
    assert index.refresh(60)
    referrers = ReferrerRefresher(store, index)
    manifest = store.put(manifest_of(layer))
    assert [referrer.digest for referrer in referrers(layer.digest)] == [manifest.digest]
    assert referrers(other.digest) == ()


def test_later_questions_look_again_in_time(store):
    layer = store.put(b"layer")
    referrers = ReferrerRefresher(store, ContentIndex(store))
    assert referrers(layer.digest) == ()
    store.update(store.put(b"holder").digest, {"containerd.io/gc.ref.content": layer.digest})
    while not referrers(layer.digest):
        pass


def test_the_screen_keeps_what_a_manifest_needs_since_the_plan(store, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    from contentui.tui.session import Session

    layer = store.put(b"layer")
    session = Session(parse(store.name))
    session.open()
    plan = session.plan(Verb.DELETE, [layer], ())
    assert not plan.concerns
    store.put(manifest_of(layer))
    (outcome,) = session.run(plan, ())
    session.close()
    assert outcome.result is Result.SKIPPED
    assert layer.digest in store.digests()
