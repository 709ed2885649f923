"""Time as the monitor is given it, so that tests and replays can make their own."""

from __future__ import annotations

import time
from typing import NamedTuple, Protocol

SECOND_NS = 1_000_000_000


class Clock(Protocol):
    """Two clocks that must not be mixed: one for what we measure, one for what we show."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970; may jump by hours, either way."""

    def mono_ns(self) -> int:
        """Nanoseconds since any fixed moment; never jumps."""


class SystemClock:
    """The machine's clocks."""

    def wall_ns(self) -> int:
        return time.time_ns()

    def mono_ns(self) -> int:
        return time.monotonic_ns()


class Now(NamedTuple):
    """One moment by both clocks, in nanoseconds."""

    mono: int
    wall: int


class ClockJumpDetector:
    """Notices when the wall clock was set, so that times from before are not believed.

    After a jump the age of a foreign time is at most the time since the jump.
    """

    _TOLERANCE_NS = 2 * SECOND_NS

    def __init__(self) -> None:
        self._gap: int | None = None
        self._jumped_at: int | None = None

    def see(self, now: Now) -> None:
        """Compare the two clocks."""
        gap = now.wall - now.mono
        if self._gap is not None and abs(gap - self._gap) > self._TOLERANCE_NS:
            self._jumped_at = now.mono
        self._gap = gap

    def believed_age_ns(self, then_ns: int, now: Now) -> int:
        """How long ago ``then_ns`` was, as far as it can be believed; 0 for unknown and future."""
        if then_ns <= 0 or then_ns > now.wall:
            return 0
        age = now.wall - then_ns
        return age if self._jumped_at is None else min(age, now.mono - self._jumped_at)
