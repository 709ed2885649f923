"""Numbers and names as people read them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contentui import text
from contentui.content.errors import InvalidArgument

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
INVISIBLE = "\u00ad\u200b\u200c\u200d\u2028\u2029\u2060\ufeff\U000e0041"

anything = st.text(st.characters(codec=None), max_size=300)
nasty = st.text(
    st.sampled_from(
        [chr(code) for code in range(0xA0)]
        + list(BIDI + INVISIBLE)
        + ["\udcff", "\ud800", "é", "漢"]
    )
)


def assert_safe(shown):
    assert not any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in shown)
    assert not set(shown) & set(BIDI + INVISIBLE)
    shown.encode()


@given(anything | nasty)
def test_nothing_hostile_is_visible(name):
    assert_safe(text.visible(name))


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0), *map(ord, BIDI + INVISIBLE)])
def test_no_control_passes(code):
    shown = text.visible(f"a{chr(code)}é")
    assert_safe(shown)
    assert shown.startswith("a\\")
    assert shown.endswith("é")


@given(nasty, st.integers(1, 50))
def test_no_cut_makes_anything_hostile(name, limit):
    assert_safe(text.visible(name, limit))


@given(st.text("abc é漢/:.-_", max_size=100))
def test_what_is_harmless_stays(name):
    assert text.visible(name) == name


def test_escapes_name_what_they_hide():
    assert text.visible("a\tb\nc\rd\x1b[2Je\x7f\x9b\u202e\udcff\U000e0041") == (
        "a\\tb\\nc\\rd\\x1b[2Je\\x7f\\u009b\\u202e\\xff\\U000e0041"
    )


@pytest.mark.parametrize("limit", [1, 5, 4096])
def test_long_names_are_cut(limit):
    shown = text.visible("x" * 100_000, limit)
    assert len(shown) == limit
    assert shown.endswith("…")
    assert text.visible("x" * limit, limit) == "x" * limit


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (9994, "9.99 kB"),
        (9996, "10.0 kB"),
        (34_300_000, "34.3 MB"),
        (99_960, "100 kB"),
        (999_400, "999 kB"),
        (999_500, "1.00 MB"),
        (10**9, "1.00 GB"),
        (2**63, "9.22 EB"),
        (5 * 10**21, "5000 EB"),
    ],
)
def test_sizes(size, shown):
    assert text.human_size(size) == shown


@given(st.integers(0, 2**63))
def test_sizes_are_short_and_true(size):
    number, unit = text.human_size(size).split()
    factor = {"B": 1, **{f"{letter}B": 1000 ** (n + 1) for n, letter in enumerate("kMGTPE")}}[unit]
    assert len(number) <= 4
    assert float(number) * factor == pytest.approx(size, rel=0.006)


def test_rates():
    assert text.human_rate(9.8e6) == "9.80 MB/s"
    assert text.human_rate(0.4) == "0 B/s"
    assert text.human_rate(-5) == "0 B/s"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0s"),
        (0.9, "0s"),
        (8, "8s"),
        (59.9, "59s"),
        (60, "1m"),
        (2500, "41m"),
        (3600 * 3, "3h"),
        (86400 * 12, "12d"),
        (31_557_600 * 2, "2y"),
    ],
)
def test_durations(seconds, shown):
    assert text.human_duration(seconds) == shown


@pytest.mark.parametrize(
    ("then", "shown"),
    [
        (0, "?"),
        (-62135596800 * 10**9, "?"),
        (99 * 10**9, "1s"),
        (100 * 10**9, "now"),
        (101 * 10**9, "now"),
        (103 * 10**9, "future"),
        (40 * 10**9, "1m"),
    ],
)
def test_ages(then, shown):
    assert text.human_age(then, 100 * 10**9) == shown


def test_times():
    assert text.rfc3339(0) is None
    assert text.rfc3339(1) == "1970-01-01T00:00:00.000000001Z"
    assert text.rfc3339(1_700_000_000_123_456_789) == "2023-11-14T22:13:20.123456789Z"
    assert text.local_time(0) == "unknown"
    assert len(text.local_time(1_700_000_000 * 10**9)) == 19


@pytest.mark.parametrize(
    ("given_text", "seconds"),
    [
        ("30", 30),
        ("0.5", 0.5),
        ("30s", 30),
        ("10m", 600),
        ("1h30m", 5400),
        ("500ms", 0.5),
        ("2d", 172800),
        ("1w", 604800),
        ("1.5h", 5400),
    ],
)
def test_lengths_of_time(given_text, seconds):
    assert text.parse_duration(given_text) == seconds


@pytest.mark.parametrize(
    "given_text", ["", "m", "10x", "10 m", "-5s", "5s!", "1h30", "1e3", "\n5s"]
)
def test_what_is_no_length_of_time(given_text):
    with pytest.raises(InvalidArgument):
        text.parse_duration(given_text)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0s"), (59.9, "59s"), (60, "1m00"), (287.5, "4m47"), (3599.9, "59m59"), (3600, "1h")],
)
def test_a_countdown_has_its_second_unit_below_an_hour(seconds, words):
    assert text.human_countdown(seconds) == words
