"""Retries: how often, after which pauses, and until when."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, TypeVar

from contentui.remotes.errors import RetryableError
from contentui.text import human_duration, visible

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

USEFUL = 16 * 1024
"""Bytes that an attempt must bring to count as progress: else one byte at a time never ends.

A poor link that breaks after some 20 kB each time still gets there."""
SOON_S = 0.1
"""The longest pause where a connection broke after useful progress."""
FIRST_S = 0.5
LONGEST_S = 30.0
MAX_RETRY_AFTER_S = 300.0
"""A longer Retry-After is a failure."""

_random = random.SystemRandom()
_T = TypeVar("_T")


def check_part(size: int, left: int, host: str) -> None:
    """Check a response that ended in order and brought ``size`` bytes; ``left`` are still missing.

    A host may send content in parts, which the next request continues. Parts that are smaller
    than `USEFUL` count as failures.

    Raises:
        RetryableError: it brought too little. ``host``: untrusted text.
    """
    if left and size < USEFUL:
        reason = f"only {size} bytes at once"
        raise RetryableError(f"{visible(host)} sent {reason}", host=host, reason=reason)


class Stopped(Exception):
    """The transfer was stopped by its user; what arrived is kept."""


class RetryBudget:
    """The attempts at one piece of content.

    Raises nothing itself: `pause_s` is None when the budget is used up.
    """

    def __init__(self, attempts: int) -> None:
        self._attempts = attempts
        self.failed = 0
        """Failures in a row without useful progress between them."""
        self._progressed = False
        self.exhausted = ""
        """Why it is used up, once it is."""

    def progressed(self, size: int) -> None:
        """An attempt brought so many bytes before it failed."""
        self._progressed = size >= USEFUL
        if self._progressed:
            self.failed = 0

    def pause_s(self, error: RetryableError) -> float | None:
        """Seconds to wait after a failure; None: give up.

        At most `SOON_S` after useful progress. Otherwise it doubles from half a second to half a
        minute, with a random factor between a half and one, so that many clients don't return
        together. The host's Retry-After takes precedence.
        """
        self.failed += 1
        if self.failed >= self._attempts:
            times = "attempt" if self.failed == 1 else "attempts"
            self.exhausted = f"gave up after {self.failed} {times} without progress"
            return None
        if error.after_s is not None:
            if error.after_s > MAX_RETRY_AFTER_S:
                asked = human_duration(error.after_s)
                self.exhausted = f"the host asks for a retry after {asked}, which is too long"
                return None
            return error.after_s + _random.uniform(0, 0.1)
        if self._progressed:
            self._progressed = False
            return _random.uniform(0, SOON_S)
        longest = min(FIRST_S * 2 ** (self.failed - 1), LONGEST_S)
        return _random.uniform(longest / 2, longest)

    def message(self, pause_s: float, error: RetryableError) -> str:
        """What is shown during a pause: ``retrying in 4s (3/6): connection reset, HOST``."""
        pause = human_duration(max(pause_s, 1))
        attempt = f"{self.failed + 1}/{self._attempts}"
        where = "" if error.reason == error.message else f", {visible(error.host, 100)}"
        return f"retrying in {pause} ({attempt}): {visible(error.reason, 200)}{where}"


def wait_to_retry(
    error: RetryableError,
    budget: RetryBudget,
    stop: threading.Event,
    report: Callable[[str], object],
) -> None:
    """Wait before the next attempt; ``report`` gets a message once a second.

    Raises:
        RetryableError: the error, with advice, when the budget is used up.
        Stopped: ``stop`` was set.
    """
    if stop.is_set():
        raise Stopped
    pause_s = budget.pause_s(error)
    if pause_s is None:
        error.advice = error.advice or f"{budget.exhausted}: run the same command again to resume"
        raise error
    until_s = time.monotonic() + pause_s
    while (left_s := until_s - time.monotonic()) > 0:
        report(budget.message(left_s, error))
        stop.wait(min(left_s, 1.0))
        if stop.is_set():
            raise Stopped


def retry_call(
    act: Callable[[], _T],
    attempts: int,
    stop: threading.Event,
    report: Callable[[str], object],
) -> _T:
    """What ``act`` returns at last. Raises as ``act`` and `wait_to_retry`."""
    budget = RetryBudget(attempts)
    while True:
        try:
            return act()
        except RetryableError as error:
            wait_to_retry(error, budget, stop, report)
