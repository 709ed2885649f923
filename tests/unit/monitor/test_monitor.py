"""A monitor on a store in memory, with the time in our hands."""

from __future__ import annotations

import pytest
from monitor_bench import START, Bench, sentences

from contentui.content.digest import Digest
from contentui.content.errors import NotFound, PermissionDenied, Unavailable
from contentui.content.model import Liveness, ingest_id
from contentui.monitor.model import Freshness
from contentui.monitor.states import IngestState, Thresholds


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_an_empty_store(bench: Bench) -> None:
    view = bench.tick()
    assert view.ingests == view.blobs == sentences(view) == ()
    assert view.health.freshness is Freshness.POLLING
    assert view.health.since_ns == bench.clock.wall


def test_a_moving_one_has_rate_eta_and_holder(bench: Bench) -> None:
    with bench.store.writer("a", total=10_000_000) as writer:
        bench.tick()
        for _ in range(20):
            writer.write(bytes(100_000))
            view = bench.tick(0.25)
        row = bench.row(view, "a")
        assert row.state is IngestState.MOVING
        assert row.rate == pytest.approx(400_000, rel=0.1)
        assert row.eta_s == pytest.approx(8_000_000 / 400_000, rel=0.1)
        assert row.liveness is Liveness.HELD
        assert row.holder is not None
        assert row.last_byte_ns == bench.clock.wall
        assert view.rate == pytest.approx(400_000, rel=0.1)
        assert view.counts == {IngestState.MOVING: 1}
        history = bench.monitor.history(row.status.id)
        assert history[1:] == pytest.approx([400_000] * (len(history) - 1), rel=0.1)
        assert len(history) >= 4


def test_silence_becomes_stalled_then_abandoned_then_moves_again(bench: Bench) -> None:
    writer = bench.store.writer("a")
    bench.tick()
    writer.write(b"x" * 1000)
    assert bench.row(bench.run(9), "a").state is IngestState.MOVING
    assert bench.row(bench.run(20), "a").state is IngestState.QUIET
    view = bench.run(1.5)
    assert bench.row(view, "a").state is IngestState.STALLED
    assert view.counts == {IngestState.STALLED: 1}
    del bench.store._held[ingest_id("a")]  # as after SIGKILL: the lock is free, nothing is closed
    assert bench.row(bench.run(6), "a").state is IngestState.ABANDONED
    with bench.store.writer("a") as again:
        again.write(b"y" * 1_000_000)
        row = bench.row(bench.run(6), "a")
        assert row.state is IngestState.MOVING
        assert row.liveness is Liveness.HELD


def test_a_writer_that_dies_leaves_an_abandoned_ingest_at_once(bench: Bench) -> None:
    writer = bench.store.writer("a", total=9)
    bench.tick()
    writer.write(b"x")
    assert bench.row(bench.tick(), "a").state is IngestState.MOVING
    writer.close()
    row = bench.row(bench.run(1.5), "a")
    assert (row.state, row.liveness) == (IngestState.ABANDONED, Liveness.FREE)
    with bench.store.writer("a") as again:
        again.write(b"y")
        assert bench.row(bench.tick(), "a").state is IngestState.MOVING
        row = bench.row(bench.run(3), "a")
        assert (row.state, row.liveness) == (IngestState.MOVING, Liveness.HELD)


def test_the_change_of_a_verdict_is_an_event(bench: Bench) -> None:
    writer = bench.store.writer("evil\x1b[0m")
    bench.tick()
    writer.write(b"x")
    events = [event for _ in range(130) for event in sentences(bench.tick())]
    quiet, stalled = events
    assert quiet.endswith("moving → quiet")
    assert stalled.endswith("quiet → stalled")
    assert stalled.isprintable()


def test_one_long_silent_is_stalled_after_a_second_look_only(bench: Bench) -> None:
    writer = bench.store.writer("held")
    bench.store.writer("free").close()
    bench.clock.go(3600)
    view = bench.tick()
    assert view.counts == {IngestState.QUIET: 1, IngestState.ABANDONED: 1}
    assert bench.monitor.next_tick_s is not None
    view = bench.tick()
    assert bench.row(view, "held").state is IngestState.STALLED
    assert bench.row(view, "free").state is IngestState.ABANDONED
    assert sentences(view) == ()
    assert bench.row(view, "held").last_byte_ns == START
    assert bench.monitor.next_tick_s is None
    writer.close()


def test_a_second_look_that_finds_growth(bench: Bench) -> None:
    writer = bench.store.writer("a")
    bench.clock.go(3600)
    bench.tick()
    writer.write(b"x")
    assert bench.tick().counts == {IngestState.MOVING: 1}
    assert bench.run(9).counts == {IngestState.MOVING: 1}


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_jump_of_the_wall_clock_changes_no_verdict(bench: Bench, hours: int) -> None:
    moving, silent = bench.store.writer("moving"), bench.store.writer("silent")
    bench.tick()
    bench.run(31)

    def step() -> dict[str, IngestState]:
        moving.write(bytes(100_000))
        view = bench.tick(1)
        return {row.status.ref: row.state for row in view.ingests}

    wanted = {"moving": IngestState.MOVING, "silent": IngestState.STALLED}
    for _ in range(6):  # without hints, what wakes up is found by the reconcile
        step()
    assert step() == wanted
    bench.clock.jump(hours * 3600)
    for _ in range(20):
        assert step() == wanted
    silent.close()
    bench.store.writer("slow")
    bench.clock.jump(hours * 3600)  # what is new to us had appeared before the jump
    bench.run(1)
    assert bench.row(bench.run(20), "slow").state is IngestState.QUIET
    assert bench.row(bench.run(12), "slow").state is IngestState.STALLED


def test_a_time_in_the_future_is_no_time(bench: Bench) -> None:
    bench.clock.jump(86400)
    bench.store.writer("a")
    bench.clock.jump(-86400)
    assert bench.run(20).counts == {IngestState.QUIET: 1}
    assert bench.run(12).counts == {IngestState.STALLED: 1}


def test_a_trickle_after_two_minutes() -> None:
    bench = Bench()
    writer = bench.store.writer("a", total=10_000_000)
    bench.tick()
    states = []
    for _ in range(150):
        writer.write(bytes(10_000))
        states.append(bench.row(bench.tick(1), "a").state)
    assert set(states[:119]) == {IngestState.MOVING}
    assert set(states[123:]) == {IngestState.TRICKLE}
    row = bench.row(bench.tick(1), "a")
    assert row.rate == pytest.approx(10_000, rel=0.1)
    assert row.eta_s == pytest.approx(850_000 * 10 / 10_000, rel=0.1)
    for _ in range(40):
        writer.write(bytes(100_000))
        view = bench.tick(1)
    assert bench.row(view, "a").state is IngestState.MOVING


def test_one_that_resumes_does_not_trickle_at_once() -> None:
    bench = Bench(Thresholds(trickle_window_s=60))
    bench.store.writer("a").close()
    bench.tick()
    bench.run(100)
    with bench.store.writer("a") as writer:
        for _ in range(50):
            writer.write(bytes(17_000))
            assert bench.row(bench.tick(1), "a").state is not IngestState.TRICKLE


def test_nobody_can_tell_the_holder(bench: Bench) -> None:
    bench.store.blind = True
    bench.store.writer("a")
    assert bench.run(31).counts == {IngestState.UNKNOWN: 1}


def test_complete_and_poisoned(bench: Bench) -> None:
    whole = bench.store.writer("whole", total=3)
    whole.write(b"abc")
    bad = bench.store.writer("bad", total=3, expected=Digest.of(b"xyz"))
    bad.write(b"abc")
    with pytest.raises(Exception, match="digest"):
        bad.commit()
    view = bench.run(1)
    assert bench.row(view, "whole").state is IngestState.COMPLETE
    assert bench.row(view, "bad").state is IngestState.POISONED


def test_what_did_not_change_is_the_same_object(bench: Bench) -> None:
    moving = bench.store.writer("moving")
    for number in range(5):
        bench.store.writer(f"silent-{number}")
        bench.store.put(b"%d" % number)
    bench.run(40)
    before = bench.tick()
    assert bench.tick().ingests is before.ingests
    moving.write(b"x" * 100)
    bench.monitor.hint([ingest_id("moving")])
    after = bench.tick()
    assert after.blobs is before.blobs
    same = [row for row in after.ingests if any(row is old for old in before.ingests)]
    assert len(same) == 5
    later = bench.run(6)
    assert len([row for row in later.ingests if any(row is old for old in before.ingests)]) == 5


def test_a_tick_looks_only_where_something_may_happen(bench: Bench) -> None:
    writers = [bench.store.writer(f"ref-{number}") for number in range(200)]
    bench.run(45)
    scans = bench.store.full_scans
    bench.store.refreshed.clear()
    bench.tick(0.01)
    assert bench.store.full_scans == scans
    assert sum(bench.store.refreshed) == 0
    writers[7].write(b"x")
    bench.monitor.hint([ingest_id("ref-7"), ingest_id("nobody")])
    assert bench.tick(0.01).counts == {IngestState.MOVING: 1, IngestState.STALLED: 199}
    assert bench.store.refreshed == [1]
    bench.monitor.focus([ingest_id("ref-1"), ingest_id("ref-2")])
    bench.tick(0.01)
    assert bench.store.refreshed == [1, 3]
    writers[9].write(b"x")  # without a hint: found by the reconcile
    assert bench.run(5).counts[IngestState.MOVING] == 2


def test_comings_and_goings_are_told(bench: Bench) -> None:
    bench.tick()
    data = b"x" * 5000
    writer = bench.store.writer("layer-" + Digest.of(data), total=5000)
    writer.write(data[:1000])
    events = sentences(bench.tick())
    assert len(events) == 1
    assert events[0].endswith("appeared, 1000 of 5000 bytes")
    writer.write(data[1000:])
    writer.commit()
    view = bench.tick()
    assert len(sentences(view)) == 1
    assert sentences(view)[0].endswith(f"committed as {Digest.of(data)}, 5000 bytes")
    assert view.ingests == ()
    assert view.blob_bytes == 5000
    assert sum(bench.run(3).history) == pytest.approx(5000, rel=0.01)
    bench.store.delete(Digest.of(data))
    view = bench.tick()
    assert sentences(view) == (f"blob {Digest.of(data)} deleted, 5000 bytes",)
    assert view.blob_bytes == 0


def test_committed_is_said_only_when_sure(bench: Bench) -> None:
    bench.tick()
    one, two = bench.store.writer("one"), bench.store.writer("two")
    one.write(b"abc")
    two.write(b"xyz")
    bench.tick()
    one.commit()
    bench.store.abort("two", force=True)
    events = sentences(bench.tick())
    assert set(events[:2]) == {"one is gone at offset 3", "two is gone at offset 3"}
    assert len(events) == 3
    alone = bench.store.writer("alone")
    alone.write(b"12345")
    bench.tick()
    info = alone.commit()
    assert sentences(bench.tick()) == (f"alone committed as {info.digest}, 5 bytes",)


def test_one_that_starts_over_counts_no_negative_bytes(bench: Bench) -> None:
    writer = bench.store.writer("a")
    writer.write(bytes(1_000_000))
    bench.tick()
    writer.truncate(0)
    view = bench.tick()
    assert not view.rate
    assert bench.row(view, "a").status.offset == 0
    writer.write(bytes(1000))
    assert sum(bench.run(3).history) == pytest.approx(1000, rel=0.01)


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("gone away"),
        NotFound("no directory"),
        PermissionDenied("no"),
        OSError(5, "EIO"),
        ValueError("a bug"),
    ],
)
def test_a_broken_store_leaves_the_last_picture(bench: Bench, error: Exception) -> None:
    bench.store.writer("a")
    bench.store.put(b"blob")
    good = bench.run(1)
    bench.store.error = error
    bad = bench.run(5)
    assert bad.health.freshness is Freshness.STALE
    assert bad.health.reason
    assert bad.health.since_ns == good.taken_ns
    assert bad.taken_ns - bad.health.since_ns == 5 * 10**9
    assert bad.ingests == good.ingests
    assert bad.blobs is good.blobs
    bench.store.error = None
    bench.store.writer("b")
    again = bench.tick()
    assert again.health.freshness is Freshness.POLLING
    assert sentences(again)[0] == "the store can be read again"
    assert len(again.ingests) == 2


def test_labels_are_read_again(bench: Bench) -> None:
    info = bench.store.put(b"blob")
    before = bench.run(1)
    bench.store.update(info.digest, {"a": "b"})
    after = bench.run(6)
    assert after.blobs is not before.blobs
    assert after.blobs[0].info.labels == {"a": "b"}


def test_growth_of_ten_thousand_events_is_bounded(bench: Bench) -> None:
    bench.tick()
    for number in range(1000):
        bench.store.put(b"%d" % number)
    events = sentences(bench.tick())
    assert len(events) == 200
    assert events[-1] == "and 801 more changes"


def test_bursts_have_a_rate_between_them_that_ends_when_the_next_is_overdue(bench: Bench) -> None:
    with bench.store.writer("a", total=100_000_000) as writer:
        bench.tick()
        for _ in range(6):
            writer.write(bytes(1_000_000))
            view = bench.run(12)
            if writer.offset > 3_000_000:  # from the second burst on it is looked at all the time
                row = bench.row(view, "a")
                assert row.rate == pytest.approx(1_000_000 / 12, rel=0.1)
                assert row.eta_s == pytest.approx((100_000_000 - row.status.offset) / row.rate)
        assert bench.row(bench.run(8), "a").rate > 0
        assert bench.row(bench.run(4), "a").rate == 0


def test_a_pause_is_no_burst_once_bytes_flow_again(bench: Bench) -> None:
    with bench.store.writer("a", total=100_000_000) as writer:
        bench.tick()
        for _ in range(8):
            writer.write(bytes(100_000))
            bench.tick(0.25)
        bench.run(6)
        for _ in range(32):
            writer.write(bytes(100_000))
            view = bench.tick(0.25)
        assert bench.row(view, "a").rate == pytest.approx(400_000, rel=0.15)


def test_small_layers_that_come_complete_count_in_the_rate_of_the_store(bench: Bench) -> None:
    bench.run(1)
    for number in range(40):
        with bench.store.writer(f"w{number}", total=50_000) as writer:
            writer.write(bytes([number]) * 50_000)
            view = bench.tick(0.25)
            writer.commit()
    assert view.rate == pytest.approx(200_000, rel=0.05)
    assert bench.run(3).rate == 0


def test_the_rate_of_the_store_is_the_sum_of_its_rows(bench: Bench) -> None:
    writers = [bench.store.writer(f"w{number}") for number in range(5)]
    bench.tick()
    for turn in range(60):
        for number, writer in enumerate(writers):
            if turn < 12 * (number + 1) and turn % (number + 1) == 0:
                writer.write(bytes(100_000 * (number + 1)))
        view = bench.tick()
        assert (view.rate or 0) == pytest.approx(sum(row.rate or 0 for row in view.ingests))
    assert view.rate > 0
    assert bench.run(30).rate == 0


def test_content_that_comes_whole_counts_until_two_seconds_after_it(bench: Bench) -> None:
    bench.run(1)
    for number in range(8):
        bench.store.put(bytes([number]) * 250_000)
        view = bench.run(0.25)
    assert view.rate == pytest.approx(1_000_000, rel=0.5)
    assert bench.run(3).rate == 0
