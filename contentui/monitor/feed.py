"""The monitor's ticks as an asynchronous stream, woken early by hints."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection

    from contentui.content.model import IngestId
    from contentui.monitor.model import Freshness, StoreView
    from contentui.monitor.monitor import Monitor

MIN_SPACING_S = 0.05
"""Two ticks are at least this far apart, seconds."""
_MAX_REST_S = 1.0
CALM_S = 1.0
"""The interval, seconds, while nothing moves and the kernel announces what will."""
CALM_POLL_S = 2.0
"""The same where nothing announces it, as behind a daemon's socket."""
ATTENDED_S = 5.0
"""Seconds for which a person who pressed a key sees a calm daemon polled as often as a busy one."""
_PATIENCE_S = 2.0
OVERDUE_S = 3.0
"""Seconds after which a store that has not answered yet makes the view stale."""


class Feed:
    """``async for view in feed``: one consumer, one thread for the store, none left behind.

    Args:
        monitor: what to tick. Until the feed ends, nothing else may.
        interval_s: seconds between two ticks without hints; can be set at any time.
        hints: let the kernel's announcements wake it early, where the store has directories.
    """

    def __init__(self, monitor: Monitor, interval_s: float = 0.25, *, hints: bool = True) -> None:
        self.monitor = monitor
        self._interval_s = interval_s
        self._with_hints = hints and monitor.store.roles.file_paths is not None
        self._wake = asyncio.Event()
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._hints: asyncio.Task[None] | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._ticking: asyncio.Future[StoreView] | None = None
        self._hurried = False
        """The last tick was early."""
        self._attended_until = 0.0

    @property
    def interval_s(self) -> float:
        """Seconds between two ticks without hints."""
        return self._interval_s

    @interval_s.setter
    def interval_s(self, seconds: float) -> None:
        self._interval_s = seconds
        self.wake()

    def wake(self) -> None:
        """Tick as soon as possible. From any thread."""
        self._hurried = False
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)

    def attend(self) -> None:
        """A person acts: poll at full speed for a while. On the loop's thread."""
        if self._loop is None or self.monitor.is_announced:
            return
        was_slow = self.is_slow
        self._attended_until = self._loop.time() + ATTENDED_S
        if was_slow:
            self._wake.set()

    @property
    def is_slow(self) -> bool:
        """Whether nothing moves and nobody acts, or the kernel will notify of changes."""
        if not self.monitor.is_calm:
            return False
        attended = self._loop is not None and self._loop.time() < self._attended_until
        return self.monitor.is_announced or not attended

    async def close(self) -> None:
        """End the stream: its consumer's loop ends, its thread too. Twice is fine."""
        self._closed = True
        self._wake.set()
        await self._stop()

    async def __aiter__(self) -> AsyncGenerator[StoreView, None]:
        self._loop = loop = asyncio.get_running_loop()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="contentui-monitor")
        if self._with_hints:
            self._hints = loop.create_task(self._listen())
        view: StoreView | None = None
        try:
            while not self._closed:
                began = loop.time()
                self._wake.clear()
                self._ticking = loop.run_in_executor(self._executor, self.monitor.tick)
                while not await self._answered(began):
                    if self._closed:
                        return
                    if view is not None:
                        yield self.monitor.overdue(view)
                view = await self._ticking
                if self._closed:
                    return
                took = loop.time() - began
                yield view
                await self._rest(began, max(MIN_SPACING_S, min(took, _MAX_REST_S) + took))
        finally:
            await self._stop()

    async def _answered(self, began: float) -> bool:
        """Whether the tick is over; waits until it is, until it is overdue, or for a second."""
        waited = asyncio.get_running_loop().time() - began
        assert self._ticking is not None
        done, _ = await asyncio.wait([self._ticking], timeout=max(OVERDUE_S - waited, 1.0))
        return bool(done)

    async def _rest(self, began: float, spacing_s: float) -> None:
        """Until the interval is over or a hint came, but not before the spacing."""
        loop = asyncio.get_running_loop()
        while not self._closed:
            woken = self._wake.is_set()
            left = began + max(self._early_s() if woken else self._pause_s(), spacing_s)
            left -= loop.time()
            if left <= 0:
                self._hurried = woken
                return
            if woken:
                await asyncio.sleep(min(left, MIN_SPACING_S))
                continue
            try:
                async with asyncio.timeout(left):
                    await self._wake.wait()
            except TimeoutError:
                self._hurried = False
                return

    def _pause_s(self) -> float:
        """Seconds between two ticks without hints."""
        if self.is_slow:
            calm_s = CALM_S if self.monitor.is_announced else CALM_POLL_S
            return max(self._interval_s, calm_s)
        soon = self.monitor.next_tick_s
        if retry_s := self.monitor.retry_s:
            return max(self._interval_s, retry_s)
        return self._interval_s if soon is None else min(soon, self._interval_s)

    def _early_s(self) -> float:
        """Seconds between two ticks with hints: the first is immediate, later ones are limited."""
        return min(self._interval_s, CALM_S) if self._hurried else 0.0

    async def _listen(self) -> None:
        from contentui.monitor import hints

        await hints.watch(self.monitor.watch_paths, self._on_hint, self._on_health)

    def _on_hint(
        self, ids: Collection[IngestId], blobs: bool = False, everything: bool = False
    ) -> None:
        news = self.monitor.hint(ids, blobs=blobs, everything=everything)
        if news or self._interval_s > CALM_S:
            self._wake.set()

    def _on_health(self, freshness: Freshness, reason: str = "") -> None:
        self.monitor.announce(freshness, reason)
        self._wake.set()

    async def _stop(self) -> None:
        listening, self._hints = self._hints, None
        if listening is not None:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        executor, self._executor = self._executor, None
        if executor is None:
            return
        ticking = self._ticking
        if ticking is not None and not ticking.done():
            await asyncio.wait([ticking], timeout=_PATIENCE_S)
        # A tick that hangs in the kernel is abandoned: waiting would hang as well.
        executor.shutdown(wait=ticking is None or ticking.done(), cancel_futures=True)
