import pytest
from hypothesis import given
from hypothesis import strategies as st

from contentui.tui.query import parse


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ["Redis", "layer-1", "grafana"]),
        ("  ", ["Redis", "layer-1", "grafana"]),
        ("redis", ["Redis"]),
        ("!redis", ["layer-1", "grafana"]),
        ("! redis", ["layer-1", "grafana"]),
        ("re:^layer-", ["layer-1"]),
        ("re:^GRAF", ["grafana"]),
        ("!re:^layer-", ["Redis", "grafana"]),
        ("!", ["Redis", "layer-1", "grafana"]),
        ("re:", ["Redis", "layer-1", "grafana"]),
        ("[/nope]", []),
    ],
)
def test_filters(text, shown):
    query = parse(text)
    assert [row for row in ("Redis", "layer-1", "grafana") if query.matches(row)] == shown
    assert query.problem == ""
    assert bool(query) == (len(text.strip(" !")) > 0 and text != "re:")


@pytest.mark.parametrize("text", ["re:(", "re:[a-", "!re:(x", "re:\\", "re:(?=look)", "re:a{2000}"])
def test_an_unfinished_pattern_matches_all_and_says_so(text, capfd):
    query = parse(text)
    assert query.problem
    assert query.matches("anything")
    assert not query
    assert capfd.readouterr() == ("", "")  # RE2 would write on the screen


@given(st.text(), st.text())
def test_nothing_that_is_typed_raises(typed, row):
    for prefix in ("", "!", "re:", "!re:"):
        parse(prefix + typed).matches(row)


def test_patterns_run_in_linear_time():
    assert not parse("re:(a+)+$").matches("a" * 50_000 + "b")
