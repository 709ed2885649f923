"""Change notifications of the kernel: they wake the monitor early and are never relied on."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol

from contentui.content.model import IngestId
from contentui.monitor.model import Freshness
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Iterable

SUSPICIOUS = 8_192
"""A batch this large means that the kernel's queue (16,384) may have lost some, silently."""
_DEBOUNCE_MS = 100
_STEP_MS = 50
_CHECK_MS = 1000
MAX_EVENTS_PER_S = 3_000
"""Notifications a second above which polling is cheaper."""
RESTING = "too many changes a second for notifications; polling"
_RATE_WINDOW_S = 1.0
_REST_S = 10.0
_FIRST_BACKOFF_S = 0.5
_LAST_BACKOFF_S = 60.0
_SETTLED_S = 30.0

Identity = tuple[tuple[str, int, int], ...]
"""The watched directories, with device and inode."""


class OnHint(Protocol):
    """Called with what a batch of notifications touched."""

    def __call__(
        self, ids: Collection[IngestId], blobs: bool = False, everything: bool = False
    ) -> None: ...


class OnHealth(Protocol):
    """Called when notifications begin (LIVE) and when they end (POLLING, with the reason).

    LIVE with a reason: paused for a while, without an error.
    """

    def __call__(self, freshness: Freshness, reason: str = "") -> None: ...


async def watch(
    paths: Callable[[], list[str]],
    on_hint: OnHint,
    on_health: OnHealth,
    *,
    first_backoff_s: float = _FIRST_BACKOFF_S,
) -> None:
    """Watch until cancelled; a watch that ends is reported to ``on_health`` and started again.

    Everything that may have been missed between two watches, in a batch that is suspiciously
    large, or because a directory was replaced calls ``on_hint`` with ``everything=True``.

    Args:
        paths: the directories ``ingest`` and ``blobs`` of a store, those that exist now; called
            again each second, since they may appear, vanish and be replaced.
        on_hint: as `contentui.monitor.monitor.Monitor.hint`.
        on_health: as `contentui.monitor.monitor.Monitor.announce`.
        first_backoff_s: pause before the second try; it doubles up to a minute.
    """
    backoff_s = first_backoff_s
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        reason = await _watch_once(paths, on_hint, on_health)
        if reason == RESTING:
            on_health(Freshness.LIVE, reason)
            await asyncio.sleep(_REST_S)
            continue
        if loop.time() - began > _SETTLED_S:
            backoff_s = first_backoff_s
        on_hint((), everything=True)
        if reason:
            on_health(Freshness.POLLING, reason)
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, _LAST_BACKOFF_S)
        else:  # the directories were replaced: start again at once
            await asyncio.sleep(first_backoff_s / 10)


async def _watch_once(paths: Callable[[], list[str]], on_hint: OnHint, on_health: OnHealth) -> str:
    """Watch until it ends; return the reason, empty when the directories were replaced."""
    directories = await asyncio.to_thread(_identity, paths)
    if not directories:
        return "there is no directory to watch yet"
    try:
        async with aclosing(_batches([path for path, _, _ in directories])) as batches:
            live, limiter = False, EventRateLimiter(asyncio.get_running_loop().time)
            async for batch in batches:
                if not live:
                    live = True
                    on_health(Freshness.LIVE)
                    on_hint((), everything=True)  # changes before the watch began
                if batch:
                    _report(batch, [path for path, _, _ in directories], on_hint)
                if limiter.saw(len(batch)):
                    return RESTING
                if not batch and await asyncio.to_thread(_identity, paths) != directories:
                    return ""
    except Exception as error:  # a Rust library's, an operating system's, in groups or not
        return explain(error)
    return "the watch ended"


class EventRateLimiter:
    """Detects too many notifications a second."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = clock()
        self._count = 0

    def saw(self, count: int) -> bool:
        """Count a batch; return whether the rate exceeds `MAX_EVENTS_PER_S`."""
        self._count += count
        lasted = self._clock() - self._since
        if lasted < _RATE_WINDOW_S:
            return False
        exceeded = self._count >= MAX_EVENTS_PER_S * lasted
        self._since, self._count = self._clock(), 0
        return exceeded


async def _batches(paths: list[str]) -> AsyncGenerator[set[str], None]:
    """The paths that each batch touched; an empty batch when the watch begins and each second."""
    from watchfiles import Change, awatch

    stop = threading.Event()
    try:
        async with aclosing(
            awatch(
                *paths,
                watch_filter=None,
                debounce=_DEBOUNCE_MS,
                step=_STEP_MS,
                stop_event=stop,
                rust_timeout=_CHECK_MS,
                yield_on_timeout=True,
                force_polling=False,
                recursive=True,
            )
        ) as batches:
            async for changes in batches:
                touched = {path for _, path in changes}
                yield touched
                if any((Change.deleted, path) in changes for path in paths):
                    yield set()
    finally:
        stop.set()


def _identity(paths: Callable[[], list[str]]) -> Identity:
    found = []
    for path in paths():
        try:
            stat = os.stat(path)
        except OSError:
            continue
        found.append((path, stat.st_dev, stat.st_ino))
    return tuple(found)


def _report(batch: set[str], directories: list[str], on_hint: OnHint) -> None:
    if len(batch) >= SUSPICIOUS:
        on_hint((), blobs=True, everything=True)
        return
    ids, blobs, everything = sort_paths(batch, directories)
    on_hint(ids, blobs=blobs, everything=everything)


def sort_paths(touched: Iterable[str], directories: list[str]) -> tuple[set[IngestId], bool, bool]:
    """The ids of touched ingests, whether blobs were touched, whether any other path was."""
    ids: set[IngestId] = set()
    blobs = everything = False
    roots = [(root.rstrip("/") + "/", os.path.basename(root.rstrip("/"))) for root in directories]
    for path in touched:
        for root, kind in roots:
            if not path.startswith(root):
                continue
            if kind == "ingest":
                ids.add(IngestId(path[len(root) :].partition("/")[0]))
            else:
                blobs = True
            break
        else:
            everything = True
    return ids, blobs, everything


def explain(error: BaseException) -> str:
    """Why a watch ended, as a sentence."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = str(error)
    lower = text.lower()
    if "maxfileswatch" in lower or "watch limit" in lower:
        return (
            "the limit on watched directories is reached: raise it with"
            " 'sysctl fs.inotify.max_user_watches=1048576'"
        )
    if "too many open files" in lower:
        return (
            "the limit on watches is reached: raise it with"
            " 'sysctl fs.inotify.max_user_instances=1024'"
        )
    if "unable to decode" in lower:
        return "a file name that is not UTF-8 keeps announcements away; polling until it is gone"
    if isinstance(error, FileNotFoundError):
        return "a watched directory is gone; trying again soon"
    if isinstance(error, ImportError):
        return "watchfiles is not installed"
    return f"the watch ended ({visible(text, 200) or type(error).__name__}); trying again soon"
