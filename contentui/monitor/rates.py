"""The meters of rates, from byte deltas by our own clock: the only code that computes a rate.

`RateMeter` measures the ingests and stores that the monitor polls, `BurstMeter` clients that write
in bursts, and `WindowMeter` the transfers and ingests of this process.
"""

from __future__ import annotations

from array import array
from collections import deque
from math import exp

from contentui.monitor.clock import SECOND_NS

HISTORY_S = 300
"""Seconds of history that are kept."""
SMOOTHING_S = 3.0
"""Time constant of the smoothed rate, seconds."""
BURSTY_SMOOTHING_S = 20.0
"""That of a whole store whose clients write in bursts."""
BURST_NS = 2 * SECOND_NS
"""Silence between two growths that makes them bursts."""
WINDOW_S = 5.0
"""Seconds over which `WindowMeter` measures."""
FIRST_S = 0.5
"""Seconds before the first rate of a `WindowMeter`."""
_OVERDUE = 2.5
"""Times the last silence after which the next burst is overdue."""


class RateMeter:
    """Turns growth into bytes per second. Pure: the clock comes in with each call.

    The smoothed rate is a moving average that forgets exponentially and knows how much it has
    seen, so that the first sample counts fully. The history holds the exact bytes of each
    second since the meter was made; growth between two calls is spread evenly over the gap.

    Args:
        now_ns: the time of the first call, by a clock that never jumps.
        smoothing_s: time constant of the smoothed rate, seconds.
    """

    __slots__ = (
        "_at",
        "_bucket_end",
        "_filling",
        "_forget_ns",
        "_seconds",
        "_value",
        "_weight",
        "rate",
    )

    def __init__(self, now_ns: int, smoothing_s: float = SMOOTHING_S) -> None:
        self.rate = 0.0
        self._forget_ns = -smoothing_s * SECOND_NS
        self._at = now_ns
        self._value = 0.0
        self._weight = 0.0
        self._bucket_end = now_ns + SECOND_NS
        self._filling = 0.0
        self._seconds: array[float] | None = None

    def add(self, grown: int, now_ns: int) -> None:
        """Count ``grown`` bytes that came since the last call."""
        gap_ns = now_ns - self._at
        if gap_ns <= 0:
            self._filling += grown
            return
        per_second = grown * SECOND_NS / gap_ns
        keep = exp(gap_ns / self._forget_ns)
        self._value = self._value * keep + per_second * (1.0 - keep)
        self._weight = self._weight * keep + 1.0 - keep
        self.rate = self._value / self._weight
        if now_ns < self._bucket_end:
            self._filling += grown
        else:
            self._spread(per_second, now_ns)
        self._at = now_ns

    def rest(self, now_ns: int) -> None:
        """Nothing came until now, and nothing is expected: the smoothed rate starts afresh."""
        self.rate = self._value = self._weight = 0.0
        if now_ns > self._at:
            if now_ns >= self._bucket_end:
                self._spread(0.0, now_ns)
            self._at = now_ns

    def _spread(self, per_second: float, now_ns: int) -> None:
        full = 1 + (now_ns - self._bucket_end) // SECOND_NS
        first = self._filling + per_second * (self._bucket_end - self._at) / SECOND_NS
        self._bucket_end += full * SECOND_NS
        self._filling = per_second * (SECOND_NS - (self._bucket_end - now_ns)) / SECOND_NS
        if self._seconds is None:
            if not first and not per_second:
                return
            self._seconds = array("f")
        seconds = self._seconds
        seconds.append(first)
        if full > 1:
            seconds.extend((per_second,) * min(full - 1, HISTORY_S))
        if len(seconds) > HISTORY_S:
            del seconds[: len(seconds) - HISTORY_S]

    def history(self, now_ns: int) -> tuple[float, ...]:
        """Bytes per second of each full second until now, oldest first, at most `HISTORY_S`.

        Empty for one that never grew.
        """
        if self._seconds is None:
            return ()
        missing = min(self._missing(now_ns), HISTORY_S)
        return (
            *self._seconds[max(len(self._seconds) + missing - HISTORY_S, 0) :],
            *(0.0,) * missing,
        )

    def mean(self, window_s: float, now_ns: int) -> float:
        """Bytes per second over the last ``window_s`` full seconds (`HISTORY_S` at most)."""
        window = min(max(round(window_s), 1), HISTORY_S)
        known = window - self._missing(now_ns)
        if self._seconds is None or known <= 0:
            return 0.0
        return sum(self._seconds[-known:]) / window

    def _missing(self, now_ns: int) -> int:
        return max(0, 1 + (now_ns - self._bucket_end) // SECOND_NS)


class BurstMeter:
    """The rate of what comes in bursts, as from clients that hold back a buffer until it is full.

    Each burst's bytes belong to the silence before it, and the rate holds until the next one is
    overdue. Zero for what flows, which `RateMeter` measures better.
    """

    __slots__ = ("_at", "_gap_ns", "_value")

    def __init__(self) -> None:
        self._at = 0
        self._gap_ns = 0
        self._value = 0.0

    def grew(self, size: int, now_ns: int) -> None:
        """So many bytes came at once."""
        gap_ns, self._at = now_ns - self._at if self._at else 0, now_ns
        if gap_ns < BURST_NS:
            self._gap_ns = 0
            return
        rate = size * SECOND_NS / gap_ns
        self._value = (self._value + rate) / 2 if self._gap_ns else rate
        self._gap_ns = gap_ns

    def rate(self, now_ns: int) -> float:
        """Bytes per second; 0.0 when no burst was due for long, or it isn't bursts that come."""
        due = self._gap_ns and now_ns - self._at <= _OVERDUE * self._gap_ns
        return self._value if due else 0.0


class WindowMeter:
    """Bytes per second over the last `WINDOW_S` seconds.

    Times are seconds of one monotonic clock.
    """

    __slots__ = ("_samples", "_sum", "grown_at")

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()
        self._sum = 0
        self.grown_at = 0.0
        """When the last bytes moved, or `begin` was called."""

    def begin(self, now: float) -> None:
        """Work starts now: silence counts from here, and so does the first rate."""
        self.grown_at = now
        if not self._samples:
            self._samples.append((now, 0))

    def add(self, size: int, now: float) -> None:
        """Count ``size`` bytes that moved since the last call."""
        if size > 0:
            self._sum += size
            self.grown_at = now
        self._samples.append((now, self._sum))
        while len(self._samples) > 2 and now - self._samples[0][0] > WINDOW_S:
            self._samples.popleft()

    def rate(self, now: float) -> float:
        """Bytes per second until ``now``; 0.0 in the first `FIRST_S`, when it would be a guess."""
        if len(self._samples) < 2:
            return 0.0
        then, first = self._samples[0]
        return (self._sum - first) / (now - then) if now - then >= FIRST_S else 0.0


def eta_s(offset: int, total: int, rate: float) -> float | None:
    """Seconds until ``offset`` reaches ``total`` at ``rate``; None when unknown."""
    if total <= offset or rate < 1.0:
        return None
    return (total - offset) / rate
