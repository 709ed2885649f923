"""The interval between refreshes: longer when the terminal or the machine can't keep up."""

from __future__ import annotations

from collections import deque

LAG_LIMIT_S = 0.05
"""Lag in seconds above which keys feel slow."""
WINDOW = 20
"""Samples that are judged together: ten seconds at two a second."""


class RefreshThrottle:
    """Turns measured lags of the event loop into an interval between refreshes.

    Halves the rate when the 95th percentile of the lag is above 50 ms, and doubles it again
    after a whole window below half of that.
    """

    def __init__(self, interval_s: float, *, slowest_s: float = 2.0) -> None:
        self.wanted_s = interval_s
        self.interval_s = interval_s
        self._slowest_s = max(slowest_s, interval_s)
        self._lags: deque[float] = deque(maxlen=WINDOW)

    @property
    def is_slowed(self) -> bool:
        """Whether the rate is below the wanted one."""
        return self.interval_s > self.wanted_s

    def record_lag(self, lag_s: float) -> bool:
        """Take one measured lag in seconds; True when the interval changed."""
        self._lags.append(max(lag_s, 0.0))
        if len(self._lags) < WINDOW // 2:
            return False
        p95 = sorted(self._lags)[int(len(self._lags) * 0.95) - 1]
        if p95 > LAG_LIMIT_S and self.interval_s < self._slowest_s:
            return self._become(min(self.interval_s * 2, self._slowest_s))
        if p95 < LAG_LIMIT_S / 2 and self.is_slowed and len(self._lags) == WINDOW:
            return self._become(max(self.interval_s / 2, self.wanted_s))
        return False

    def _become(self, interval_s: float) -> bool:
        self.interval_s = interval_s
        self._lags.clear()
        return True
