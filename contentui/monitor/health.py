"""How current the view is, with the reason as text."""

from __future__ import annotations

from contentui.content.errors import ContentError, NotFound, PermissionDenied
from contentui.monitor.model import Freshness, Health
from contentui.text import visible

FILLING = "the blobs are still being listed"
WAITING = "the store has not answered yet; still waiting"
NO_HINTS = "this store announces no changes"
_FIRST_RETRY_S = 0.25
_LAST_RETRY_S = 2.0


class HealthTracker:
    """The time of the last successful tick, and the state of change notifications."""

    def __init__(self) -> None:
        self._announced = False
        self._resting = ""
        self._why_not = NO_HINTS
        self._error = ""
        self._good_ns = 0
        self._failures = 0

    @property
    def is_announced(self) -> bool:
        """The kernel notifies of changes."""
        return self._announced

    @property
    def is_stale(self) -> bool:
        return bool(self._error)

    def announce(self, freshness: Freshness, reason: str) -> None:
        """Set the state of change notifications."""
        self._announced = freshness is Freshness.LIVE and not reason
        self._resting = reason if freshness is Freshness.LIVE else ""
        self._why_not = reason or NO_HINTS

    def good(self, wall_ns: int) -> None:
        """A tick succeeded."""
        self._error, self._good_ns, self._failures = "", wall_ns, 0

    def bad(self, error: Exception) -> None:
        """A tick failed."""
        self._error = explain(error)
        self._failures += 1

    @property
    def retry_s(self) -> float:
        """Seconds until the next try after failures; 0 without any."""
        if not self._failures:
            return 0.0
        return min(_FIRST_RETRY_S * (1 << min(self._failures - 1, 10)), _LAST_RETRY_S)

    def health(self, *, filling: bool) -> Health:
        """As it goes into a view."""
        if self._error:
            return Health(Freshness.STALE, self._error, self._good_ns)
        if self._announced or self._resting:
            return Health(Freshness.LIVE, FILLING if filling else self._resting, self._good_ns)
        return Health(Freshness.POLLING, FILLING if filling else self._why_not, self._good_ns)


def explain(error: Exception) -> str:
    """Why a tick failed, as a sentence; safe for a terminal."""
    if isinstance(error, ContentError):
        what = visible(error.message, 500)
        if isinstance(error, NotFound):
            return f"{what}; retrying until it is back"
        if isinstance(error, PermissionDenied):
            return f"{what}; {visible(error.advice, 300) or 'retrying until it is allowed'}"
        return f"{what}; {visible(error.advice, 300) or 'trying again'}"
    if isinstance(error, OSError):
        return f"{error.strerror or type(error).__name__}; trying again"
    return f"reading the store failed unexpectedly ({type(error).__name__}); trying again"
