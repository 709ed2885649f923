"""A single command's states: two looks, and no trust in times that can't be."""

from __future__ import annotations

from monitor_bench import Breakable, HandClock

from contentui.content.model import Liveness
from contentui.monitor.glance import glance
from contentui.monitor.model import IngestRow, IngestState


def look(store: Breakable, clock: HandClock, *, during: object = None) -> dict[str, IngestRow]:
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.go(seconds)
        if callable(during):
            during()

    rows = glance(store, store.statuses(), sleep=sleep, now_ns=clock.wall_ns)
    assert slept in ([], [0.2])
    return {row.status.ref: row for row in rows}


def test_each_by_its_age_and_holder() -> None:
    clock = HandClock()
    store = Breakable(clock)
    store.writer("held")
    store.writer("free").close()
    moving = store.writer("moving")
    store.writer("gone").close()
    clock.go(31)
    store.writer("fresh")

    def during() -> None:
        moving.write(b"x")
        store.abort("gone")

    rows = look(store, clock, during=during)
    assert {ref: row.state for ref, row in rows.items()} == {
        "held": IngestState.STALLED,
        "free": IngestState.ABANDONED,
        "moving": IngestState.MOVING,
        "fresh": IngestState.MOVING,
    }
    assert rows["held"].holder is not None
    assert rows["free"].liveness is Liveness.FREE
    store.blind = True
    assert look(store, clock)["held"].state is IngestState.UNKNOWN


def test_the_future_is_not_silence() -> None:
    clock = HandClock()
    store = Breakable(clock)
    store.writer("a").close()
    clock.jump(-3600)
    row = look(store, clock)["a"]
    assert row.state is IngestState.MOVING
    assert "future" in row.reason


def test_nothing_silent_costs_no_second_look() -> None:
    clock = HandClock()
    store = Breakable(clock)
    store.writer("a")
    look(store, clock)
    assert store.refreshed == []
