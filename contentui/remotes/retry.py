"""How often to try again, and when: what counts is attempts without useful progress."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from contentui.text import human_duration, visible

if TYPE_CHECKING:
    from contentui.remotes.errors import Interrupted

ATTEMPTS = 6
USEFUL = 64 * 1024
"""Bytes that an attempt must bring to count as progress: else one byte at a time never ends."""
SOON_S = 0.1
"""The longest pause where a connection broke after useful progress: the host isn't in trouble."""
FIRST_S = 0.5
LONGEST_S = 30.0
MOST_PATIENCE_S = 300.0
"""A host that wants to be left alone for longer is taken for one that refuses."""

_random = random.SystemRandom()


class Budget:
    """The attempts at one piece of content.

    Raises nothing itself: `pause_s` is None when the budget is used up.
    """

    def __init__(self, attempts: int = ATTEMPTS, *, useful: int = USEFUL) -> None:
        self.attempts = attempts
        self.failed = 0
        """Failures in a row without useful progress between them."""
        self._useful = useful
        self._moved = False
        self.why = ""
        """Why it is used up, once it is."""

    def progressed(self, size: int) -> None:
        """An attempt brought so many bytes before it failed."""
        self._moved = size >= self._useful
        if self._moved:
            self.failed = 0

    def pause_s(self, error: Interrupted) -> float | None:
        """Seconds to wait after a failure; None: give up.

        Next to none after useful progress. Else it doubles from half a second to half a minute,
        between half and all of it, so that many clients don't come back together. What the host
        asks for counts more.
        """
        self.failed += 1
        if self.failed >= self.attempts:
            self.why = f"gave up after {self.failed} attempts without progress"
            return None
        if error.after_s is not None:
            if error.after_s > MOST_PATIENCE_S:
                self.why = f"it wants to be left alone for {human_duration(error.after_s)}"
                return None
            return error.after_s + _random.uniform(0, 0.1)
        if self._moved:
            self._moved = False
            return _random.uniform(0, SOON_S)
        longest = min(FIRST_S * 2 ** (self.failed - 1), LONGEST_S)
        return _random.uniform(longest / 2, longest)

    def words(self, pause_s: float, error: Interrupted) -> str:
        """What is shown meanwhile: ``retrying in 4s (3/6): connection reset by …``."""
        pause = human_duration(max(pause_s, 1))
        return (
            f"retrying in {pause} ({self.failed + 1}/{self.attempts}):"
            f" {visible(error.message, 200)}"
        )
