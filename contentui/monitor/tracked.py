"""One ingest: its rate, silence and holder, from the checks so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.content.model import Liveness
from contentui.monitor.clock import SECOND_NS
from contentui.monitor.model import IngestRow
from contentui.monitor.rates import GrowthMeter, RateHistory, eta_s
from contentui.monitor.states import ARRIVING, IngestState, ingest_state, is_plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from contentui.content.model import Holder, Status
    from contentui.monitor.clock import Now
    from contentui.monitor.states import Thresholds

RECENT_NS = 10 * SECOND_NS
"""An ingest that grew within this is checked on each tick."""
CONFIRM_AFTER_NS = 150_000_000
"""Only a check at least this much later confirms that an ingest is silent."""

SILENT = frozenset({IngestState.STALLED, IngestState.ABANDONED, IngestState.UNKNOWN})
"""States caused by silence; the next byte ends them."""


class TrackedIngest:
    """One ingest, from its first check to its end.

    Args:
        status: the result of the first check.
        now: the time of that check.
        silent_ns: how long it had been silent by then, as far as that can be believed.
        source: the name of its store.
    """

    __slots__ = (
        "_active_since",
        "_grew_at",
        "_growth",
        "_seen_at",
        "_slow",
        "_slow_at",
        "_source",
        "confirmed",
        "first_at",
        "held",
        "history",
        "holder",
        "holder_checked_at",
        "last_byte_ns",
        "quiet_since",
        "row",
        "status",
    )

    def __init__(self, status: Status, now: Now, silent_ns: int, source: str = "") -> None:
        self.status = status
        self._source = source
        self.row: IngestRow | None = None
        self.history = RateHistory(now.mono)
        self._growth = GrowthMeter(now.mono)
        self.held = Liveness.UNKNOWN
        self.holder: Holder | None = None
        self.confirmed = False
        """A later check has confirmed or corrected the first one."""
        self.first_at = now.mono
        self.holder_checked_at = -1
        """When its holder was read last; -1: read it now."""
        self.quiet_since = now.mono - silent_ns
        self.last_byte_ns = now.wall - silent_ns if status.updated_ns > 0 else 0
        self._grew_at: int | None = None
        self._seen_at = now.mono
        self._active_since = now.mono
        self._slow = False
        self._slow_at = now.mono

    @property
    def state(self) -> IngestState:
        return IngestState.MOVING if self.row is None else self.row.state

    @property
    def has_grown(self) -> bool:
        """Whether it was seen to grow."""
        return self._grew_at is not None

    def silent_ns(self, now: Now) -> int:
        return now.mono - self.quiet_since

    def is_active(self, now: Now) -> bool:
        """Whether it is checked on each tick."""
        recent = now.mono - self.quiet_since < RECENT_NS
        return not self.confirmed or recent or bool(self._growth.rate(now.mono))

    def see(self, status: Status, now: Now) -> int:
        """Take the result of a check; return the bytes that arrived since the last one."""
        old = self.status
        if status.offset == old.offset and status.started_ns == old.started_ns:
            return self._see_same(status, now)  # a daemon sets the time when a client dies too
        grown = status.offset - old.offset
        if grown < 0 or status.started_ns != old.started_ns:
            grown = status.offset  # it started over
            self._growth.reset()
        if now.mono - self.quiet_since >= RECENT_NS:
            self._wake(now)
        self.status = status
        self.confirmed = True
        self.quiet_since = now.mono
        if grown > 0:
            self._grew_at = now.mono
            self.last_byte_ns = now.wall
            if self.held is Liveness.FREE and now.mono - self.holder_checked_at >= SECOND_NS:
                self.holder_checked_at = -1
        self._growth.add(grown, now.mono)
        self.history.add(grown, now.mono)
        self._seen_at = now.mono
        return grown

    def _see_same(self, status: Status, now: Now) -> int:
        if status != self.status:
            self.status = status
        self._growth.add(0, now.mono)
        if now.mono - self.quiet_since < RECENT_NS:
            self.history.add(0, now.mono)
        if not self.confirmed and now.mono - self.first_at >= CONFIRM_AFTER_NS:
            self.confirmed = True
        self._seen_at = now.mono
        return 0

    def _wake(self, now: Now) -> None:
        """After a silence: count the growth for the time since the last check only."""
        self.history.rest(self._seen_at)
        if self.state in SILENT:
            self._active_since = now.mono
            self._slow, self._slow_at = False, now.mono
        if self.held is not Liveness.HELD:
            self.holder_checked_at = -1

    def hold(self, holder: Holder | None, held: Liveness, now: Now) -> bool:
        """Take what is known about its writer; returns whether that changed."""
        self.holder_checked_at = now.mono
        if held is self.held and holder == self.holder:
            return False
        self.held, self.holder = held, holder
        return True

    def needs_holder_check(self, now: Now, steps_ns: Iterable[int]) -> bool:
        """Whether its holder must be read: its silence passed one of ``steps_ns`` since."""
        if self.holder_checked_at < 0:
            return True
        silent = now.mono - self.quiet_since
        before = self.holder_checked_at - self.quiet_since
        return any(before < step <= silent for step in steps_ns)

    def judge(self, now: Now, thresholds: Thresholds) -> IngestRow | None:
        """Its new row where something about it changed, else None."""
        silent_ns = now.mono - self.quiet_since
        grown_ns = None if self._grew_at is None else now.mono - self._grew_at
        slow = grown_ns is not None and self._is_slow(now, thresholds)
        old, status = self.row, self.status
        if grown_ns == 0 and not slow and is_plain(status):
            state, reason = ARRIVING  # what most are when it matters how long this takes
        else:
            state, reason = ingest_state(
                status,
                liveness=self.held,
                silent_s=silent_ns / SECOND_NS,
                thresholds=thresholds,
                grown_s=None if grown_ns is None else grown_ns / SECOND_NS,
                confirmed=self.confirmed,
                slow=slow,
                served=self.holder is not None and self.holder.daemon is not None,
            )
        rate = self._rate(state, now, thresholds)
        if (
            old is not None
            and old.status is status
            and old.reason == reason
            and old.rate == rate
            and old.liveness is self.held
            and old.holder == self.holder
            and old.last_byte_ns == self.last_byte_ns
        ):
            return None
        eta = eta_s(status.offset, status.total, rate) if rate else None
        self.row = IngestRow(
            status,
            state,
            reason,
            self.held,
            self.holder,
            rate,
            eta,
            self.last_byte_ns,
            source=self._source,
        )
        return self.row

    def _rate(self, state: IngestState, now: Now, thresholds: Thresholds) -> float | None:
        if state is IngestState.TRICKLE:
            return self.history.mean(thresholds.trickle_window_s, now.mono)
        if state is not IngestState.MOVING and state is not IngestState.QUIET:
            return 0.0
        rate = self._growth.rate(now.mono)
        if rate is None:
            return None if state is IngestState.MOVING else 0.0
        return rate if rate >= 1.0 else 0.0

    def _is_slow(self, now: Now, thresholds: Thresholds) -> bool:
        """Whether it trickles; computed once a second, after a whole window of activity."""
        window_s = thresholds.trickle_window_s
        if now.mono - self._slow_at >= SECOND_NS:
            self._slow_at = now.mono
            lived = now.mono - self._active_since >= window_s * SECOND_NS
            self._slow = lived and (
                self.history.mean(window_s, now.mono) < thresholds.trickle_bytes_s
            )
        return self._slow
