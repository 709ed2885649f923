"""The meters of rates, from byte deltas by our own clock: the only code that computes a rate.

`GrowthMeter` measures the ingests and transfers that the monitor polls, `RateHistory` keeps the
bytes of each second for graphs, and `WindowMeter` measures the transfers and ingests of this
process.
"""

from __future__ import annotations

from array import array
from collections import deque

from contentui.monitor.clock import SECOND_NS

HISTORY_S = 300
"""Seconds of history that are kept."""
WINDOW_S = 5.0
"""Seconds over which `WindowMeter` measures."""
FIRST_S = 0.5
"""Seconds before the first rate of a `WindowMeter`."""
GROWTH_WINDOW_S = 8.0
"""Seconds over which `GrowthMeter` measures: what grew is timed to a tick, so to 3 % over these."""
_WINDOW_NS = int(GROWTH_WINDOW_S * SECOND_NS)
_LEAST_GROWTHS = 4
"""Growths over which `GrowthMeter` measures at least, however long ago they were."""
_CONTINUOUS_NS = 2 * SECOND_NS
"""A pause up to this never begins a new measurement."""
_OVERDUE = 1.75
"""Times the longest pause after which the next byte is overdue; at least two checks."""
_RESUMED = 4
"""Times the longest pause after which what comes begins a new measurement."""
_UNKNOWN_NS = 10 * SECOND_NS
"""How long a rate may be unknown; without a byte for longer it is 0."""


class GrowthMeter:
    """Bytes per second between the moments at which something was seen to grow.

    The first growth only begins the measurement: its bytes may have been held back in a buffer for
    any time. From the second one on the rate is the bytes that came since the first growth of the
    last `GROWTH_WINDOW_S`, and at least over four growths, so that clients that write a buffer at
    a time have the rate of their source. It falls to 0 when the next byte is overdue: after two
    checks without one that are longer than the pauses so far.

    Args:
        now_ns: the time of the first check, by a clock that never jumps.
        longest_s: the longest pause between two growths that belong together, seconds.
    """

    __slots__ = ("_belong_ns", "_checks", "_growths", "_longest_ns", "_since_ns", "_sum")

    def __init__(self, now_ns: int, longest_s: float = 60.0) -> None:
        self._belong_ns = int(longest_s * SECOND_NS)
        self._since_ns = now_ns
        """When it last grew, or the first check."""
        self._growths: deque[tuple[int, int]] = deque()
        """When it grew, and the sum of all bytes by then."""
        self._sum = 0
        self._longest_ns = 0
        self._checks = 0
        """Checks since the last growth."""

    def add(self, grown: int, now_ns: int) -> None:
        """Count ``grown`` bytes that came since the last check."""
        if grown <= 0:
            self._checks += 1
            return
        growths = self._growths
        if growths:
            pause_ns = now_ns - growths[-1][0]
            if pause_ns > min(_CONTINUOUS_NS, self._belong_ns) and self._is_resumed_after(pause_ns):
                self.reset()
            else:
                # The longest pause counts less with each growth, so that a fast start recovers.
                self._longest_ns = max(pause_ns, self._longest_ns * 9 // 10)
        self._checks, self._since_ns = 0, now_ns
        self._sum += grown
        growths.append((now_ns, self._sum))
        while len(growths) > _LEAST_GROWTHS and growths[1][0] <= now_ns - _WINDOW_NS:
            growths.popleft()

    def reset(self) -> None:
        """It was begun anew: the next growth is the first one."""
        self._growths.clear()
        self._longest_ns = self._checks = 0

    def rate(self, now_ns: int) -> float | None:
        """Bytes per second; 0.0 when the next byte is overdue; None: not known yet."""
        silent_ns = now_ns - self._since_ns
        if len(self._growths) < 2:
            return None if silent_ns < _UNKNOWN_NS else 0.0
        if self._checks >= 2 and silent_ns > _OVERDUE * self._longest_ns:
            return 0.0
        (first_ns, first), (last_ns, last) = self._growths[0], self._growths[-1]
        return (last - first) * SECOND_NS / (last_ns - first_ns)

    def _is_resumed_after(self, pause_ns: int) -> bool:
        if len(self._growths) < 2:
            return pause_ns > self._belong_ns
        return pause_ns > min(_RESUMED * self._longest_ns, self._belong_ns)


class RateHistory:
    """The exact bytes of each second. Pure: the clock comes in with each call.

    Growth between two calls is spread evenly over the gap.

    Args:
        now_ns: the time of the first call, by a clock that never jumps.
    """

    __slots__ = ("_at", "_bucket_end", "_filling", "_seconds")

    def __init__(self, now_ns: int) -> None:
        self._at = now_ns
        self._bucket_end = now_ns + SECOND_NS
        self._filling = 0.0
        self._seconds: array[float] | None = None

    def add(self, grown: int, now_ns: int) -> None:
        """Count ``grown`` bytes that came since the last call."""
        gap_ns = now_ns - self._at
        if gap_ns > 0 and now_ns >= self._bucket_end:
            self._spread(grown * SECOND_NS / gap_ns, now_ns)
        else:
            self._filling += grown
        self._at = max(now_ns, self._at)

    def rest(self, now_ns: int) -> None:
        """Nothing came until now."""
        if now_ns > self._at:
            self.add(0, now_ns)

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
