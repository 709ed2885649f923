"""A monitor on a store behind a socket, where each call costs a round trip."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from monitor_bench import HandClock, sentences

from contentui.content.digest import Digest
from contentui.content.errors import Unavailable
from contentui.content.model import Holder, Liveness, Root
from contentui.content.traits import Roles, Traits
from contentui.index.content_index import ContentIndex
from contentui.monitor.feed import Feed
from contentui.monitor.model import Freshness
from contentui.monitor.monitor import Monitor
from contentui.monitor.states import IngestState
from contentui.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from contentui.content.model import Info, IngestId, Status
    from contentui.monitor.model import IngestRow, StoreView


class Remote(MemoryStore):
    """A memory store that lists no names, has no version, counts calls, and can be away."""

    traits = Traits(garbage_collected=True)

    def __init__(self, clock: HandClock) -> None:
        super().__init__("unix:///run/c.sock", clock.wall_ns)
        self.calls: Counter[str] = Counter()
        self.away = False
        self.told: list[str] = []
        self.walk_step_s = 0.0
        self.slow = clock

    def _call(self, name: str) -> None:
        self.calls[name] += 1
        if self.away:
            raise Unavailable("nobody listens at /run/c.sock")

    @property
    def roles(self) -> Roles:
        return super().roles._replace(blob_versions=None, digest_listing=None, notifications=self)

    def notifications(self) -> list[str]:
        told, self.told = self.told, []
        return told

    def statuses(self, filters: Sequence[str] = ()) -> list[Status]:
        self._call("statuses")
        return super().statuses(filters)

    def refresh(self, statuses: Sequence[Status]) -> list[Status | None]:
        self._call("refresh")
        return super().refresh(statuses)

    def status(self, ref: str) -> Status:
        self._call("status")
        return super().status(ref)

    def holders(self, ids: Iterable[IngestId]) -> Mapping[IngestId, Holder]:
        self.calls["holders"] += 1
        return super().holders(ids)

    def info(self, digest: Digest) -> Info:
        self._call("info")
        return super().info(digest)

    def digests(self) -> list[Digest]:
        self._call("digests")
        return super().digests()

    def walk(self, filters: Sequence[str] = ()) -> Iterator[Info]:
        self._call("walk")
        for number, info in enumerate(super().walk(filters)):
            if number % 256 == 0:
                self.slow.go(self.walk_step_s)
            yield info

    def roots(self) -> list[Root]:
        self._call("roots")
        return super().roots()


class RemoteBench:
    def __init__(self) -> None:
        self.clock = HandClock()
        self.store = Remote(self.clock)
        index = ContentIndex(self.store)
        self.monitor = Monitor(self.store, index=index, clock=self.clock)

    def tick(self, seconds: float = 0.25) -> StoreView:
        self.clock.go(seconds)
        return self.monitor.tick()

    def run(self, seconds: float, each: float = 0.25) -> StoreView:
        for _ in range(round(seconds / each)):
            view = self.tick(each)
        return view

    def row(self, view: StoreView, ref: str) -> IngestRow:
        return next(row for row in view.ingests if row.status.ref == ref)


@pytest.fixture
def bench() -> RemoteBench:
    return RemoteBench()


def test_a_tick_is_one_call(bench: RemoteBench) -> None:
    writers = [bench.store.writer(f"layer-{number}") for number in range(50)]
    bench.store.put(b"blob")
    bench.run(3)
    bench.store.calls.clear()
    for _ in range(80):
        for writer in writers:
            writer.write(b"more")
        bench.tick()
    calls = bench.store.calls
    assert calls["statuses"] == 80
    assert calls["refresh"] == calls["status"] == calls["digests"] == calls["info"] == 0
    assert calls["walk"] <= 5
    assert calls["roots"] <= 5
    assert calls["holders"] <= 5


def test_silence_becomes_a_verdict_in_time(bench: RemoteBench) -> None:
    writer = bench.store.writer("a")
    bench.tick()
    writer.write(b"x")
    assert bench.row(bench.run(29.5), "a").state is IngestState.QUIET
    assert bench.row(bench.run(1), "a").state is IngestState.STALLED
    writer.write(b"y")
    row = bench.row(bench.run(0.5), "a")
    assert (row.state, row.liveness) == (IngestState.MOVING, Liveness.HELD)


def test_a_listing_that_takes_long_comes_less_often(
    bench: RemoteBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = bench.store.statuses

    def slow(filters: Sequence[str] = ()) -> list[Status]:
        bench.clock.go(0.2)
        return fast(filters)

    bench.run(1)
    monkeypatch.setattr(bench.store, "statuses", slow)
    bench.store.calls.clear()
    bench.run(20)
    assert 4 <= bench.store.calls["statuses"] <= 7
    assert bench.store.calls["refresh"] == 0


def test_in_between_a_few_that_move_are_asked_for(
    bench: RemoteBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = bench.store.statuses

    def slow(filters: Sequence[str] = ()) -> list[Status]:
        bench.clock.go(0.2)
        return fast(filters)

    for number in range(100):
        bench.store.writer(f"still-{number}").close()
    bench.run(20)
    moving = bench.store.writer("moving")
    monkeypatch.setattr(bench.store, "statuses", slow)
    bench.run(4)
    bench.store.calls.clear()
    for _ in range(40):
        moving.write(b"more")
        row = bench.row(bench.tick(), "moving")
        assert row.status.offset == moving.offset
    assert bench.store.calls["statuses"] <= 4
    assert 36 <= bench.store.calls["status"] <= 40
    moving.commit()
    assert "moving" not in [row.status.ref for row in bench.tick().ingests]


def test_a_committed_blob_shows_at_once_without_a_listing(bench: RemoteBench) -> None:
    bench.store.put(b"old")
    data = b"layer" * 100
    writer = bench.store.writer(f"layer-{Digest.of(data)}", total=len(data))
    bench.run(1)
    writer.write(data[:50])
    bench.tick()
    writer.write(data[50:])
    info = writer.commit()
    bench.store.calls.clear()
    view = bench.tick()
    assert info in [row.info for row in view.blobs]
    assert sentences(view) == (
        f"layer-{info.digest} committed as {info.digest}, {info.size} bytes",
    )
    assert (bench.store.calls["info"], bench.store.calls["walk"]) == (1, 0)


def test_without_a_name_for_it_a_listing_finds_the_blob(bench: RemoteBench) -> None:
    writer = bench.store.writer("nameless")
    bench.run(1)
    writer.write(b"abc")
    bench.tick()
    info = writer.commit()
    events = [event for _ in range(8) for event in sentences(bench.tick())]
    assert events == [f"nameless committed as {info.digest}, 3 bytes"]


def test_an_aborted_one_is_gone_once_the_blobs_were_listed(bench: RemoteBench) -> None:
    bench.store.writer(f"layer-{Digest.of(b'x')}").close()
    bench.run(1)
    bench.store.abort(f"layer-{Digest.of(b'x')}")
    events = [event for _ in range(8) for event in sentences(bench.tick())]
    assert events == [f"layer-{Digest.of(b'x')} is gone at offset 0"]


def test_blobs_that_came_went_and_were_labelled_show(bench: RemoteBench) -> None:
    old, kept = bench.store.put(b"old"), bench.store.put(b"kept")
    bench.run(1)
    bench.store.delete(old.digest)
    new = bench.store.put(b"new")
    bench.store.update(kept.digest, {"k": "v"})
    events = [event for _ in range(24) for event in sentences(bench.tick())]
    assert sorted(events) == sorted(
        [f"blob {new.digest} added, 3 bytes", f"blob {old.digest} deleted, 3 bytes"]
    )
    labels = {row.info.digest: row.info.labels for row in bench.tick().blobs}
    assert labels == {kept.digest: {"k": "v"}, new.digest: {}}


def test_a_large_store_is_walked_in_slices_and_seldom(bench: RemoteBench) -> None:
    for number in range(5000):
        bench.store.put(b"%d" % number)
    bench.run(2)
    bench.store.walk_step_s = 0.1  # 20 steps: two seconds for a walk
    bench.run(10)
    began = bench.clock.mono
    bench.store.calls.clear()
    for _ in range(400):
        before = bench.clock.mono
        view = bench.tick()
        assert bench.clock.mono - before <= 500_000_000
    took = (bench.clock.mono - began) / 1e9
    assert 1 <= bench.store.calls["walk"] <= took / 40 + 1
    assert len(view.blobs) == 5000
    assert sentences(view) == ()


def test_what_is_asked_for_during_a_walk_stays(bench: RemoteBench) -> None:
    for number in range(2000):
        bench.store.put(b"%d" % number)
    writer = bench.store.writer(f"layer-{Digest.of(b'late')}")
    writer.write(b"late")
    bench.run(2)
    bench.store.walk_step_s = 0.1
    while not bench.store.calls["walk"] > 1:
        bench.tick()
    info = writer.commit()
    for _ in range(12):
        view = bench.tick()
        assert info in [row.info for row in view.blobs]
        assert not any("deleted" in event for event in sentences(view))


def test_roots_are_asked_for_again_without_any_blob(bench: RemoteBench) -> None:
    from contentui.content.model import Descriptor

    blob = bench.store.put(b"blob")
    assert bench.run(6).blobs[0].referrers == ()
    bench.store.images.put("redis:7", Descriptor("x", blob.digest, blob.size))
    referrers = bench.run(10).blobs[0].referrers
    assert referrers is not None
    assert [referrer.name for referrer in referrers] == ["redis:7"]


def test_a_probe_that_finds_wrong_bytes_shows_poisoned_at_once(bench: RemoteBench) -> None:
    writer = bench.store.writer("a", total=3, expected=Digest.of(b"abc"))
    writer.write(b"abX")
    writer.close()
    bench.run(40)
    probe = bench.store.probe("a", if_match=bench.store.status("a"))
    assert probe.status.refused == Digest.of(b"abX")
    assert bench.row(bench.tick(), "a").state is IngestState.POISONED


def test_a_lost_daemon_leaves_the_picture_and_comes_back(bench: RemoteBench) -> None:
    bench.store.writer("a").close()
    bench.store.put(b"blob")
    good = bench.run(1)
    bench.store.away = True
    lost = bench.tick()
    assert lost.health.freshness is Freshness.STALE
    assert "nobody listens" in lost.health.reason
    assert lost.health.since_ns == good.health.since_ns
    assert lost.ingests == good.ingests
    assert lost.blobs == good.blobs
    assert [event.partition(":")[0] for event in sentences(lost)] == ["the store can't be read"]
    waits = []
    for _ in range(6):
        waits.append(bench.monitor.retry_s)
        assert bench.tick(bench.monitor.retry_s).events == ()
    assert waits == [0.25, 0.5, 1, 2, 2, 2]
    bench.store.away = False
    bench.store.told = ["another daemon answers \x1b[2J now"]
    back = bench.tick()
    assert back.health.freshness is Freshness.POLLING
    assert sentences(back) == ("the store can be read again",)
    assert back.notices == ("another daemon answers \\x1b[2J now",)
    assert bench.monitor.retry_s == 0
    assert bench.tick().notices == ()


def test_a_daemon_lost_while_blobs_are_walked_loses_no_blob(bench: RemoteBench) -> None:
    for number in range(2000):
        bench.store.put(b"%d" % number)
    bench.store.walk_step_s = 0.2
    bench.tick()
    assert bench.monitor.next_tick_s is not None  # it still lists
    bench.store.away = True
    bench.tick()
    bench.store.away = False
    bench.store.walk_step_s = 0
    view = bench.run(2)
    assert len(view.blobs) == 2000
    assert not any("deleted" in event for event in sentences(view))


async def test_the_feed_does_not_hammer_a_dead_socket() -> None:
    store = Remote(HandClock())
    store.away = True
    feed = Feed(Monitor(store), interval_s=0.05)
    async with asyncio.timeout(20):
        async for view in feed:
            if view.seq == 3:
                break
        rest = feed._pause_s()
        await feed.close()
    assert rest == 1


def test_what_was_aborted_from_here_goes_at_once_though_a_listing_takes_long() -> None:
    clock = HandClock()
    store = Remote(clock)
    monitor = Monitor(store, clock=clock)
    status = status_of(store, "a")
    status_of(store, "b")
    listed = store.statuses

    def slow(filters: Sequence[str] = ()) -> list[Status]:
        clock.go(1)
        return listed(filters)

    store.statuses = slow  # type: ignore[method-assign]
    monitor.tick()
    clock.go(0.25)
    monitor.tick()
    calls = store.calls["statuses"]
    store.abort("a")
    monitor.hint([status.id], blobs=True, everything=True)
    assert [row.status.ref for row in monitor.tick().ingests] == ["b"]
    assert store.calls["statuses"] == calls


def status_of(store: Remote, ref: str) -> Status:
    """A new ingest of one byte that nothing holds."""
    with store.writer(ref) as writer:
        writer.write(b"1")
    return store.status(ref)


def test_a_view_says_whether_blobs_are_still_being_listed(bench: RemoteBench) -> None:
    for number in range(5000):
        bench.store.put(b"%d" % number)
    bench.store.walk_step_s = 0.1
    views = [bench.tick() for _ in range(100)]
    counts = {len(view.blobs) for view in views if view.is_loading}
    assert len(counts) > 3
    assert max(counts) <= 5000
    assert {len(view.blobs) for view in views if not view.is_loading} == {5000}
