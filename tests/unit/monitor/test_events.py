"""Events are typed values, counters only grow, and each event has one sentence."""

from __future__ import annotations

from itertools import pairwise
from typing import get_args

import pytest
from monitor_bench import Bench

from contentui.content.digest import Digest
from contentui.content.model import Info, Status, ingest_id
from contentui.monitor import events
from contentui.monitor.events import Counters
from contentui.monitor.states import IngestState
from contentui.present.events import event_text

STATUS = Status("a\x1b[31m", 5, 10, 1, 1, None, ingest_id("a"))
INFO = Info(Digest.of(b"x"), 1, 1, 1, {})
EVERY = [
    events.IngestAppeared(STATUS),
    events.IngestStateChanged(STATUS, IngestState.MOVING, IngestState.QUIET),
    events.IngestCommitted(STATUS, INFO),
    events.IngestGone(STATUS),
    events.BlobAdded(INFO),
    events.BlobRemoved(INFO),
    events.ConnectionLost("the directory is gone"),
    events.ConnectionRestored(),
    events.EventsOmitted(7),
]


def test_each_kind_has_a_sentence_that_is_safe_for_a_terminal() -> None:
    assert {type(event) for event in EVERY} == set(get_args(events.Event))
    assert len({event_text(event) for event in EVERY}) == len(EVERY)
    assert all(event_text(event).isprintable() for event in EVERY)


@pytest.mark.parametrize("event", EVERY)
def test_an_event_raises_at_most_its_own_counter(event: events.Event) -> None:
    counters = Counters().plus([event], 3)
    assert counters.received_bytes == 3
    assert sum(counters[1:]) == (type(event) in events._COUNTED)


def test_counters_only_grow() -> None:
    bench = Bench()
    bench.store.writer("aborted").close()
    bench.store.put(b"there from the start")
    seen = [bench.tick().counters]
    with bench.store.writer("committed", total=5) as writer:
        seen.append(bench.tick().counters)
        writer.write(b"12345")
        writer.commit()
    bench.store.abort("aborted")
    seen.append(bench.run(2).counters)
    bench.store.put(b"without an ingest")
    bench.store.delete(Digest.of(b"there from the start"))
    seen.append(bench.run(2).counters)
    bench.store.error = OSError("gone")
    seen += [bench.tick().counters for _ in range(3)]
    assert seen[0] == Counters()
    assert seen[-1] == Counters(
        received_bytes=5 + len(b"without an ingest"),
        ingests_appeared=1,
        ingests_committed=1,
        ingests_gone=1,
        blobs_added=1,
        blobs_removed=1,
        connections_lost=1,
    )
    for before, after in pairwise(seen):
        assert all(old <= new for old, new in zip(before, after, strict=True))
