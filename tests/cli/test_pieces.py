"""The command line's own small parts: columns, sizes, progress, filters that select all."""

from __future__ import annotations

import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contentui.cli.arguments import interval, label, size
from contentui.cli.progress import ProgressLine
from contentui.cli.selection import check_digest_filters, check_ref_filters
from contentui.content.digest import Digest
from contentui.content.errors import InvalidArgument
from contentui.present.cells import cell_len, elide, elide_middle
from contentui.present.table import table


@given(st.text(st.characters(categories=["L", "N", "P", "Mn"])), st.integers(2, 60))
def test_shortened_text_fits(text, width):
    assert cell_len(elide_middle(text, width)) <= width
    assert cell_len(elide(text, width)) <= width
    if cell_len(text) <= width:
        assert elide_middle(text, width) == elide(text, width) == text


def test_columns_are_aligned_and_fitted():
    lines = list(table(("A", "B"), [("x", "12"), ("yyy", "3")], right=(1,)))
    assert lines == ["A     B", "x    12", "yyy   3"]
    wide = list(table(("REF", "N"), [("r" * 40, "1")], right=(1,), width=20))
    assert all(len(line) == 20 for line in wide)
    assert "…" in wide[1]


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("4096", 4096), ("10MB", 10_000_000), ("10MiB", 10 << 20), ("3k", 3000), ("7b", 7)],
)
def test_sizes(text, value):
    assert size(text) == value


@pytest.mark.parametrize("text", ["", "-1", "1.5M", "MB", "1e3", "1 XB"])
def test_what_is_no_size(text):
    with pytest.raises(argparse.ArgumentTypeError):
        size(text)


def test_labels_and_intervals():
    assert label("a=b=c") == ("a", "b=c")
    assert interval("500ms") == 0.5
    for wrong in ("0", "10ms", "2d"):
        with pytest.raises(argparse.ArgumentTypeError):
            interval(wrong)
    with pytest.raises(argparse.ArgumentTypeError):
        label("=b")


def test_progress_tells_rate_and_rest(capsys):
    now = iter([0.0, 1.0, 2.0])
    with ProgressLine("x\x1b", 10_000_000, "plain", lambda: next(now)) as progress:
        for offset in (1_000_000, 2_000_000, 3_000_000):
            progress(offset)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "x\\x1b:  30%  3.00 MB of 10.0 MB  1.00 MB/s  7s left"


def test_progress_of_an_unknown_total(capsys):
    now = iter([0.0, 1.0])
    with ProgressLine("x", 0, "plain", lambda: next(now)) as progress:
        progress(0)
        progress(500)
    assert capsys.readouterr().err.splitlines()[-1] == "x: 500 B  500 B/s"


@pytest.mark.parametrize(
    "text", ["", "ref", 'ref~=".*"', "ref~=^", 'ref~=""', "nothing!=x", "ref,ref"]
)
def test_filters_that_select_every_ingest(text):
    with pytest.raises(InvalidArgument):
        check_ref_filters(["ref==a", text])


@pytest.mark.parametrize("text", ["ref==a", "ref!=a", "ref~=^layer-", "ref,ref~=x", "nothing"])
def test_filters_that_select_some_ingests(text):
    check_ref_filters([text])


@pytest.mark.parametrize("text", ["", "digest", "digest~=^sha256:", "digest~=[0-9a-f]"])
def test_filters_that_select_every_blob(text):
    with pytest.raises(InvalidArgument):
        check_digest_filters([text])


@pytest.mark.parametrize(
    "text", ["labels.a", "labels.a!=b", "digest~=^sha256:84", f"digest!={Digest.of(b'')}"]
)
def test_filters_that_select_some_blobs(text):
    check_digest_filters([text])
