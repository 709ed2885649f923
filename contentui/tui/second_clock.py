"""Counts the seconds since the last view, while the next one is not due yet."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from contentui.monitor.model import StoreView

STEP_S = 1.0


STILL_S = 60.0
"""Time after the last change of a row for which ages count each second."""
STILL_STEP_S = 5
"""Seconds by which they count after that."""


class SecondClock:
    """Calls ``tick`` once a second from `restart` on, as long as ``goes_on`` holds.

    It doesn't once nothing has changed for `STILL_S`: then views alone change the ages.
    """

    def __init__(self, goes_on: Callable[[], bool], tick: Callable[[], object]) -> None:
        self._goes_on = goes_on
        self._tick = tick
        self._timer: asyncio.TimerHandle | None = None
        self._changed_s = 0.0
        """When a view differed from the one before, by the monotonic clock."""
        self.seconds = 0
        """Since `restart`; 0 where it did not go on."""

    def restart(self, before: StoreView | None, now: StoreView) -> None:
        """A new view is shown. On the event loop's thread."""
        if before is None or now.has_other_rows(before):
            self._changed_s = time.monotonic()
        self.seconds = 0
        if self._timer is not None:
            self._timer.cancel()
        self._start()

    @property
    def step_s(self) -> int:
        """To how many seconds ages are shown."""
        return STILL_STEP_S if time.monotonic() - self._changed_s > STILL_S else 1

    def _start(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(STEP_S, self._second_passed)

    def _second_passed(self) -> None:
        if self.step_s == 1 and self._goes_on():
            self.seconds += 1
            self._start()
            self._tick()


def looks_same(before: StoreView | None, now: StoreView, step_s: int = 1) -> bool:
    """Whether tables and detail would show the same: equal rows, and ages of the same time.

    ``step_s``: ages are shown to so many seconds.
    """
    step_ns = step_s * 10**9
    return (
        before is not None
        and not now.has_other_rows(before)
        and before.taken_ns // step_ns == now.taken_ns // step_ns
    )
