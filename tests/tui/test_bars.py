import pytest
from hypothesis import given
from hypothesis import strategies as st

from contentui.present.bars import bar, resample, sparkline, unknown_bar


@pytest.mark.parametrize("width", [0, 1, 2, 8, 14, 60])
def test_a_bar_is_full_only_at_the_end_and_empty_only_at_the_start(width):
    assert bar(0, width) == " " * width
    assert bar(1, width) == bar(7, width) == "█" * width
    if width:
        assert bar(1e-9, width).strip()
        assert bar(1 - 1e-9, width) != "█" * width
    assert bar(-1, width) == " " * width


@given(st.floats(0, 1), st.integers(0, 80))
def test_a_bar_is_as_wide_as_told_and_grows(fraction, width):
    assert len(bar(fraction, width)) == width
    assert bar(fraction, width).count("█") >= bar(fraction / 2, width).count("█")


def test_an_eighth_is_seen():
    assert bar(1 / 8, 1) == "▏"
    assert bar(0.5, 4) == "██  "


def test_an_unknown_end_shows_no_share():
    assert len(unknown_bar(14)) == 14
    assert "█" not in unknown_bar(14)


@given(st.lists(st.floats(0, 1e12), max_size=400), st.integers(0, 60))
def test_a_sparkline_is_as_wide_as_requested(samples, width):
    assert len(sparkline(samples, width)) == width


def test_the_newest_sample_is_at_the_right_and_a_little_is_not_nothing():
    assert sparkline([1e9, 1.0], 4) == "  █▁"
    assert sparkline([0.0, 0.0], 3) == "   "


def test_a_peak_survives_resampling():
    samples = [0.0] * 300
    samples[123] = 5.0
    assert max(resample(samples, 40)) == 5.0
    assert len(resample(samples, 40)) == 40
