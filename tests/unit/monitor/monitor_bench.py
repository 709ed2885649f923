"""A clock that tests turn by hand, and a store that they can break."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.monitor.monitor import Monitor
from contentui.present.events import event_text
from contentui.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from contentui.content.model import Holder, IngestId, Status
    from contentui.content.traits import Roles
    from contentui.monitor.model import IngestRow, StoreView
    from contentui.monitor.states import Thresholds


def sentences(view: StoreView) -> tuple[str, ...]:
    """A view's events as they are printed."""
    return tuple(map(event_text, view.events))


START = 1_700_000_000 * 10**9


class HandClock:
    """Both clocks; `go` moves them together, `jump` the wall clock alone."""

    def __init__(self) -> None:
        self.mono = 5 * 10**9
        self.wall = START

    def mono_ns(self) -> int:
        return self.mono

    def wall_ns(self) -> int:
        return self.wall

    def go(self, seconds: float) -> None:
        self.mono += round(seconds * 1e9)
        self.wall += round(seconds * 1e9)

    def jump(self, seconds: float) -> None:
        self.wall += round(seconds * 1e9)


class Breakable(MemoryStore):
    """A memory store that fails when told to, names its ingests, and counts what it is asked."""

    def __init__(self, clock: HandClock) -> None:
        super().__init__("memory", clock.wall_ns)
        self.error: Exception | None = None
        self.blind = False
        self.full_scans = 0
        self.refreshed: list[int] = []
        self.asked_holders = 0

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error

    @property
    def roles(self) -> Roles:
        return super().roles._replace(ingest_listing=self)

    def ingests_version(self) -> None:
        return None

    def ingest_ids(self) -> list[IngestId]:
        self._fail()
        return list(self._ingests)

    def statuses(self, filters: Sequence[str] = ()) -> list[Status]:
        self._fail()
        self.full_scans += 1
        return super().statuses(filters)

    def refresh(self, statuses: Sequence[Status]) -> list[Status | None]:
        self._fail()
        self.refreshed.append(len(statuses))
        return super().refresh(statuses)

    def holders(self, ids: Iterable[IngestId]) -> Mapping[IngestId, Holder]:  # type: ignore[override]
        self.asked_holders += 1
        return None if self.blind else super().holders(ids)  # type: ignore[return-value]


class Bench:
    """A store, a monitor on it, and the time."""

    def __init__(self, thresholds: Thresholds | None = None) -> None:
        self.clock = HandClock()
        self.store = Breakable(self.clock)
        self.monitor = Monitor(self.store, thresholds=thresholds, clock=self.clock)

    def tick(self, seconds: float = 0.25) -> StoreView:
        self.clock.go(seconds)
        return self.monitor.tick()

    def run(self, seconds: float, each: float = 0.25) -> StoreView:
        for _ in range(round(seconds / each)):
            view = self.tick(each)
        return view

    def row(self, view: StoreView, ref: str) -> IngestRow:
        return next(row for row in view.ingests if row.status.ref == ref)
