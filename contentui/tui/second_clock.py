"""Counts the seconds since the last view, while the next one is not due yet."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from contentui.monitor.model import StoreView

STEP_S = 1.0


class SecondClock:
    """Calls ``tick`` once a second from `restart` on, as long as ``goes_on`` holds."""

    def __init__(self, goes_on: Callable[[], bool], tick: Callable[[], object]) -> None:
        self._goes_on = goes_on
        self._tick = tick
        self._timer: asyncio.TimerHandle | None = None
        self.seconds = 0
        """Since `restart`; 0 where it did not go on."""

    def restart(self) -> None:
        """A new view is shown. On the event loop's thread."""
        self.seconds = 0
        if self._timer is not None:
            self._timer.cancel()
        self._start()

    def _start(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(STEP_S, self._second_passed)

    def _second_passed(self) -> None:
        if self._goes_on():
            self.seconds += 1
            self._start()
            self._tick()


def looks_same(before: StoreView | None, now: StoreView) -> bool:
    """Whether tables and detail would show the same: equal rows, and ages of the same second."""
    return (
        before is not None
        and not now.has_other_rows(before)
        and before.taken_ns // 10**9 == now.taken_ns // 10**9
    )
