"""Times on disk that change without a byte are no sign of a live writer."""

from __future__ import annotations

import os

from monitor_bench import HandClock

from contentui.content.model import ingest_id
from contentui.monitor.monitor import Monitor
from contentui.monitor.states import IngestState
from contentui.stores.local.store import LocalStore


def test_an_ingest_whose_times_were_set_back_falls_silent(tmp_path):
    store = LocalStore(str(tmp_path))
    clock = HandClock()
    clock.wall = 2 * 10**18  # later than any time on this disk
    monitor = Monitor(store, clock=clock)
    with store.writer("r", total=100) as writer:
        writer.write(b"some")
        monitor.tick()
        clock.go(0.5)
        writer.write(b"more")
        monitor.tick()
        folder = tmp_path / "ingest" / ingest_id("r")
        os.utime(folder / "data", ns=(10**18, 10**18))
        for name in ("startedat", "updatedat"):
            (folder / name).unlink()
            (folder / name).write_bytes(b"2001-09-09T01:46:40Z")
        states = set()
        for _ in range(40):
            clock.go(2)
            (row,) = monitor.tick().ingests
            states.add(row.state)
        assert row.state is IngestState.STALLED
    store.close()


def test_a_time_that_advances_without_a_byte_does_not_end_the_silence(tmp_path):
    """containerd rewrites ``updatedat`` when a client dies."""
    store = LocalStore(str(tmp_path))
    clock = HandClock()
    monitor = Monitor(store, clock=clock)
    with store.writer("r", total=100) as writer:
        monitor.tick()
        writer.write(b"some")
        for _ in range(20):
            clock.go(1)
            (row,) = monitor.tick().ingests
        assert row.state is IngestState.QUIET
        silent_since = row.last_byte_ns
        later = row.status.updated_ns + 10**9
        os.utime(tmp_path / "ingest" / ingest_id("r") / "data", ns=(later, later))
        monitor.focus([ingest_id("r")])
        for _ in range(3):
            clock.go(1)
            (row,) = monitor.tick().ingests
            assert row.state is IngestState.QUIET
        assert row.status.updated_ns == later
        assert row.last_byte_ns == silent_since
    store.close()
