"""One ingest under watch: what its looks have shown so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.content.model import Liveness
from contentui.monitor.clock import SECOND_NS
from contentui.monitor.model import IngestRow, Verdict
from contentui.monitor.rates import BurstMeter, RateMeter, eta_s
from contentui.monitor.verdict import ARRIVING, is_plain, judge

if TYPE_CHECKING:
    from contentui.content.model import Holder, Status
    from contentui.monitor.clock import Now
    from contentui.monitor.model import Thresholds

LATELY_NS = 10 * SECOND_NS
"""An ingest that grew within this is looked at on each tick."""
SECOND_LOOK_NS = 150_000_000
"""Only a look at least this much later confirms that an ingest is silent."""

SILENT = frozenset({Verdict.STALLED, Verdict.ABANDONED, Verdict.HOLDER_UNKNOWN})
"""Verdicts that silence brings, and the next byte ends."""


class Tracked:
    """One ingest, from our first look at it to its end.

    Args:
        status: the first look.
        now: its moment.
        silent_ns: how long it had been silent by then, as far as that can be believed.
    """

    __slots__ = (
        "_active_since",
        "_bursts",
        "_grew_at",
        "_seen_at",
        "_slow",
        "_slow_at",
        "asked_at",
        "first_at",
        "held",
        "holder",
        "last_byte_ns",
        "meter",
        "quiet_since",
        "row",
        "status",
        "sure",
    )

    def __init__(self, status: Status, now: Now, silent_ns: int) -> None:
        self.status = status
        self.row: IngestRow | None = None
        self.meter = RateMeter(now.mono)
        self._bursts = BurstMeter()
        self.held = Liveness.UNKNOWN
        self.holder: Holder | None = None
        self.sure = False
        """A later look has confirmed, or corrected, what the first one suggested."""
        self.first_at = now.mono
        self.asked_at = -1
        """When its holder was asked for last; -1: ask now."""
        self.quiet_since = now.mono - silent_ns
        self.last_byte_ns = status.updated_ns
        self._grew_at: int | None = None
        self._seen_at = now.mono
        self._active_since = now.mono
        self._slow = False
        self._slow_at = now.mono

    @property
    def verdict(self) -> Verdict:
        return Verdict.MOVING if self.row is None else self.row.verdict

    def silent_ns(self, now: Now) -> int:
        return now.mono - self.quiet_since

    def is_lively(self, now: Now) -> bool:
        """Whether it deserves a look on each tick."""
        lately = now.mono - self.quiet_since < LATELY_NS
        return not self.sure or lately or self._bursts.rate(now.mono) > 0

    def see(self, status: Status, now: Now) -> int:
        """Take the result of a look; return how many bytes have arrived since the last one."""
        old = self.status
        same_bytes = status.offset == old.offset and status.started_ns == old.started_ns
        if same_bytes and status.updated_ns <= old.updated_ns:
            return self._see_same(status, now)  # a time that was set back is no sign of life
        grown = status.offset - old.offset
        if grown < 0 or status.started_ns != old.started_ns:
            grown = status.offset  # it started over
        if now.mono - self.quiet_since >= LATELY_NS:
            self._wake(now)
        self.status = status
        self.sure = True
        self.quiet_since = now.mono
        if grown > 0:
            self._bursts.grew(grown, now.mono)
            self._grew_at = now.mono
            self.last_byte_ns = now.wall
        self.meter.add(grown, now.mono)
        self._seen_at = now.mono
        return grown

    def _see_same(self, status: Status, now: Now) -> int:
        if status != self.status:
            self.status = status
        if now.mono - self.quiet_since < LATELY_NS:
            self.meter.add(0, now.mono)
        if not self.sure and now.mono - self.first_at >= SECOND_LOOK_NS:
            self.sure = True
        self._seen_at = now.mono
        return 0

    def _wake(self, now: Now) -> None:
        """After a silence: the growth belongs to the time since the last look, not to all of it."""
        self.meter.rest(self._seen_at)
        if self.verdict in SILENT:
            self._active_since = now.mono
            self._slow, self._slow_at = False, now.mono
        if self.held is not Liveness.HELD:
            self.asked_at = -1

    def hold(self, holder: Holder | None, held: Liveness, now: Now) -> bool:
        """Take what is known about its writer; True when that is news."""
        self.asked_at = now.mono
        if held is self.held and holder == self.holder:
            return False
        self.held, self.holder = held, holder
        return True

    def wants_holder(self, now: Now, stalled_ns: int) -> bool:
        """Whether its writer must be asked for: news, or it fell silent since the last time."""
        if self.asked_at < 0:
            return True
        silent = now.mono - self.quiet_since
        if silent < LATELY_NS:
            return silent >= stalled_ns > self.asked_at - self.quiet_since
        since = self.asked_at - self.quiet_since
        return since < LATELY_NS or since < stalled_ns <= silent

    def judge(self, now: Now, thresholds: Thresholds) -> IngestRow | None:
        """Its new row where something about it changed, else None."""
        silent_ns = now.mono - self.quiet_since
        arriving = self._grew_at is not None and now.mono - self._grew_at < LATELY_NS
        slow = self._grew_at is not None and self._is_slow(now, thresholds)
        old, status = self.row, self.status
        if silent_ns == 0 and arriving and not slow and is_plain(status):
            verdict, reason = ARRIVING  # what most are when it matters how long this takes
        else:
            verdict, reason = judge(
                status,
                liveness=self.held,
                silent_s=silent_ns / SECOND_NS,
                thresholds=thresholds,
                arriving=arriving,
                sure=self.sure,
                slow=slow,
                served=self.holder is not None and self.holder.serves,
            )
        rate = self._rate(verdict, now, thresholds, arriving=arriving)
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
            status, verdict, reason, self.held, self.holder, rate, eta, self.last_byte_ns
        )
        return self.row

    def _rate(self, verdict: Verdict, now: Now, thresholds: Thresholds, *, arriving: bool) -> float:
        if verdict is Verdict.TRICKLE:
            return self.meter.mean(thresholds.trickle_window_s, now.mono)
        bursts = self._bursts.rate(now.mono)
        if bursts >= 1.0 and verdict is Verdict.MOVING:
            return bursts
        rate = self.meter.rate
        return rate if arriving and rate >= 1.0 else 0.0

    def _is_slow(self, now: Now, thresholds: Thresholds) -> bool:
        """Whether it trickles; looked at once a second, and only after a whole window of life."""
        window_s = thresholds.trickle_window_s
        if now.mono - self._slow_at >= SECOND_NS:
            self._slow_at = now.mono
            lived = now.mono - self._active_since >= window_s * SECOND_NS
            self._slow = lived and (
                self.meter.mean(window_s, now.mono) < thresholds.trickle_bytes_s
            )
        return self._slow
