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


IN_NAMESPACES = {
    "one": "layer-1 moving\nk8s.io",
    "two": "layer-2 moving\ndefault\nk8s.io",
    "three": "redis k8s.io\nbuildkit",
    "none": "layer-4",
}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ns:k8s", "one two"),
        ("ns:K8S.io", "one two"),
        ("ns:8s", ""),
        ("ns:default,build", "two three"),
        ("!ns:k8s.io", "three none"),
        ("ns:k8s.io layer-2", "two"),
        ("ns:k8s.io !layer-2", "one"),
        ("ns:k8s !ns:default", "one"),
        ("ns:k8s re:2", "two"),
        ("re:moving$", "one two"),
        ("ns:", "one two three none"),
        ("ns:, ", "one two three none"),
        ("k8s.io", "one two three"),
    ],
)
def test_namespaces(text, shown):
    query = parse(text)
    assert " ".join(name for name, row in IN_NAMESPACES.items() if query.matches(row)) == shown
    assert query.text == text


def test_an_unfinished_pattern_keeps_the_namespace():
    query = parse("ns:k8s re:(")
    assert query.problem
    assert not query.matches(IN_NAMESPACES["none"])
