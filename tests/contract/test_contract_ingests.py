"""Ingests from outside: status, holders, locks, abort, truncate."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from idents import ident, process_of

from contentui.content.digest import Digest
from contentui.content.errors import (
    Changed,
    ContentError,
    FailedPrecondition,
    InvalidArgument,
    Locked,
    NotFound,
)
from contentui.content.helpers import list_digests
from contentui.content.model import IngestId, parse_ref_argument, ref_argument

ABSENT = IngestId("0" * 64)


def left_behind(store, ref="r", data=b"half", **options):
    """An idle ingest."""
    with store.writer(ref, **options) as writer:
        writer.write(data)
    return store.status(ref)


def test_one_writer_per_ref(store, open_again, holders_pid):
    with store.writer("r") as writer:
        for view in (store, open_again()):
            with pytest.raises(Locked) as caught:
                view.writer("r")
            assert process_of(caught.value.holder) == holders_pid
        writer.write(b"undisturbed")
        assert writer.commit().digest == Digest.of(b"undisturbed")
    store.writer("r").close()


def test_other_refs_are_free(store):
    with store.writer("a") as first, store.writer("b") as second:
        first.write(b"1")
        second.write(b"2")
        assert {status.ref for status in store.statuses()} == {"a", "b"}
        first.commit()
        second.commit()
    assert store.statuses() == []


def test_ten_threads_race_for_one_ref(store, holders_pid):
    barrier, lock, held, locked = threading.Barrier(10), threading.Event(), [], []

    def race():
        barrier.wait()
        try:
            with store.writer("r") as writer:
                held.append(writer)
                lock.wait(30)
        except Locked as error:
            locked.append(error)
            if len(locked) == 9:
                lock.set()

    threads = [threading.Thread(target=race) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(held), len(locked)) == (1, 9)
    assert {process_of(error.holder) for error in locked} == {holders_pid}


def test_many_threads_ingest_while_one_lists(store):
    def ingest(number):
        for turn in range(10):
            with store.writer(f"ref {number}") as writer:
                writer.write(f"{number} {turn}".encode())
                writer.commit()

    with ThreadPoolExecutor(6) as pool:
        done = [pool.submit(ingest, number) for number in range(6)]
        while not all(future.done() for future in done):
            for status in store.statuses():
                assert status.id == ident(store, status.ref) or status.damage
            assert len(list(store.walk())) <= 60
    for future in done:
        future.result()
    assert len(list_digests(store)) == 60
    assert store.statuses() == []


def test_holders_tell_held_from_free(store, open_again, holders_pid):
    left_behind(store, "idle")
    ids = [ident(store, "idle"), ident(store, "held"), ABSENT]
    with store.writer("held"):
        for view in (store, open_again()):
            holders = view.holders(ids)
            assert set(holders) == {ident(store, "held")}
            holder = holders[ident(store, "held")]
            assert process_of(holder) == holders_pid
            assert not holder.foreign
    assert not store.holders(ids)
    assert not store.holders([])


def test_holders_tell_since_when(store):
    with store.writer("held"):
        ingest = ident(store, "held")
        assert store.holders([ingest])[ingest].since_ns > 0


def test_holders_take_no_lock(store):
    stop = threading.Event()

    def look():
        while not stop.is_set():
            store.holders([ident(store, "r")])

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for _ in range(50):
            store.writer("r").close()
    finally:
        stop.set()
        looker.join()


def test_status_by_ref_and_by_id(store):
    status = left_behind(store, "a ref", total=9)
    assert store.status("a ref") == store.status(status.id) == status
    assert store.statuses() == [status]


@pytest.mark.parametrize(
    "ref",
    ["missing", ABSENT, IngestId("../../etc"), IngestId("x" * 5000)],
    ids=["ref", "id", "path", "long"],
)
def test_what_is_missing_is_not_found(store, ref):
    for call in (store.status, store.abort, store.truncate):
        with pytest.raises(NotFound):
            call(ref)
    assert store.statuses() == []


def test_looking_creates_nothing(store):
    with pytest.raises(NotFound):
        store.status("r")
    store.holders([ident(store, "r")])
    assert store.statuses() == []


@pytest.mark.parametrize("known", [True, False])
def test_a_writer_is_opened_by_ref_not_by_id(store, known):
    status = left_behind(store, "a ref")
    with pytest.raises(InvalidArgument):
        store.writer(status.id if known else ABSENT)
    assert store.statuses() == [status]


@pytest.fixture
def three(store):
    return {ref: left_behind(store, ref) for ref in ("layer-1", "layer-2", "config, 'it'")}


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ([], {"layer-1", "layer-2", "config, 'it'"}),
        ([""], {"layer-1", "layer-2", "config, 'it'"}),
        (["ref==layer-1"], {"layer-1"}),
        (["ref~=^layer-"], {"layer-1", "layer-2"}),
        (["ref!=layer-1"], {"layer-2", "config, 'it'"}),
        (["ref==layer-1", "ref==layer-2"], {"layer-1", "layer-2"}),
        (["ref~=^layer-,ref~=2$"], {"layer-2"}),
        (["ref==\"config, 'it'\""], {"config, 'it'"}),
        (["offset==4"], set()),
        (["layer"], set()),
    ],
)
def test_status_filters(store, three, filters, wanted):
    assert {status.ref for status in store.statuses(filters)} == wanted


def test_a_bad_status_filter_is_refused(store, three):
    with pytest.raises(InvalidArgument, match="filters: parse error"):
        store.statuses(["^layer-"])


def test_refresh_sees_what_moved_and_what_is_gone(store, three):
    seen = list(three.values())
    assert store.refresh(seen) == seen
    assert store.refresh([]) == []
    store.abort("layer-2")
    with store.writer("layer-1") as writer:
        writer.write(b"more")
        moved, gone, same = store.refresh(seen)
        assert (moved.ref, moved.id, moved.offset) == ("layer-1", seen[0].id, 8)
        assert moved.started_ns == seen[0].started_ns
        assert moved.updated_ns >= seen[0].updated_ns
        assert gone is None
        assert same == seen[2]
        writer.commit()
    assert store.refresh(seen) == [None, None, seen[2]]


def test_refresh_keeps_the_order_asked_for(store, three):
    seen = list(three.values())
    assert store.refresh(seen[::-1] + seen[:1]) == seen[::-1] + seen[:1]


def test_abort_removes_an_idle_ingest(store, open_again):
    status = left_behind(store)
    open_again().abort("r", if_match=status)
    assert store.statuses() == []
    assert list_digests(store) == []
    with store.writer("r") as writer:
        assert writer.offset == 0


def test_abort_by_id(store):
    status = left_behind(store, "a\nref")
    store.abort(parse_ref_argument(ref_argument(status)))
    assert store.statuses() == []


@pytest.mark.parametrize("verb", ["abort", "truncate"])
def test_a_held_ingest_is_left_alone(store, open_again, holders_pid, verb):
    with store.writer("r") as writer:
        writer.write(b"x")
        for view in (store, open_again()):
            with pytest.raises(Locked) as caught:
                getattr(view, verb)("r")
            assert process_of(caught.value.holder) == holders_pid
        assert store.status("r").offset == 1
        assert writer.commit().digest == Digest.of(b"x")


@pytest.mark.parametrize("verb", ["abort", "truncate"])
@pytest.mark.parametrize(
    "change",
    [{"offset": 3}, {"started_ns": 1}, {"updated_ns": 1}, {"damage": "was broken"}],
    ids=lambda change: next(iter(change)),
)
def test_what_changed_since_it_was_seen_is_left_alone(store, verb, change):
    status = left_behind(store)
    with pytest.raises(Changed):
        getattr(store, verb)("r", if_match=status._replace(**change))
    assert store.status("r") == status
    store.writer("r").close()  # and the ref is free


def test_abort_with_force_still_compares(store):
    status = left_behind(store)
    with pytest.raises(Changed):
        store.abort("r", if_match=status._replace(offset=99), force=True)
    assert store.status("r") == status


def test_an_ingest_that_was_begun_anew_is_not_the_one_that_was_seen(store):
    old = left_behind(store)
    store.abort("r")
    new = left_behind(store)
    with pytest.raises(Changed):
        store.abort("r", if_match=old)
    store.abort("r", if_match=new)


def test_force_removes_a_held_ingest_and_its_writer_fails(store, open_again):
    writer = store.writer("r")
    writer.write(b"lost")
    open_again().abort("r", force=True)
    assert store.statuses() == []
    with pytest.raises(NotFound):
        store.status("r")
    with pytest.raises(Locked):
        store.writer("r")  # until the old writer ends
    writer.write(b" as well")
    with pytest.raises(ContentError):
        writer.commit()
    assert list_digests(store) == []
    assert store.statuses() == []
    with store.writer("r") as again:
        assert again.offset == 0


def test_force_on_a_held_ingest_whose_writer_only_closes(store):
    writer = store.writer("r")
    writer.write(b"lost")
    store.abort("r", force=True)
    writer.close()
    assert store.statuses() == []
    assert not store.holders([ident(store, "r")])


def test_force_on_an_idle_ingest(store):
    left_behind(store)
    store.abort("r", force=True)
    assert store.statuses() == []


def test_truncate_drops_the_bytes_and_keeps_the_ingest(store, open_again):
    status = left_behind(store, total=9)
    open_again().truncate("r", if_match=status)
    now = store.status("r")
    assert (now.ref, now.offset, now.total, now.id) == ("r", 0, 9, status.id)
    assert now.started_ns == status.started_ns
    with store.writer("r") as writer:
        assert writer.offset == 0
        writer.write(b"new")
        assert writer.commit().digest == Digest.of(b"new")


def test_truncate_by_id(store):
    store.truncate(left_behind(store, "\x1b[2J").id)
    assert store.status("\x1b[2J").offset == 0


def test_a_blob_stays_when_its_ingest_name_is_used_again(store):
    with store.writer("r") as writer:
        writer.write(b"blob")
        digest = writer.commit().digest
    left_behind(store)
    store.abort("r")
    assert store.info(digest).size == 4


def test_truncate_forgets_a_refusal_for_good(store):
    writer = store.writer("r", expected=Digest.of(b"good"))
    writer.write(b"evil")
    with pytest.raises(FailedPrecondition):
        writer.commit()
    assert store.status("r").refused == Digest.of(b"evil")
    store.truncate("r")
    with store.writer("r") as writer:
        writer.write(b"good")
    assert store.status("r").refused is None
