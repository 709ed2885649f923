"""The ingests of a store: which to check on a tick, and the results."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from contentui.content.errors import FailedPrecondition, NotFound, PermissionDenied
from contentui.content.helpers import lock_holders, refresh_statuses
from contentui.content.model import Liveness
from contentui.monitor.clock import SECOND_NS, ClockJumpDetector, Now
from contentui.monitor.states import GROWING_S, UNCONFIRMED_REASON
from contentui.monitor.tracked import RECENT_NS, TrackedIngest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable, Mapping

    from contentui.content.model import Holder, IngestId, Status
    from contentui.content.store import Store
    from contentui.monitor.hint_queue import ScanRequest
    from contentui.monitor.model import IngestRow
    from contentui.monitor.states import IngestState, Thresholds

_MANY_NEW = 64
"""From this many new ingests on, one full scan is cheaper than a call for each."""
_NEVER = 1 << 63
_MANY_ACTIVE = 200
"""From this many active ingests on, those that are not on a screen are checked once a second."""
_PENDING_NS = SECOND_NS // 2
_FULL_SHARE = 10
"""Full scans outside the reconcile may take one part in this many of the time."""
_REMOTE_SHARE = 20
"""The same without an `IngestListing`, where a scan costs a daemon's time."""
_HOLDERS_NS = SECOND_NS
"""How often the holders of all are read where each tick is a scan, nanoseconds."""
_PRECISE_NS = 3 * SECOND_NS
"""How long ticks come early after a rate was unknown: what grew is timed more exactly."""
_MOST_PRECISE = 64
"""With more active ingests ticks don't come early."""
_FEW = 16
"""Most ingests that are read one by one between two scans of a remote store."""


class Changes:
    """What one tick found.

    Attributes:
        grown: bytes that arrived.
        unrated: those of them that no row's rate counts: in ingests that were new, or are complete.
        appeared: new ingests.
        gone: ingests that are no longer there.
        state_changes: those whose state changed, with the one before.
    """

    __slots__ = ("appeared", "gone", "grown", "state_changes", "unrated")

    def __init__(self) -> None:
        self.grown = 0
        self.unrated = 0
        self.appeared: list[TrackedIngest] = []
        self.gone: list[TrackedIngest] = []
        self.state_changes: list[tuple[TrackedIngest, IngestState]] = []

    def grew(self, tracked: TrackedIngest, size: int, *, new: bool = False) -> None:
        """Count ``size`` bytes that arrived in an ingest; ``new``: it was not there before."""
        self.grown += size
        if new or tracked.status.is_complete:
            self.unrated += size


class IngestTracker:
    """The ingests of one store.

    A tick checks those that were hinted, are in focus, moved in the last ten seconds or wait
    for their second check; it compares the names of all where the store can list them cheaply;
    and it scans everything on the reconcile. A store that can't list names, being remote, is
    scanned on each tick, as far as one part in twenty of the time allows; in between a few that
    move are read one by one.
    """

    def __init__(
        self, store: Store, thresholds: Thresholds, reconcile_s: float, mono: Callable[[], int]
    ) -> None:
        self._store = store
        self._source = store.name
        self._thresholds = thresholds
        quiet_ns = int(thresholds.quiet_after_s * SECOND_NS)
        self._silence_steps_ns = tuple(
            sorted({quiet_ns, int(thresholds.stalled_after_s * SECOND_NS)})
        )
        """Silences that change a state."""
        self._reconcile_ns = int(reconcile_s * SECOND_NS)
        self._mono = mono
        self._listing = store.roles.ingest_listing
        self._holder_steps_ns = {RECENT_NS, *self._silence_steps_ns}
        """Silences after which holders are read again."""
        if self._listing is not None:  # where a lookup costs no daemon's time
            self._holder_steps_ns.add(int(GROWING_S * SECOND_NS))
        self._version: Hashable = None
        self._all: dict[str, TrackedIngest] = {}
        self._rows: dict[str, IngestRow] = {}
        self._row_tuple: tuple[IngestRow, ...] | None = ()
        self._counts: Counter[IngestState] = Counter()
        self._active: set[str] = set()
        self._round: list[str] = []
        """Active ones that are still to be checked this second."""
        self._turned_at = 0
        self._waiting: dict[str, int] = {}
        """Silent ones whose state will change, with the time when it does."""
        self._next_due = _NEVER
        self._pending: dict[str, int] = {}
        """Names without a readable ingest, possibly being created; when to try again."""
        self._jumps = ClockJumpDetector()
        self._unconfirmed: set[str] = set()
        """Those that were seen only once."""
        self._first = True
        self._full_at: int | None = None
        self._full_wanted = False
        self._full_cost_ns = 0
        self._few_at = 0
        self._few_cost_ns = 0
        self._holders_checked_at: int | None = None
        """When the holders of all were read last."""
        self._precise_until = 0
        self._names_at = 0
        self._focus_asked_at = 0

    def __len__(self) -> int:
        return len(self._all)

    @property
    def needs_confirmation(self) -> bool:
        """Whether some ingest was seen only once."""
        return bool(self._unconfirmed)

    def needs_precision(self, mono: int) -> bool:
        """Whether early ticks make the first rate of an ingest more exact."""
        return mono < self._precise_until and len(self._active) <= _MOST_PRECISE

    @property
    def is_active(self) -> bool:
        """Whether some ingest moves, moved recently, or is being created."""
        return bool(self._active or self._pending)

    def are_active(self, ids: Collection[str]) -> bool:
        """Whether each tick checks all of these. From any thread."""
        return self._active.issuperset(ids)

    def rows(self) -> tuple[IngestRow, ...]:
        """All rows; the same tuple when none changed."""
        if self._row_tuple is None:
            self._row_tuple = tuple(self._rows.values())
        return self._row_tuple

    def counts(self) -> dict[IngestState, int]:
        """How many ingests have each state that occurs."""
        return {state: count for state, count in self._counts.items() if count}

    def history(self, ingest: str, now_ns: int) -> tuple[float, ...]:
        """Bytes per second, second by second, oldest first; empty for an unknown ingest."""
        tracked = self._all.get(ingest)
        return () if tracked is None else tracked.history.history(now_ns)

    def invalidate(self) -> None:
        """Scan everything on the next tick."""
        self._full_at = self._holders_checked_at = self._version = None

    def tick(self, now: Now, request: ScanRequest, *, announced: bool) -> Changes:
        """Read what changed.

        Args:
            now: the time of the tick.
            request: what to check besides.
            announced: the kernel notifies of changes: names need not be compared on each tick.

        Raises:
            ContentError: the store can't be read. The next successful tick completes the work.
        """
        self._jumps.see(now)
        self._full_wanted |= request.everything
        changes = Changes()
        if self._full_is_due(now):
            touched = self._scan(now, changes)
        elif self._listing is None:
            touched = self._read_few(now, request, changes)
        else:
            self._compare_names(now, request, changes, announced=announced)
            touched = self._read(self._to_check(now, request), now, changes)
        touched.update(tracked.status.id for tracked in changes.appeared)
        touched |= self._ask_holders(touched, now, request)
        self._judge(touched, now, changes)
        if self._first:
            self._first, changes.appeared = False, []
        return changes

    def _full_is_due(self, now: Now) -> bool:
        if self._full_at is None:
            return True
        age = now.mono - self._full_at
        if age >= self._reconcile_ns:
            return True
        if self._full_wanted and age >= self._full_cost_ns * _FULL_SHARE:
            return True
        return self._listing is None and age >= self._full_cost_ns * _REMOTE_SHARE

    def _scan(self, now: Now, changes: Changes) -> set[str]:
        began, thorough = self._mono(), self._checks_all_holders(now)
        found: dict[str, Status] = {status.id: status for status in self._store.statuses()}
        for key in self._all.keys() - found.keys():
            self._drop(key, changes)
        touched = self._active | self._due(now)
        for key, status in found.items():
            tracked = self._all.get(key)
            if tracked is None:
                self._begin(status, now, changes)
                continue
            before = tracked.status
            changes.grew(tracked, tracked.see(status, now))
            if tracked.status is not before:
                touched.add(key)
            if thorough and (
                tracked.held is not Liveness.HELD or tracked.silent_ns(now) >= RECENT_NS
            ):
                tracked.holder_checked_at = -1
        self._pending.clear()
        if thorough:
            self._holders_checked_at = now.mono
        self._full_at, self._full_wanted = now.mono, False
        self._full_cost_ns = self._mono() - began
        return touched

    def _checks_all_holders(self, now: Now) -> bool:
        """Whether this scan reads all holders; not each time where each tick is a scan."""
        at = self._holders_checked_at
        if self._listing is not None or at is None or self._full_wanted:
            return True
        return now.mono - at >= _HOLDERS_NS

    def _compare_names(
        self, now: Now, request: ScanRequest, changes: Changes, *, announced: bool
    ) -> None:
        if self._listing is None:
            return
        since = now.mono - self._names_at
        if announced and since < SECOND_NS and request.ids <= self._all.keys():
            return
        if not self._names_may_differ() and not self._pending:
            return
        self._names_at = now.mono
        names: set[str] = set(self._listing.ingest_ids())
        for key in self._all.keys() - names:
            self._drop(key, changes)
        new = names - self._all.keys() - self._pending.keys()
        if self._pending:
            again = [key for key, due in self._pending.items() if due <= now.mono and key in names]
            new.update(again[: _MANY_NEW // 2])
        for status in self._read_new(new, now) if new else ():
            self._begin(status, now, changes)

    def _names_may_differ(self) -> bool:
        if self._listing is None:
            return True
        before, self._version = self._version, self._listing.ingests_version()
        return before is None or before != self._version

    def _read_new(self, new: set[str], now: Now) -> list[Status]:
        if len(new) >= _MANY_NEW:
            statuses = [status for status in self._store.statuses() if status.id in new]
        else:
            statuses = []
            for key in new:
                try:
                    statuses.append(self._store.status(key))
                except NotFound:
                    continue
        for key in new:
            self._pending.pop(key, None)
        pending = new.difference(status.id for status in statuses)
        self._pending.update(dict.fromkeys(pending, now.mono + _PENDING_NS))
        return [status for status in statuses if status.id in new]

    def _to_check(self, now: Now, request: ScanRequest) -> list[TrackedIngest]:
        keys = self._turn(now, request) | (request.focus & self._all.keys()) | self._due(now)
        return [self._all[key] for key in keys]

    def _due(self, now: Now) -> set[str]:
        """Those whose silence changes their state now."""
        if now.mono < self._next_due:
            return set()
        later = [due for due in self._waiting.values() if due > now.mono]
        self._next_due = min(later, default=_NEVER)
        return {key for key, due in self._waiting.items() if due <= now.mono}

    def _turn(self, now: Now, request: ScanRequest) -> set[str]:
        """The active and the hinted; with many active, a share of them on each tick."""
        since, self._turned_at = now.mono - self._turned_at, now.mono
        hinted = request.ids & self._all.keys()
        if not request.focus or len(self._active) < _MANY_ACTIVE:
            return self._active | hinted
        share = min(since / SECOND_NS, 1.0) * len(self._active)
        if not self._round:
            self._round = list(self._active)
        due = self._round[-int(share) - 1 :]
        del self._round[-len(due) :]
        return self._active.intersection(due) | self._unconfirmed | (hinted - self._active)

    def _read(self, those: list[TrackedIngest], now: Now, changes: Changes) -> set[str]:
        if not those:
            return set()
        touched: set[str] = set()
        statuses = refresh_statuses(self._store, [tracked.status for tracked in those])
        if self._listing is not None and None in statuses:
            self._listing.ingest_ids()  # raises if the whole store is gone
        for tracked, status in zip(those, statuses, strict=True):
            key = tracked.status.id
            if status is None:
                self._drop(key, changes)
            else:
                changes.grew(tracked, tracked.see(status, now))
                touched.add(key)
        return touched

    def _read_few(self, now: Now, request: ScanRequest, changes: Changes) -> set[str]:
        """Read those that are hinted, and those that move, if they are few: each costs a call."""
        keys = set(request.ids & self._all.keys())
        if now.mono - self._few_at >= self._few_cost_ns * _REMOTE_SHARE:
            moving = {key for key in self._active if self._all[key].confirmed}
            keys |= moving if len(moving) <= _FEW else moving & request.focus
        elif not keys:
            return set()
        touched, began = set(), self._mono()
        for key in list(keys)[:_FEW]:
            tracked = self._all[key]
            try:
                changes.grew(tracked, tracked.see(self._store.status(tracked.status.id), now))
                touched.add(key)
            except NotFound:
                self._drop(key, changes)
        self._few_at, self._few_cost_ns = now.mono, self._mono() - began
        return touched

    def _begin(self, status: Status, now: Now, changes: Changes) -> None:
        silent_ns = self._jumps.believed_age_ns(status.updated_ns, now)
        self._all[status.id] = tracked = TrackedIngest(status, now, silent_ns, self._source)
        self._active.add(status.id)
        changes.appeared.append(tracked)
        young = self._jumps.believed_age_ns(status.started_ns, now) < RECENT_NS
        if young and not self._first:  # else its bytes arrived before the monitor began
            changes.grew(tracked, status.offset, new=True)

    def _drop(self, key: str, changes: Changes) -> None:
        tracked = self._all.pop(key)
        self._active.discard(key)
        self._unconfirmed.discard(key)
        self._waiting.pop(key, None)
        if self._rows.pop(key, None) is not None:
            self._counts[tracked.state] -= 1
            self._row_tuple = None
        changes.gone.append(tracked)

    def _ask_holders(self, touched: set[str], now: Now, request: ScanRequest) -> set[str]:
        """Read the holders that may have changed; return the ids for which they did."""
        known, steps_ns = self._all, self._holder_steps_ns
        asked = known.keys() if self._holders_checked_at == now.mono else touched
        ask = {key for key in asked if known[key].needs_holder_check(now, steps_ns)}
        if request.focus and now.mono - self._focus_asked_at >= SECOND_NS:
            self._focus_asked_at = now.mono
            ask |= request.focus & known.keys()
        if not ask:
            return ask
        holders = self._holders([known[key].status.id for key in ask])
        return {key for key in ask if self._hold(known[key], holders, now)}

    def _hold(
        self, tracked: TrackedIngest, holders: Mapping[IngestId, Holder] | None, now: Now
    ) -> bool:
        if holders is None:
            return tracked.hold(None, Liveness.UNKNOWN, now)
        holder = holders.get(tracked.status.id)
        return tracked.hold(holder, Liveness.HELD if holder else Liveness.FREE, now)

    def _holders(self, ids: list[IngestId]) -> Mapping[IngestId, Holder] | None:
        try:
            return lock_holders(self._store, ids)
        except (PermissionDenied, FailedPrecondition):
            return None

    def _judge(self, touched: Iterable[str], now: Now, changes: Changes) -> None:
        known, rows, counts = self._all, self._rows, self._counts
        for key in touched:
            tracked = known[key]
            old = tracked.row
            row = tracked.judge(now, self._thresholds)
            if row is not None:
                rows[key] = row
                self._row_tuple = None
                if row.rate is None and tracked.has_grown:
                    self._precise_until = now.mono + _PRECISE_NS
                if old is None:
                    counts[row.state] += 1
                elif old.state is not row.state:
                    counts[old.state] -= 1
                    counts[row.state] += 1
                    if old.reason is not UNCONFIRMED_REASON:
                        changes.state_changes.append((tracked, old.state))
            self._plan_next(key, tracked, now)

    def _plan_next(self, key: str, tracked: TrackedIngest, now: Now) -> None:
        if tracked.confirmed:
            self._unconfirmed.discard(key)
        else:
            self._unconfirmed.add(key)
        if tracked.is_active(now):
            self._active.add(key)
            return
        self._active.discard(key)
        silent_ns = tracked.silent_ns(now)
        step_ns = next((step for step in self._silence_steps_ns if silent_ns < step), None)
        if step_ns is None:
            self._waiting.pop(key, None)
        else:
            self._waiting[key] = due = tracked.quiet_since + step_ns
            self._next_due = min(self._next_due, due)
