"""Pulls of other processes as groups: what is drawn, and what keys do on a group's line."""

from __future__ import annotations

import pytest
from frozen import INGESTS, NOW, SOURCE, FrozenSession, digest, layer, store_view
from pulls import OTHER, PULL, RESOLVING, RETRY, part, picture, silent
from running import running
from test_snapshots import NAMES, SIZES, _one_place, pressing, settled  # noqa: F401 - a fixture

from contentui.content.model import ingest_id
from contentui.monitor.transfers import TransferTracker
from contentui.present.cells import elide_image
from contentui.present.columns import INGEST_COLUMNS, Heading, cells_of, fit
from contentui.transfers.model import Phase
from contentui.tui.app import ContentUI
from contentui.tui.groups import GroupHeading, arrange
from contentui.tui.screens.detail import DetailScreen
from contentui.tui.screens.plan import PlanScreen

SECOND = 10**9


def headings(*transfers):
    return [GroupHeading(group) for group in picture(*transfers).groups]


@pytest.mark.parametrize("size", SIZES, ids=NAMES)
def test_a_grouped_pull(snap_compare, size):
    session = FrozenSession(picture(PULL, OTHER, RESOLVING))
    assert snap_compare(ContentUI(session), terminal_size=size, run_before=settled)


def test_what_is_known_of_a_group(snap_compare):
    session = FrozenSession(picture(PULL))
    keys = ("home", *["down"] * 5)
    assert snap_compare(ContentUI(session), terminal_size=(120, 40), run_before=pressing(*keys))


def line(row, width):
    return "".join(f"{text} " for text, _ in cells_of(row, fit(INGEST_COLUMNS, width), NOW))


@pytest.mark.parametrize("width", range(20, 200, 7))
def test_a_line_fills_its_width_and_no_more(width):
    shown = picture(PULL, OTHER, RESOLVING)
    for row in (*shown.ingests[:3], *map(GroupHeading, shown.groups)):
        fitted = fit(INGEST_COLUMNS, width)
        full = sum(cells for _, cells in fitted) + len(fitted) - 1
        assert len(" ".join(text for text, _ in cells_of(row, fitted, NOW))) == full


def test_the_sum_counts_what_has_no_ingest():
    group = picture(PULL).groups[0]
    assert group.total == 7_000 + 30_000_000 + 34_300_000 + 50_300_000 + 12_000_000
    assert group.offset == 7_000 + 30_000_000 + 31_200_000 + 27_700_000
    assert set(group.members) == {(SOURCE, ingest_id(layer("a"))), (SOURCE, ingest_id(layer("b")))}
    assert group.rate == pytest.approx(9_000_000)
    assert group.eta_s == pytest.approx((group.total - group.offset) / group.rate)


def test_words_of_parts_and_of_the_whole():
    shown = picture(PULL, OTHER, RESOLVING)
    retrying = next(row for row in shown.ingests if row.status.ref == layer("b"))
    assert RETRY[:32] in line(retrying, 77)
    assert RETRY in line(retrying, 190)
    pull, other, resolving = (line(GroupHeading(group), 77) for group in shown.groups)
    assert "pull 2/5" in pull
    assert "waiting for pid 2231" in other
    assert "resolving" in resolving
    failed = PULL._replace(error="no such image")
    assert "failed: no such image" in line(*headings(failed), 120)


def test_an_ingest_belongs_to_the_one_that_moves_it():
    shown = picture(OTHER, PULL)
    by_image = {group.transfer.image: group for group in shown.groups}
    assert (SOURCE, ingest_id(layer("a"))) in by_image[PULL.image].members
    assert by_image[OTHER.image].members == ()


def test_an_ingest_is_found_by_the_digest_it_expects():
    row = INGESTS[0]._replace(status=INGESTS[0].status._replace(ref="x", id=ingest_id("x")))
    assert picture(PULL, rows=(row, INGESTS[1])).groups[0].members[0] == (SOURCE, ingest_id("x"))


def test_hostile_words_are_harmless():
    bad = PULL._replace(image="a\x1b[2J/[/b]\n:1", message="\x1b]0;x\x07", pid=10**300)
    text = line(*headings(bad), 120) + headings(bad)[0].search_text
    assert "\x1b" not in text
    assert "\n" not in text
    huge = PULL._replace(parts=(part("a", Phase.DONE, 10**400, 10**400), part("n", Phase.DONE, -5)))
    assert line(*headings(huge), 77)


def test_nothing_is_made_anew_while_nothing_changes():
    rows, told = silent(INGESTS), [PULL]
    watch = TransferTracker(lambda: told)
    first, _ = watch.update(rows, SECOND)
    again, _ = watch.update(rows, 2 * SECOND)
    assert again is first
    moved = (rows[0]._replace(rate=1.0), *rows[1:])
    third, _ = watch.update(moved, 3 * SECOND)
    assert [a is b for a, b in zip(third, first, strict=True)].count(False) == 1
    told.clear()
    assert watch.update(moved[2:], 4 * SECOND) == (moved[2:], ())


def test_one_that_ends_early_is_told_for_a_while():
    rows, told = INGESTS, [PULL]
    watch = TransferTracker(lambda: told)
    watch.update(rows, SECOND)
    told.clear()
    (group,) = watch.update(rows, SECOND + SECOND // 4)[1]
    assert not group.ended
    (group,) = watch.update(rows, 4 * SECOND)[1]
    assert group.ended
    assert line(GroupHeading(group), 120).strip().endswith("ended early: pid 2231 is gone")
    assert watch.update(rows, 60 * SECOND) == (rows, ())
    assert watch.is_calm


def test_one_that_is_done_vanishes_at_once():
    rows, told = INGESTS, [PULL]
    watch = TransferTracker(lambda: told)
    watch.update(rows, SECOND)
    told.clear()
    assert watch.update(rows[2:], 2 * SECOND) == (rows[2:], ())


def test_without_groups_rows_are_as_they_were():
    (heading,) = headings(PULL)
    rows = [INGESTS[4], INGESTS[1], INGESTS[3], INGESTS[0]]
    made = arrange(rows, [heading])
    assert made == [rows[0], heading, rows[1], rows[3], rows[2]]
    assert arrange(rows[:1], [heading]) == [heading, rows[0]]
    assert arrange(rows[:1], [heading], "nothing".__eq__) == rows[:1]


@pytest.mark.parametrize(
    ("width", "shown"),
    [(40, "docker.io/library/postgres:17"), (24, "…/library/postgres:17"), (12, "postgres:17"),
     (9, "post…s:17")],
)  # fmt: skip
def test_names_lose_their_host_first(width, shown):
    assert elide_image("docker.io/library/postgres:17", width) == shown


async def test_keys_on_a_groups_line_are_for_the_whole_pull():
    session = FrozenSession(picture(PULL))
    async with running(session) as ui:
        await ui.shown()
        table = ui.dashboard.ingests.table
        place = next(n for n, row in enumerate(table.rows) if isinstance(row, Heading))
        await ui.press("home", *["down"] * place)
        assert table.cursor_heading is not None
        assert table.cursor_row is None
        assert "a Abort all of it" in ui.keys
        await ui.press("space")
        assert not table.marks
        await ui.press("a")
        plan = (await ui.screen(PlanScreen)).plan
        members = picture(PULL).groups[0].members
        assert {(SOURCE, step.target.id) for step in plan.steps} == set(members)
        assert len(members) > 1
        await ui.press("escape")
        await ui.until(lambda: ui.app.screen is ui.dashboard)
        assert str(digest("later")) in ui.dashboard.query_one("#detail").plain
        await ui.press("asterisk")
        assert table.marks == {row.key for row in INGESTS}
        await ui.press("escape", "down")
        assert table.cursor_row is not None
        assert table.cursor_row.image == PULL.image
        await ui.press("up", "enter")
        sheet = await ui.screen(DetailScreen)
        assert sheet.query_one(".overlay").border_title == "Pull"


async def test_cursor_marks_filter_and_sort_stay_with_their_items():
    session = FrozenSession(picture(PULL))
    async with running(session) as ui:
        await ui.shown()
        table = ui.dashboard.ingests.table
        table.cursor_key = (SOURCE, ingest_id(layer("b")))
        await ui.press("space")
        table.cursor_key = (SOURCE, ingest_id(layer("b")))
        session.push(store_view(silent(INGESTS), seq=2))
        await ui.until(lambda: not any(isinstance(row, Heading) for row in table.rows))
        assert table.cursor_key == (SOURCE, ingest_id(layer("b")))
        assert table.marks == {(SOURCE, ingest_id(layer("b")))}
        session.push(picture(PULL))
        await ui.until(lambda: any(isinstance(row, Heading) for row in table.rows))
        assert table.cursor_key == (SOURCE, ingest_id(layer("b")))
        await ui.press("slash", *"billing")
        await ui.until(lambda: len(table.rows) == 3)
        assert isinstance(table.rows[0], Heading)
