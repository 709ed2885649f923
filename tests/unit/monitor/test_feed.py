"""The stream of views of a real directory."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from typing import TYPE_CHECKING

import pytest
from monitor_bench import sentences

from contentui.content.digest import Digest
from contentui.content.errors import Unavailable
from contentui.monitor.feed import CALM_POLL_S, CALM_S, Feed
from contentui.monitor.model import Freshness
from contentui.monitor.monitor import Monitor
from contentui.monitor.states import IngestState
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from contentui.monitor.model import StoreView


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    with LocalStore(str(tmp_path / "store")) as store:
        store.put(b"first")
        yield store


async def until(
    views: AsyncIterator[StoreView], condition: Callable[[StoreView], object]
) -> StoreView:
    async with asyncio.timeout(20):
        async for view in views:
            if condition(view):
                return view
    raise AssertionError


async def test_a_life_from_begin_to_commit(store: LocalStore) -> None:
    feed = Feed(Monitor(store))
    stream = aiter(feed)
    first = await until(stream, lambda view: view.blobs)
    assert first.usage is not None
    with store.writer("layer", total=2_000_000) as writer:
        writer.write(bytes(1_000_000))
        seen = await until(stream, lambda view: view.ingests)
        assert seen.ingests[0].state is IngestState.MOVING
        seen = await until(stream, lambda view: view.ingests[0].liveness == "held")
        assert seen.ingests[0].holder is not None
        writer.write(b"x" * 1_000_000)
        seen = await until(stream, lambda s: s.ingests[0].state is IngestState.COMPLETE)
        assert seen.counters.received_bytes == 2_000_000
        writer.commit()
    done = await until(stream, lambda view: view.events)
    assert sentences(done)[0].startswith("layer committed as sha256:")
    assert (len(done.ingests), len(done.blobs)) == (0, 2)
    await feed.close()


async def test_a_store_that_does_not_answer_makes_the_view_stale(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a stopped daemon, or a network file system without its server."""
    monkeypatch.setattr("contentui.monitor.feed.OVERDUE_S", 0.2)
    answers = threading.Event()
    answers.set()
    real = store.digests

    def digests() -> object:
        assert answers.wait(20)
        return real()

    monkeypatch.setattr(store, "digests", digests)
    monitor = Monitor(store)
    feed = Feed(monitor, interval_s=0.1, hints=False)
    stream = aiter(feed)
    await until(stream, lambda view: view.blobs)
    answers.clear()
    monitor.hint((), blobs=True, everything=True)
    feed.wake()
    stale = await until(stream, lambda view: view.health.freshness is Freshness.STALE)
    assert stale.health.reason == "the store has not answered yet; still waiting"
    assert stale.rate is None
    assert stale.blobs
    assert stale.taken_ns > stale.health.since_ns
    answers.set()
    await until(stream, lambda view: view.health.freshness is not Freshness.STALE)
    await feed.close()


def test_an_error_that_came_late_counts_from_the_last_answer(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = Monitor(store)
    good = monitor.tick()

    def late(*_: object) -> object:
        time.sleep(0.5)
        raise Unavailable("no answer")

    monkeypatch.setattr(store, "digests", late)
    monitor.hint((), blobs=True, everything=True)
    bad = monitor.tick()
    assert bad.health.freshness is Freshness.STALE
    assert bad.taken_ns - bad.health.since_ns >= 0.5e9
    assert bad.health.since_ns == good.taken_ns


async def test_hints_wake_it_early(store: LocalStore) -> None:
    store.writer("first").close()
    feed = Feed(Monitor(store), interval_s=30)
    stream = aiter(feed)
    await until(stream, lambda view: view.health.freshness is Freshness.LIVE)
    began = time.monotonic()
    store.writer("second").close()
    await until(stream, lambda view: len(view.ingests) == 2)
    assert time.monotonic() - began < 5
    await feed.close()


async def test_the_interval_can_be_set_while_it_rests(store: LocalStore) -> None:
    feed = Feed(Monitor(store), interval_s=60, hints=False)
    stream = aiter(feed)
    first = await until(stream, lambda _: feed.monitor.next_tick_s is None)
    asyncio.get_running_loop().call_later(0.05, setattr, feed, "interval_s", 0.1)
    assert (await until(stream, lambda s: s.seq == first.seq + 3)).seq == first.seq + 3
    await feed.close()


async def test_it_ends_promptly_and_leaves_no_thread(store: LocalStore) -> None:
    feed = Feed(Monitor(store), interval_s=60)
    stream = aiter(feed)
    await anext(stream)
    waiting = asyncio.ensure_future(anext(stream, None))
    await asyncio.sleep(0.3)
    began = time.monotonic()
    await feed.close()
    while not waiting.done():
        await asyncio.sleep(0)
        if await asyncio.wait_for(asyncio.shield(waiting), 2) is not None:
            waiting = asyncio.ensure_future(anext(stream, None))
    assert time.monotonic() - began < 2
    assert not [t for t in threading.enumerate() if t.name.startswith("contentui-monitor")]
    await feed.close()


async def test_a_cancelled_consumer_leaves_no_thread(store: LocalStore) -> None:
    async def consume() -> None:
        async for _ in Feed(Monitor(store)):
            pass

    task = asyncio.create_task(consume())
    await asyncio.sleep(0.3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not [t for t in threading.enumerate() if t.name.startswith("contentui-monitor")]


async def test_a_removed_store_is_stale_until_it_is_back(store: LocalStore, tmp_path: Path) -> None:
    store.writer("layer").close()
    feed = Feed(Monitor(store), interval_s=0.1)
    stream = aiter(feed)
    good = await until(
        stream, lambda s: s.blobs and s.ingests and s.health.freshness is Freshness.LIVE
    )
    shutil.rmtree(tmp_path / "store")
    bad = await until(stream, lambda s: s.health.freshness is Freshness.STALE)
    assert "store" in bad.health.reason
    bad = await until(stream, lambda s: s.health.freshness is Freshness.STALE)
    assert bad.ingests == good.ingests or not (tmp_path / "store").exists()
    with LocalStore(str(tmp_path / "store")) as again:
        again.put(b"second")
    back = await until(stream, lambda s: s.health.freshness is not Freshness.STALE and s.blobs)
    assert [row.info.digest for row in back.blobs] == [Digest.of(b"second")]
    assert back.ingests == ()
    await feed.close()


class _CountedMonitor(Monitor):
    """Counts its ticks; whether it is calm and announced is set by the test."""

    ticks = 0
    calm = True
    announced = False

    def tick(self) -> StoreView:
        self.ticks += 1
        return super().tick()

    @property
    def is_calm(self) -> bool:
        return self.calm

    @property
    def is_announced(self) -> bool:
        return self.announced

    @property
    def next_tick_s(self) -> float | None:
        return None


@pytest.mark.parametrize(
    ("calm", "announced", "pause_s"),
    [(True, False, CALM_POLL_S), (True, True, CALM_S), (False, False, 0.25), (False, True, 0.25)],
)
async def test_what_is_calm_is_read_less_often(
    store: LocalStore, calm: bool, announced: bool, pause_s: float
) -> None:
    monitor = _CountedMonitor(store)
    monitor.calm, monitor.announced = calm, announced
    feed = Feed(monitor, hints=False)
    await anext(aiter(feed))
    assert feed._pause_s() == pause_s
    assert feed.is_slow is calm
    await feed.close()


async def test_a_key_ends_the_calm_at_once_and_for_a_while(store: LocalStore) -> None:
    monitor = _CountedMonitor(store)
    feed = Feed(monitor, hints=False)
    stream = aiter(feed)
    await anext(stream)
    assert not feed._wake.is_set()
    feed.attend()
    assert feed._wake.is_set()
    await anext(stream)
    assert monitor.ticks == 2
    assert feed._pause_s() == 0.25
    feed.attend()
    assert not feed._wake.is_set(), "keys that follow read no more often than the interval"
    feed._attended_until = 0.0
    assert feed._pause_s() == CALM_POLL_S
    await feed.close()


async def test_a_key_wakes_nothing_where_changes_are_announced(store: LocalStore) -> None:
    monitor = _CountedMonitor(store)
    monitor.announced = True
    feed = Feed(monitor, hints=False)
    await anext(aiter(feed))
    feed.attend()
    assert not feed._wake.is_set()
    await feed.close()
