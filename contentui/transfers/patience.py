"""Trying again with pauses that are told, until the budget is used up or somebody says stop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from contentui.remotes.errors import Interrupted
from contentui.remotes.retry import Budget

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

_T = TypeVar("_T")


class Stopped(Exception):
    """The transfer was told to end; what arrived is kept."""


def pause(
    error: Interrupted, budget: Budget, stop: threading.Event, tell: Callable[[str], object]
) -> None:
    """Wait before the next attempt; ``tell`` hears once a second why and how long.

    Raises:
        Interrupted: the error, with advice, when there is no next attempt.
        Stopped: ``stop`` was set.
    """
    if stop.is_set():
        raise Stopped
    pause_s = budget.pause_s(error)
    if pause_s is None:
        error.advice = error.advice or f"{budget.why}: run the same command again to go on"
        raise error
    until_s = time.monotonic() + pause_s
    while (left_s := until_s - time.monotonic()) > 0:
        tell(budget.words(left_s, error))
        stop.wait(min(left_s, 1.0))
        if stop.is_set():
            raise Stopped


def retried(act: Callable[[], _T], stop: threading.Event, tell: Callable[[str], object]) -> _T:
    """What ``act`` returns at last. Raises as ``act`` and `pause`."""
    budget = Budget()
    while True:
        try:
            return act()
        except Interrupted as error:
            pause(error, budget, stop, tell)
