"""Probing: who holds an ingest, and what its bytes are, without changing anything else."""

from __future__ import annotations

import pytest
from idents import process_of

from contentui.content.digest import Digest
from contentui.content.errors import Changed, FailedPrecondition, NotFound
from contentui.content.model import IngestId, Liveness

RIGHT = Digest.of(b"right")
WRONG = Digest.of(b"wrong")


def left_behind(store, data=b"half", ref="r", **options):
    """An idle ingest."""
    with store.writer(ref, **options) as writer:
        writer.write(data)
    return store.status(ref)


def test_a_held_one_is_told_with_its_holder(store, open_again, holders_pid):
    with store.writer("r") as writer:
        writer.write(b"so far")
        for view in (store, open_again()):
            probe = view.probe("r", if_match=view.status("r"))
            assert probe.liveness is Liveness.HELD
            assert process_of(probe.holder) == holders_pid
            assert probe.holder.since_ns > 0
            assert probe.digest is None
            assert probe.status.offset == 6
        writer.write(b", and on")
        assert writer.commit().digest == Digest.of(b"so far, and on")


def test_a_held_one_may_have_moved_since_it_was_seen(store):
    with store.writer("r") as writer:
        seen = store.status("r")
        writer.write(b"more")
        assert store.probe("r", if_match=seen).status.offset == 4


@pytest.mark.parametrize("data", [b"", b"half", b"x" * (3 << 20)], ids=len)
def test_a_free_one_is_told_with_the_digest_so_far(store, data):
    seen = left_behind(store, data)
    probe = store.probe("r", if_match=seen)
    assert probe == (seen, Liveness.FREE, None, Digest.of(data))


def test_probing_changes_nothing_and_frees_the_ref(store, open_again):
    seen = left_behind(store, total=9)
    for _ in range(2):
        store.probe("r", if_match=seen)
    assert store.status("r") == open_again().status("r") == seen
    assert store.holders([seen.id]) == {}
    with open_again().writer("r") as writer:
        assert writer.offset == 4


def test_an_id_is_taken_for_a_ref(store):
    seen = left_behind(store)
    assert store.probe(seen.id, if_match=seen).digest == Digest.of(b"half")


@pytest.mark.parametrize("ref", ["gone", IngestId("0" * 64)])
def test_what_is_not_there_is_not_made(store, ref):
    seen = left_behind(store)
    with pytest.raises(NotFound):
        store.probe(ref, if_match=seen)
    assert store.statuses() == [seen]


def test_what_was_begun_anew_is_told(store):
    seen = left_behind(store)
    store.abort("r")
    now = left_behind(store)
    with pytest.raises(Changed):
        store.probe("r", if_match=seen)
    assert store.probe("r", if_match=now).digest == Digest.of(b"half")


def test_one_that_went_on_is_told_as_it_is_now(store):
    seen = left_behind(store)
    left_behind(store, b"/half")
    probe = store.probe("r", if_match=seen)
    assert (probe.status.offset, probe.digest) == (9, Digest.of(b"half/half"))


def test_all_of_the_wrong_bytes_are_poisoned_from_then_on(store):
    seen = left_behind(store, b"wrong", total=5, expected=RIGHT)
    assert seen.refused is None
    probe = store.probe("r", if_match=seen)
    assert (probe.liveness, probe.digest, probe.status.refused) == (Liveness.FREE, WRONG, WRONG)
    assert store.status("r") == probe.status
    assert store.statuses() == [probe.status]
    assert store.status("r")._replace(refused=None) == seen


def test_a_ref_tells_which_bytes_are_wrong(store):
    seen = left_behind(store, b"wrong", f"layer-{RIGHT}", total=5, expected=RIGHT)
    assert store.probe(seen.ref, if_match=seen).status.refused == WRONG
    assert [status.refused for status in store.statuses()] == [WRONG]


def test_every_view_sees_what_a_probe_poisoned(store, open_again):
    store.probe("r", if_match=left_behind(store, b"wrong", total=5, expected=RIGHT))
    assert open_again().status("r").refused == WRONG


def test_a_probe_poisons_as_a_refused_commit_does(store):
    with store.writer("committed", total=5, expected=RIGHT) as writer:
        writer.write(b"wrong")
        with pytest.raises(FailedPrecondition):
            writer.commit()
    seen = left_behind(store, b"wrong", "probed", total=5, expected=RIGHT)
    store.probe("probed", if_match=seen)
    committed, probed = store.status("committed"), store.status("probed")
    assert probed.refused == committed.refused == WRONG
    with store.writer("probed") as writer:
        writer.write(b"!")
    assert store.status("probed").refused is None


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (b"right", {"total": 5, "expected": RIGHT}),
        (b"wron", {"total": 5, "expected": RIGHT}),
        (b"wrong", {"expected": RIGHT}),
        (b"wrong", {"total": 5}),
    ],
    ids=["right", "incomplete", "no total", "nothing expected"],
)
def test_nothing_else_is_poisoned(store, data, options):
    seen = left_behind(store, data, **options)
    assert store.probe("r", if_match=seen).digest == Digest.of(data)
    assert store.status("r") == seen
    assert seen.refused is None


def test_the_expected_digests_algorithm_is_used(store):
    wanted = Digest.of(b"right", "sha512")
    seen = left_behind(store, b"right", total=5, expected=wanted)
    assert store.probe("r", if_match=seen).digest == wanted
    assert store.status("r").refused is None
