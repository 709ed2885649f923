"""Rates are right within a few percent, whatever the rhythm of checks and of writers."""

from __future__ import annotations

import random

import pytest

from contentui.monitor.rates import HISTORY_S, GrowthMeter, RateHistory, eta_s

S = 10**9


def source(rate: float, buffer: int, now_ns: int) -> int:
    """The offset of a writer that receives ``rate`` and writes whole buffers."""
    return round(rate * now_ns / S) // buffer * buffer


def rates(rate: float, buffer: int, step: float, seconds: float) -> dict[float, float | None]:
    """What a meter shows of that writer, by the second, checked each ``step`` seconds."""
    shown: dict[float, float | None] = {}
    meter, now, offset = GrowthMeter(0), 0, 0
    while now < seconds * S:
        now += round(step * S)
        new = source(rate, buffer, now)
        meter.add(new - offset, now)
        offset = new
        shown[now / S] = meter.rate(now)
    return shown


def run(meter: GrowthMeter, begin: int, sizes: list[int]) -> list[float | None]:
    """The rates after checks, four a second, that find so many new bytes each."""
    shown = []
    for place, size in enumerate(sizes, start=1):
        now = begin + place * S // 4
        meter.add(size, now)
        shown.append(meter.rate(now))
    return shown


@pytest.mark.parametrize("step", [0.05, 0.25, 1.0, 3.7])
def test_a_steady_stream_has_its_rate_from_the_second_growth(step: float) -> None:
    first, *others = rates(5_000_000, 1, step, 20 * step).values()
    assert first is None
    assert others == pytest.approx([5_000_000] * len(others), rel=0.01)


@pytest.mark.parametrize("rate", [20_000_000, 5_000_000, 1_000_000, 300_000, 60_000])
def test_a_client_that_writes_a_buffer_at_a_time_has_the_rate_of_its_source(rate: float) -> None:
    period = (1 << 20) / rate
    shown = rates(rate, 1 << 20, 0.25, 120)
    known = {at: value for at, value in shown.items() if value is not None and at > 2 * period}
    assert min(known) <= max(2 * period + 0.5, 1)
    assert all(value < 4 * rate for value in known.values())
    settled = [value for at, value in known.items() if at > max(9, 5 * period)]
    assert settled == pytest.approx([rate] * len(settled), rel=0.12)


def test_irregular_checks_find_the_same_rate() -> None:
    rng = random.Random(1)
    meter, history, now = GrowthMeter(0), RateHistory(0), 0
    for _ in range(200):
        gap = rng.uniform(0.05, 2)
        now += round(gap * S)
        meter.add(round(gap * 80_000), now)
        history.add(round(gap * 80_000), now)
    assert meter.rate(now) == pytest.approx(80_000, rel=0.01)
    assert history.history(now)[-30:] == pytest.approx([80_000] * 30, rel=0.1)
    assert history.mean(120, now) == pytest.approx(80_000, rel=0.1)


def test_a_change_of_rate_is_followed_within_nine_seconds() -> None:
    shown = run(GrowthMeter(0), 0, [250_000] * 40 + [25_000] * 36)
    assert shown[-1] == pytest.approx(100_000, rel=0.01)


def test_a_writer_that_stopped_has_no_rate_after_two_checks() -> None:
    *_, first, second, third = run(GrowthMeter(0), 0, [250_000] * 40 + [0] * 3)
    assert first == pytest.approx(1_000_000)  # a single check without a byte means nothing
    assert (second, third) == (pytest.approx(1_000_000), 0.0) or second == 0.0


def test_after_a_stall_the_rate_is_unknown_and_then_that_of_the_new_bytes() -> None:
    sizes = [250_000] * 40 + [0] * 800 + [8_000_000, 50_000]  # first a buffer that was full
    *_, stalled, first, second = run(GrowthMeter(0), 0, sizes)
    assert (stalled, first) == (0.0, None)
    assert second == pytest.approx(200_000)


def test_what_grew_once_has_no_rate_and_none_of_bytes_after_ten_seconds() -> None:
    meter = GrowthMeter(0)
    meter.add(1_000_000, S)
    assert meter.rate(2 * S) is None
    assert meter.rate(11 * S) == 0.0
    assert GrowthMeter(0).rate(11 * S) == 0.0


def test_the_history_counts_each_byte_once() -> None:
    rng = random.Random(2)
    meter, now, total = RateHistory(0), 0, 0
    while now < 100 * S:
        now += round(rng.uniform(0.01, 4) * S)
        grown = rng.randrange(10_000)
        total += grown
        meter.add(grown, now)
    seen = sum(meter.history(now))
    assert total - 10_000 <= seen <= total * 1.0001


def test_the_history_is_bounded_and_goes_on_in_silence() -> None:
    meter = RateHistory(0)
    for second in range(1, 1000):
        meter.add(7, second * S)
    assert meter.history(999 * S) == (7.0,) * HISTORY_S
    assert meter.history(1099 * S) == (7.0,) * 200 + (0.0,) * 100
    assert meter.history(10**6 * S) == (0.0,) * HISTORY_S
    meter.add(1, 10**6 * S)
    assert len(meter.history(10**6 * S)) == HISTORY_S


def test_one_that_never_grew_has_no_history() -> None:
    meter = RateHistory(0)
    for second in range(1, 50):
        meter.add(0, second * S)
    assert meter.history(50 * S) == ()
    assert meter.mean(120, 50 * S) == 0


def test_two_looks_at_the_same_moment_lose_nothing() -> None:
    meter = RateHistory(0)
    meter.add(100, S // 2)
    meter.add(100, S // 2)
    meter.add(0, 2 * S)
    assert sum(meter.history(2 * S)) == pytest.approx(200)


def test_eta() -> None:
    assert eta_s(50, 150, 10) == 10
    assert eta_s(50, 0, 10) is None
    assert eta_s(150, 150, 10) is None
    assert eta_s(0, 100, 0) is None
