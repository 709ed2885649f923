import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from table_rows import HOSTILE, NOW, blob, ingest

from contentui.content.digest import Digest
from contentui.index.model import Referrer
from contentui.monitor.states import IngestState
from contentui.oci.kinds import Kind
from contentui.present.cells import elide, elide_middle
from contentui.present.columns import (
    BLOB_COLUMNS,
    GAP,
    INGEST_COLUMNS,
    SHAPES,
    STATE_STYLES,
    blob_search_text,
    cells_later,
    cells_of,
    fit,
    ingest_search_text,
    needs_text,
)
from contentui.present.detail import detail_fields

BY_KEY = {column.key: column for column in (*INGEST_COLUMNS, *BLOB_COLUMNS)}
DIGEST = "sha256:" + "8f7c2b1a" * 8


def text(key, row):
    return BY_KEY[key].text(row, NOW)


@pytest.mark.parametrize("columns", [INGEST_COLUMNS, BLOB_COLUMNS])
@pytest.mark.parametrize("width", range(1, 301))
def test_columns_never_need_more_than_there_is(columns, width):
    fitted = fit(columns, width)
    assert sum(cells + GAP for _, cells in fitted) - GAP <= width
    assert [c for c in columns if c in [f for f, _ in fitted]] == [f for f, _ in fitted]
    if len(fitted) > 1:
        assert all(cells >= column.min_width for column, cells in fitted)


def test_the_least_important_column_goes_first():
    for columns in (INGEST_COLUMNS, BLOB_COLUMNS):
        ranked = [c.key for c in sorted(columns, key=lambda c: -c.weight)]
        for width in range(20, 200):
            shown = {column.key for column, _ in fit(columns, width)}
            assert shown == set(ranked[: len(shown)])


def test_eighty_cells_hold_what_matters():
    shown = {column.key for column, _ in fit(INGEST_COLUMNS, 77)}
    assert {"ref", "progress", "percent", "offset", "rate", "eta", "state"} <= shown
    assert {column.key for column, _ in fit(BLOB_COLUMNS, 77)} == {c.key for c in BLOB_COLUMNS}


@pytest.mark.parametrize(
    ("state", "silent_s", "widths"),
    [
        (
            IngestState.STALLED,
            192,
            {17: "◌ stalled 3m12", 15: "◌ stalled 3m12", 13: "◌ stalled 3m"},
        ),
        (IngestState.QUIET, 49, {15: "◦ quiet 49s", 9: "◦ quiet"}),
        (IngestState.ABANDONED, 192, {16: "✕ abandoned 3m12", 15: "✕ abandoned 3m"}),
        (IngestState.UNKNOWN, 3 * 86400, {15: "? unknown 3d"}),
        (IngestState.MOVING, 3, {15: "▸ moving"}),
        (IngestState.DAMAGED, 192, {15: "⊗ damaged"}),
        (IngestState.QUIET, -5, {15: "◦ quiet"}),  # a clock was set back
    ],
)
def test_a_state_of_silence_has_its_length(state, silent_s, widths):
    row = ingest("a")._replace(state=state, last_byte_ns=NOW - silent_s * 10**9)
    for width, expected in widths.items():
        assert BY_KEY["state"].cell(row, NOW, width).rstrip() == expected


NUMBERS = st.one_of(st.integers(0, 2**63 - 1), st.sampled_from([999, 9995, 99_950, 999_499, 10**6]))


@settings(max_examples=300, deadline=None)
@given(NUMBERS, NUMBERS, st.floats(0, 1e15), st.integers(-(10**10), 10**10))
def test_numbers_always_fit_their_smallest_width(offset, total, rate, age):
    row = ingest("r", offset, total, rate=rate, age=age, silent=age)
    for column in INGEST_COLUMNS:
        if column.right:
            assert cell_len(column.text(row, NOW)) <= column.min_width
    for column in BLOB_COLUMNS:
        if column.right:
            assert cell_len(column.text(blob(1, size=offset, age=age), NOW)) <= column.min_width


@given(st.text(st.characters(exclude_categories=["Cn", "Cs"])), st.integers(0, 60))
def test_cells_are_exactly_as_wide_as_told(ref, width):
    row = ingest(ref or "x")
    for column in (*INGEST_COLUMNS, *BLOB_COLUMNS):
        source = row if column in INGEST_COLUMNS else blob(1, referrers=(Referrer("image", ref),))
        if width >= column.min_width:
            assert cell_len(column.cell(source, NOW, width)) == width


@pytest.mark.parametrize("ref", HOSTILE)
def test_names_are_safe(ref):
    for shown in (
        text("ref", ingest(ref)),
        ingest_search_text(ingest(ref)),
        text("used-by", blob(1, referrers=(Referrer("image", ref),))),
        blob_search_text(blob(1, referrers=(Referrer("image", ref),))),
    ):
        assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in shown)


def test_what_is_not_known_is_not_claimed():
    assert text("total", ingest("r", 5, 0)) == "?"
    assert text("percent", ingest("r", 5, 0)) == ""
    assert text("eta", ingest("r", 5, 0)) == "–"
    assert "█" not in BY_KEY["progress"].cell(ingest("r", 5, 0), NOW, 12)
    assert text("used-by", blob(1, referrers=None)) == "?"
    assert text("used-by", blob(1, referrers=())) == "nothing"
    assert text("kind", blob(1, kind=None)) == "…"
    assert text("kind", blob(1, kind=Kind.UNKNOWN)) == "unknown"


def test_many_needs_are_counted_where_no_name_has_room():
    row = blob(1, referrers=(Referrer("manifest", DIGEST), Referrer("label", "gc.root")))
    cell = BY_KEY["used-by"].cell
    assert cell(row, NOW, 8) == "2 needs "
    assert cell(row, NOW, 26) == "8f7c2b1a8f7c2b1a8f…2b1a +1"
    assert (
        cell(blob(1, referrers=(Referrer("image", "redis:7.4-bookworm"),)), NOW, 9) == "redi…worm"
    )


def test_an_images_name_comes_first_and_a_lease_has_none_worth_showing():
    lease = Referrer("lease", "934215-PP20")
    label = Referrer("label", DIGEST, DIGEST)
    image = Referrer("image", "docker.io/acme/billing:1.4")
    assert needs_text(blob(1, referrers=(lease,))) == "a lease"
    assert needs_text(blob(1, referrers=(lease, label, image))) == "docker.io/acme/billing:1.4 +2"
    cell = BY_KEY["used-by"].cell
    assert cell(blob(1, referrers=(image, lease)), NOW, 16) == "…/billing:1.4 +1"
    assert "934215-PP20" in dict(detail_fields(blob(1, referrers=(lease,)), NOW))["used by"]


def test_a_narrow_digest_leaves_out_the_usual_algorithm():
    cell = BY_KEY["digest"].cell
    row = blob(1)
    assert cell(row, NOW, 16).startswith("sha256:")
    assert cell(row, NOW, 13) == f"{row.info.digest.encoded[:8]}…{row.info.digest.encoded[-4:]}"


def test_percent_is_rounded_down_and_says_too_much():
    assert text("percent", ingest("r", 999, 1000)) == "99%"
    assert text("percent", ingest("r", 1000, 1000)) == "100%"
    assert text("percent", ingest("r", 2000, 1000)) == ">100%"


def test_a_lost_ref_shows_its_id():
    row = ingest("")
    assert text("ref", row) == f"id:{row.status.id}"


def test_refs_lose_their_middle():
    shown = elide_middle("layer-" + DIGEST, 22)
    assert (shown[:13], shown[-5:], len(shown)) == ("layer-sha256:", "…2b1a", 22)
    assert elide_middle("docker.io/library/redis:7.4", 17) == "docker.i…edis:7.4"
    assert elide_middle("short", 17) == "short"
    assert elide("abcdef", 4) == "abc…"
    assert cell_len(elide_middle("日本語" * 20, 11)) <= 11


def test_shapes_are_one_cell_wide_everywhere():
    assert set(SHAPES) == set(STATE_STYLES) == set(IngestState)
    assert len(set(SHAPES.values())) == len(IngestState)
    for shape in SHAPES.values():
        assert unicodedata.east_asian_width(shape) in {"N", "Na"}
        assert cell_len(shape) == 1


def test_every_column_sorts_rows_with_and_without_facts():
    rows = [ingest("a", 5, 0), ingest("b", 5, 10, rate=1.0), ingest("c", state=IngestState.DAMAGED)]
    blobs = [
        blob(1, referrers=None, kind=None),
        blob(2, referrers=()),
        blob(3, referrers=(Referrer("label", "x"),)),
    ]
    for columns, group in ((INGEST_COLUMNS, rows), (BLOB_COLUMNS, blobs)):
        for column in columns:
            assert len(sorted(group, key=column.sort_key)) == 3


def test_a_holder_that_labels_and_lists_a_blob_is_named_once():
    holder = Digest.of(b"manifest")
    needs = (
        Referrer("label", f"containerd.io/gc.ref.content.l.0 of {holder.short()}", holder),
        Referrer("manifest", f"manifest {holder.short()}", holder),
    )
    assert needs_text(blob(1, referrers=needs)) == f"manifest {holder.encoded[:12]}"
    assert needs_text(blob(1, referrers=needs[:1])) == f"label of {holder.encoded[:12]}"
    assert needs_text(blob(1, referrers=(*needs, Referrer("root", "gc.root")))).endswith(" +1")


@pytest.mark.parametrize("state", IngestState)
@pytest.mark.parametrize("width", [80, 120, 200])
def test_only_timed_columns_are_made_again_when_time_passes(state, width):
    row = ingest("layer", 4, 10, state=state, silent=40, age=60)
    fitted = fit(INGEST_COLUMNS, width)
    before, later = cells_of(row, fitted, NOW), NOW + 3723 * 10**9
    assert cells_later(row, fitted, later, before) == cells_of(row, fitted, later)
    row = blob("x")
    fitted = fit(BLOB_COLUMNS, width)
    before = cells_of(row, fitted, NOW)
    assert cells_later(row, fitted, later, before) == cells_of(row, fitted, later)


def test_a_column_that_is_not_timed_is_not_computed_again():
    row = ingest("layer", state=IngestState.STALLED, silent=40)
    fitted = fit(INGEST_COLUMNS, 120)
    before = cells_of(row, fitted, NOW)
    after = cells_later(row, fitted, NOW + 10**9, before)
    same = [c.key for (c, _), old, new in zip(fitted, before, after, strict=True) if old is new]
    assert {"ref", "progress", "percent", "offset", "rate", "eta"} <= set(same)
