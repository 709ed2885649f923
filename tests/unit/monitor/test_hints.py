"""Announcements from a real kernel, and everything that silences them."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from typing import TYPE_CHECKING

import pytest

from contentui.content.model import IngestId
from contentui.monitor import hints
from contentui.monitor.model import Freshness

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path


class Ear:
    """Collects what the hints say."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ids: set[IngestId] = set()
        self.blobs = 0
        self.everything = 0
        self.views: list[tuple[Freshness, str]] = []
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def paths(self) -> list[str]:
        return [str(p) for p in (self.root / "ingest", self.root / "blobs") if p.is_dir()]

    def on_hint(
        self, ids: Collection[IngestId], blobs: bool = False, everything: bool = False
    ) -> None:
        self.ids.update(ids)
        self.blobs += blobs
        self.everything += everything
        self._news.set()

    def on_health(self, freshness: Freshness, reason: str = "") -> None:
        self.views.append((freshness, reason))
        self._news.set()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(15):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def __aenter__(self) -> Ear:
        watching = hints.watch(self.paths, self.on_hint, self.on_health, first_backoff_s=0.2)
        self._task = asyncio.create_task(watching)
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._task is not None
        assert not self._task.done()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def is_live(self) -> bool:
        return bool(self.views) and self.views[-1][0] is Freshness.LIVE


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "ingest" / "aaa").mkdir(parents=True)
    (tmp_path / "blobs" / "sha256").mkdir(parents=True)
    return tmp_path


async def test_what_changes_is_named(root: Path) -> None:
    async with Ear(root) as ear:
        await ear.until(ear.is_live)
        (root / "ingest" / "aaa" / "data").write_bytes(b"x")
        await ear.until(lambda: IngestId("aaa") in ear.ids)
        assert ear.blobs == 0
        (root / "ingest" / "new~.swp").mkdir()
        await ear.until(lambda: IngestId("new~.swp") in ear.ids)
        (root / "blobs" / "sha256" / "b").write_bytes(b"x")
        await ear.until(lambda: ear.blobs)


async def test_a_directory_that_is_removed_and_comes_back(root: Path) -> None:
    async with Ear(root) as ear:
        await ear.until(ear.is_live)
        seen = ear.everything
        shutil.rmtree(root / "ingest")
        shutil.rmtree(root / "blobs")
        await ear.until(lambda: ear.views[-1][0] is Freshness.POLLING)
        assert ear.views[-1][1]
        assert ear.everything > seen
        (root / "ingest" / "back").mkdir(parents=True)
        (root / "blobs" / "sha256").mkdir(parents=True)
        await ear.until(ear.is_live)
        (root / "ingest" / "back" / "data").write_bytes(b"x")
        await ear.until(lambda: IngestId("back") in ear.ids)


async def test_a_replaced_directory_is_watched_anew(root: Path) -> None:
    async with Ear(root) as ear:
        await ear.until(ear.is_live)
        os.rename(root / "ingest", root / "old")
        (root / "ingest" / "fresh").mkdir(parents=True)
        seen = ear.everything
        await ear.until(lambda: ear.everything > seen)
        while IngestId("fresh") not in ear.ids:
            (root / "ingest" / "fresh" / "data").write_bytes(os.urandom(8))
            await asyncio.sleep(0.05)


async def test_one_that_appears_later_is_watched(tmp_path: Path) -> None:
    async with Ear(tmp_path) as ear:
        await ear.until(lambda: ear.views)
        assert ear.views[0][0] is Freshness.POLLING
        (tmp_path / "ingest").mkdir()
        await ear.until(ear.is_live)
        (tmp_path / "ingest" / "a").mkdir()
        await ear.until(lambda: IngestId("a") in ear.ids)


async def test_a_name_that_is_not_utf8_silences_it_while_it_is_there(root: Path) -> None:
    async with Ear(root) as ear:
        await ear.until(ear.is_live)
        foreign = os.fsencode(root / "ingest") + b"/\xff\xfe"
        os.mkdir(foreign)
        await ear.until(lambda: ear.views[-1][0] is Freshness.POLLING)
        assert "UTF-8" in ear.views[-1][1]
        os.rmdir(foreign)
        await ear.until(ear.is_live)
        (root / "ingest" / "aaa" / "data").write_bytes(b"x")
        await ear.until(lambda: IngestId("aaa") in ear.ids)


async def test_a_large_batch_means_everything(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "SUSPICIOUS", 50)
    async with Ear(root) as ear:
        await ear.until(ear.is_live)
        seen = ear.everything
        for number in range(500):
            (root / "ingest" / "aaa" / f"{number}").touch()
        await ear.until(lambda: ear.everything > seen)


async def test_the_kernels_queue_overflows(root: Path) -> None:
    """A reader that doesn't come to read: more changes than the queue holds, then one hint."""
    async with Ear(root) as ear:
        await ear.until(ear.is_live)
        seen = ear.everything

        def flood() -> None:
            for number in range(20_000):
                os.mkdir(root / "ingest" / f"{number}")

        flooding = threading.Thread(target=flood)
        flooding.start()
        await ear.until(lambda: len(ear.ids) > 10 or ear.everything > seen)
        await asyncio.to_thread(flooding.join)
        assert ear.is_live()


async def test_nothing_is_left_behind(root: Path) -> None:
    async with Ear(root) as ear:
        await ear.until(ear.is_live)
    async with asyncio.timeout(5):
        while any("watch" in str(thread) for thread in threading.enumerate()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_paths_of_ingests_blobs_and_others() -> None:
    found = hints.sort_paths(
        ["/s/ingest/a/data", "/s/ingest/b", "/s/ingest", "/s/blobs/sha256/x"],
        ["/s/ingest", "/s/blobs/"],
    )
    assert found == ({IngestId("a"), IngestId("b")}, True, True)


def test_limits_are_explained() -> None:
    error = OSError("OS file watch limit reached. about [MaxFilesWatch]")
    assert "max_user_watches" in hints.explain(ExceptionGroup("x", [error]))
    assert "max_user_instances" in hints.explain(RuntimeError("Too many open files (os error 24)"))
    assert hints.explain(ValueError()).startswith("the watch ended (ValueError)")


def test_a_storm_is_more_than_so_many_a_second() -> None:
    now = 0.0
    limiter = hints.EventRateLimiter(lambda: now)
    for _ in range(9):
        now += 0.1
        assert not limiter.saw(hints.MAX_EVENTS_PER_S // 5)
    now += 0.2
    assert limiter.saw(hints.MAX_EVENTS_PER_S // 5)
    now += 1.1
    assert not limiter.saw(hints.MAX_EVENTS_PER_S // 2)
