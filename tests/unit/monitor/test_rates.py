"""Rates are right within ten percent, whatever the rhythm of the looks."""

from __future__ import annotations

import random

import pytest

from contentui.monitor.rates import HISTORY_S, RateMeter, eta_s

S = 10**9


@pytest.mark.parametrize("step", [0.05, 0.25, 1.0, 3.7])
def test_a_steady_stream_has_its_rate_from_the_first_sample(step: float) -> None:
    meter, now = RateMeter(0), 0
    for _ in range(20):
        now += round(step * S)
        meter.add(round(step * 5_000_000), now)
        assert meter.rate == pytest.approx(5_000_000, rel=0.01)


def test_irregular_looks_find_the_same_rate() -> None:
    rng = random.Random(1)
    meter, now = RateMeter(0), 0
    for _ in range(200):
        gap = rng.uniform(0.05, 2)
        now += round(gap * S)
        meter.add(round(gap * 80_000), now)
    assert meter.rate == pytest.approx(80_000, rel=0.1)
    assert meter.history(now)[-30:] == pytest.approx([80_000] * 30, rel=0.1)
    assert meter.mean(120, now) == pytest.approx(80_000, rel=0.1)


def test_a_change_of_rate_is_followed_within_ten_seconds() -> None:
    meter, now = RateMeter(0), 0
    for tick in range(80):
        now += S // 4
        meter.add(250_000 if tick < 40 else 25_000, now)
    assert meter.rate == pytest.approx(100_000, rel=0.4)
    for _ in range(20):
        now += S // 4
        meter.add(25_000, now)
    assert meter.rate == pytest.approx(100_000, rel=0.1)


def test_the_history_counts_each_byte_once() -> None:
    rng = random.Random(2)
    meter, now, total = RateMeter(0), 0, 0
    while now < 100 * S:
        now += round(rng.uniform(0.01, 4) * S)
        grown = rng.randrange(10_000)
        total += grown
        meter.add(grown, now)
    seen = sum(meter.history(now))
    assert total - 10_000 <= seen <= total * 1.0001


def test_the_history_is_bounded_and_goes_on_in_silence() -> None:
    meter = RateMeter(0)
    for second in range(1, 1000):
        meter.add(7, second * S)
    assert meter.history(999 * S) == (7.0,) * HISTORY_S
    assert meter.history(1099 * S) == (7.0,) * 200 + (0.0,) * 100
    assert meter.history(10**6 * S) == (0.0,) * HISTORY_S
    meter.add(1, 10**6 * S)
    assert len(meter.history(10**6 * S)) == HISTORY_S


def test_one_that_never_grew_has_no_history() -> None:
    meter = RateMeter(0)
    for second in range(1, 50):
        meter.add(0, second * S)
    assert meter.history(50 * S) == ()
    assert meter.mean(120, 50 * S) == 0


def test_two_looks_at_the_same_moment_lose_nothing() -> None:
    meter = RateMeter(0)
    meter.add(100, S // 2)
    meter.add(100, S // 2)
    meter.add(0, 2 * S)
    assert sum(meter.history(2 * S)) == pytest.approx(200)


def test_eta() -> None:
    assert eta_s(50, 150, 10) == 10
    assert eta_s(50, 0, 10) is None
    assert eta_s(150, 150, 10) is None
    assert eta_s(0, 100, 0) is None
