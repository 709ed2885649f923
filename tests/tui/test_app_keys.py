"""What each key does, and that the footer and the help list only those that do something."""

from __future__ import annotations

import base64

import pytest
from frozen import BLOBS, INGESTS, NOW, SECOND, FrozenSession, store_view
from running import running
from textual.events import Key
from textual.widgets import Button, Input

from contentui.actions.model import Verb
from contentui.content.errors import NotFound
from contentui.content.model import IngestId
from contentui.monitor.model import Freshness, Health
from contentui.tui.app import Appearance
from contentui.tui.messages import StoreViewTaken
from contentui.tui.screens.detail import DetailScreen
from contentui.tui.screens.help import HelpScreen
from contentui.tui.screens.journal import JournalScreen
from contentui.tui.screens.picker import PickerScreen
from contentui.tui.screens.plan import PlanScreen
from contentui.tui.text_view import TextView


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("TMUX", raising=False)


async def test_the_footer_names_what_the_keys_would_do():
    async with running(FrozenSession(), size=(200, 50)) as ui:
        await ui.shown()
        await ui.until(lambda: "a Abort" in ui.keys)
        assert "t Truncate" in ui.keys
        assert "Delete" not in ui.keys
        await ui.press("space", "space", "space")
        await ui.until(lambda: "a Abort 3 marked" in ui.keys)
        assert "esc Clear 3 marks" in ui.keys
        await ui.press("tab")
        await ui.until(lambda: "d Delete" in ui.keys)
        assert "v Verify" in ui.keys
        assert "Abort" not in ui.keys


async def test_nothing_to_act_on_means_no_keys_that_act():
    async with running(FrozenSession(store_view((), ()))) as ui:
        await ui.shown()
        await ui.until(lambda: "q Quit" in ui.keys)
        for word in ("Abort", "Truncate", "Mark", "Filter", "Sort", "Copy", "Detail"):
            assert word not in ui.keys
        assert "contentui --store /var/lib/store ingest" in ui.text()


async def test_the_footer_keeps_what_matters_on_a_narrow_screen():
    async with running(FrozenSession(), size=(80, 24)) as ui:
        await ui.shown()
        await ui.until(lambda: "a Abort" in ui.keys)
        assert len(ui.keys) <= 78
        for word in ("Abort", "Filter", "Help", "Quit"):
            assert word in ui.keys


async def test_focus_of_a_plan_starts_on_cancel_and_enter_does_nothing():
    session = FrozenSession()
    async with running(session) as ui:
        await ui.shown()
        await ui.press("a")
        plan = await ui.screen(PlanScreen)
        assert plan.focused is plan.query_one("#plan-cancel")
        await ui.press("enter")
        assert ui.app.screen is ui.dashboard
        assert session.ran == []


async def test_aborting_what_moves_takes_the_word():
    session = FrozenSession()
    async with running(session, size=(80, 24)) as ui:
        await ui.shown()
        ui.dashboard.ingests.table.cursor_key = INGESTS[2].key
        await ui.press("a")
        plan = await ui.screen(PlanScreen)
        assert plan.query_one("#plan-confirm", Button).disabled
        text = ui.text()
        assert "held by a live writer" in text
        assert "receiving bytes now" in text
        assert "pid 2231" in text
        await ui.press(*"abor", "enter")
        assert ui.app.screen is plan
        await ui.press("t", "enter")
        await ui.until(lambda: session.ran)
        ((done, allow),) = session.ran
        assert [step.target.id for step in done.steps] == [INGESTS[2].status.id]
        assert allow == done.concerns


async def test_an_idle_ingest_takes_only_the_button():
    session = FrozenSession()
    async with running(session) as ui:
        await ui.shown()
        ui.dashboard.ingests.table.cursor_key = INGESTS[6].key
        await ui.press("t")
        plan = await ui.screen(PlanScreen)
        assert not plan.needs_typing
        await ui.press("tab", "enter")
        await ui.until(lambda: session.ran)
        await ui.until(lambda: "truncated" in ui.messages)


async def test_a_plan_of_refusals_has_nothing_to_confirm():
    async with running(FrozenSession()) as ui:
        await ui.shown()
        ui.dashboard.ingests.table.cursor_key = INGESTS[2].key
        await ui.press("t")
        plan = await ui.screen(PlanScreen)
        assert not plan.query("#plan-confirm")
        assert "refused" in ui.text()
        assert "pid 2231" in ui.text()
        await ui.press("escape")
        assert ui.app.screen is ui.dashboard


async def test_a_long_plan_lists_everything_and_scrolls():
    from frozen import ingest

    rows = tuple(ingest(f"layer-{n:04}", offset=n, total=9999, age=n + 1) for n in range(2000))
    session = FrozenSession(store_view(rows), rows=rows)
    async with running(session, size=(80, 24)) as ui:
        await ui.shown()
        await ui.press("asterisk", "a")
        plan = await ui.screen(PlanScreen)
        items = plan.query_one(TextView)
        assert all(f"layer-{n:04}" in items.plain for n in (0, 999, 1999))
        assert items.max_scroll_y > 2000
        await ui.press("pagedown")
        await ui.until(lambda: items.scroll_offset.y > 0)
        assert plan.query_one("#plan-cancel").region.bottom <= 24


async def test_d_on_an_ingest_aborts_and_on_a_blob_deletes():
    async with running(FrozenSession()) as ui:
        await ui.shown()
        await ui.press("d")
        assert (await ui.screen(PlanScreen)).plan.verb == "abort"
        await ui.press("escape", "tab", "d")
        assert (await ui.screen(PlanScreen)).plan.verb == "delete"


async def test_marks_that_a_filter_hides_are_not_acted_on():
    session = FrozenSession()
    async with running(session) as ui:
        await ui.shown()
        ui.dashboard.ingests.table.marks = {INGESTS[4].key, INGESTS[0].key}
        await ui.press("slash", *"sensor", "enter")
        await ui.until(lambda: "a Abort 1 marked" in ui.keys)
        await ui.press("a")
        plan = await ui.screen(PlanScreen)
        assert [step.target.id for step in plan.plan.steps] == [INGESTS[4].status.id]


async def test_only_hidden_marks_leave_no_key_that_destroys():
    async with running(FrozenSession()) as ui:
        await ui.shown()
        ui.dashboard.ingests.table.marks = {INGESTS[0].key}
        await ui.press("slash", *"sensor", "enter")
        await ui.until(lambda: "filtered away" in str(ui.dashboard.ingests.border_title))
        await ui.press("a")
        await ui.pilot.pause()
        assert ui.app.screen is ui.dashboard


async def test_letters_typed_into_the_filter_are_letters():
    async with running(FrozenSession()) as ui:
        await ui.shown()
        await ui.press("slash", *"adtqj")
        assert ui.app.screen is ui.dashboard
        assert ui.dashboard.query_one("FilterLine Input", Input).value == "adtqj"
        assert ui.dashboard.ingests.shown == []
        assert "esc shows everything" in ui.text()
        await ui.press("escape")
        assert len(ui.dashboard.ingests.shown) == len(INGESTS)


async def test_an_unfinished_pattern_is_harmless_and_says_so():
    async with running(FrozenSession()) as ui:
        await ui.shown()
        await ui.press("slash", *"re:(")
        assert len(ui.dashboard.ingests.shown) == len(INGESTS)
        assert "not a regular expression yet" in ui.text()


async def test_pause_holds_the_tables_and_the_header_goes_on():
    session = FrozenSession()
    async with running(session) as ui:
        await ui.shown()
        await ui.press("p")
        later = store_view(INGESTS[:2], taken_ns=NOW + 60 * SECOND, seq=2, source="/elsewhere")
        session.push(later)
        await ui.until(lambda: ui.dashboard.store_view is later)
        await ui.until(lambda: "/elsewhere" in ui.text())
        assert "PAUSED" in ui.text()
        assert len(ui.dashboard.ingests.shown) == len(INGESTS)
        await ui.press("p")
        await ui.until(lambda: len(ui.dashboard.ingests.shown) == 2)


async def test_a_covered_table_is_not_fed_and_catches_up():
    session = FrozenSession()
    async with running(session) as ui:
        await ui.shown()
        await ui.press("question_mark")
        await ui.screen(HelpScreen)
        later = store_view(INGESTS[:1], seq=2)
        session.push(later)
        await ui.until(lambda: ui.dashboard.store_view is later)
        assert len(ui.dashboard.ingests.shown) == len(INGESTS)
        await ui.press("escape")
        await ui.until(lambda: len(ui.dashboard.ingests.shown) == 1)


async def test_the_help_lists_the_keys_that_work_here():
    async with running(FrozenSession()) as ui:
        await ui.shown()
        ui.app.set_keymap({"ingest.abort": "x"})
        await ui.press("question_mark")
        text = (await ui.screen(HelpScreen)).query_one(TextView).plain
        assert "x        Abort" in text
        assert "Truncate" in text
        assert "Delete" not in text
        assert "poisoned" in text


async def test_a_remapped_key_works_and_the_footer_shows_it():
    async with running(FrozenSession()) as ui:
        await ui.shown()
        ui.app.set_keymap({"ingest.abort": "x"})
        await ui.until(lambda: "x Abort" in ui.keys)
        await ui.press("x")
        await ui.screen(PlanScreen)


async def test_read_only_hides_the_keys_and_tells_why():
    session = FrozenSession(store_view(read_only_reason="a containerd owns it"))
    async with running(session) as ui:
        await ui.shown()
        await ui.until(lambda: "Filter" in ui.keys)
        assert "Abort" not in ui.keys
        assert "read-only" in ui.text()
        await ui.press("a")
        await ui.until(lambda: "a containerd owns it" in ui.messages)
        assert ui.app.screen is ui.dashboard


async def test_hostile_refs_reach_neither_markup_nor_the_terminal():
    session = FrozenSession()
    async with running(session) as ui:
        await ui.shown()
        ui.dashboard.ingests.table.cursor_key = INGESTS[7].key
        for key in ("enter", "a", "question_mark", "j"):
            await ui.press(key)
            assert "\x1b" not in ui.text()
            await ui.until(lambda: ui.app.screen is not ui.dashboard)
            await ui.press("escape")
            await ui.until(lambda: ui.app.screen is ui.dashboard)
        await ui.press("slash", *"[/nope]")
        assert "[/nope]" in ui.text()


async def test_copy_goes_through_the_terminal():
    async with running(FrozenSession()) as ui:
        await ui.shown()
        ui.dashboard.ingests.table.cursor_key = INGESTS[2].key
        written = []
        ui.app._driver.write = written.append
        await ui.press("y")
        await ui.until(lambda: written)
        payload = written[0].removeprefix("\x1b]52;c;").removesuffix("\a")
        assert base64.b64decode(payload).decode() == INGESTS[2].status.ref


async def test_enter_shows_every_field_whole():
    async with running(FrozenSession(), size=(80, 24)) as ui:
        await ui.shown()
        ui.dashboard.ingests.table.cursor_key = INGESTS[2].key
        await ui.press("enter")
        text = (await ui.screen(DetailScreen)).query_one(TextView).plain
        assert INGESTS[2].status.ref in text
        assert f"ingest/{INGESTS[2].status.id}/" in text


async def test_an_empty_journal_says_so():
    async with running(FrozenSession()) as ui:
        await ui.shown()
        await ui.press("j")
        screen = await ui.screen(JournalScreen)
        assert "Nothing has been aborted" in screen.query_one(TextView).plain


async def test_zoom_gives_the_pane_the_screen_and_tab_changes_it():
    async with running(FrozenSession()) as ui:
        await ui.shown()
        dashboard = ui.dashboard
        await ui.press("z")
        await ui.until(lambda: not dashboard.blobs.display)
        await ui.until(lambda: dashboard.ingests.region.width == 120)
        await ui.press("tab")
        await ui.until(lambda: not dashboard.ingests.display)
        assert dashboard.focused is dashboard.blobs.table
        await ui.press("z")
        await ui.until(lambda: dashboard.ingests.display)


async def test_sorting_by_key_and_by_a_click_on_a_heading():
    async with running(FrozenSession()) as ui:
        await ui.shown()
        view = ui.dashboard.blobs.view
        await ui.press("tab")
        before = view.sort
        await ui.press("s")
        assert view.sort != before
        direction = view.descending
        await ui.press("S")
        assert view.descending is not direction
        await ui.pilot.click("#blobs-table", offset=(4, 0))
        assert view.sort == "digest"


async def test_what_is_on_the_screen_is_looked_at_first():
    session = FrozenSession()
    async with running(session) as ui:
        await ui.shown()
        await ui.until(lambda: session.focused)
        assert set(session.focused) == {row.key for row in INGESTS}
        assert all(isinstance(each, IngestId) for _, each in session.focused)


async def test_a_store_that_cannot_be_opened_is_told_and_tried_again(monkeypatch):
    monkeypatch.setattr("contentui.tui.app.RETRY_S", 0.01)
    session = FrozenSession(failures=[NotFound("there is no store", advice="make one")] * 2)
    async with running(session) as ui:
        await ui.until(lambda: "there is no store" in ui.text() or ui.dashboard.store_view)
        await ui.shown()
        assert session.opened == 3


async def test_a_stale_picture_is_called_one():
    health = Health(Freshness.STALE, "the directory is gone", NOW - 4 * SECOND)
    async with running(FrozenSession(store_view(health=health))) as ui:
        await ui.shown()
        assert "stale 4s" in ui.text()
        await ui.until(lambda: "the directory is gone" in ui.text())


async def test_without_a_store_it_asks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    async with running(FrozenSession(source=None)) as ui:
        picker = await ui.screen(PickerScreen)
        await ui.until(lambda: ".content" in ui.text())
        assert "opening makes an empty store" in ui.text()
        await ui.until(lambda: picker.focused is not None)
        await ui.press("enter")
        await ui.shown()
        assert ui.app.session.source.text == ".content"
        assert ui.app.session.create


@pytest.mark.parametrize("key", ["q", "ctrl+q"])
async def test_q_leaves(key):
    async with running(FrozenSession()) as ui:
        await ui.shown()
        await ui.press(key)
        await ui.until(lambda: ui.app._exit)
    assert ui.app.return_code == 0


async def test_no_color_draws_without_any(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    async with running(FrozenSession(), appearance=Appearance(no_color=True)) as ui:
        await ui.shown()
        assert ui.app.native_ansi_color
        colours = {
            segment.style.color.name
            for strip in ui.app.screen._compositor.render_strips()
            for segment in strip.apply_filter(ui.app._filters[-1], ui.app.background_colors[1])
            if segment.style is not None and segment.style.color is not None
        }
        assert colours <= {"default"}
        assert "stalled" in ui.text()


async def test_the_palette_has_our_commands():
    async with running(FrozenSession()) as ui:
        await ui.shown()
        titles = [command.title for command in ui.app.get_system_commands(ui.dashboard)]
        assert "Abort (a)" in titles
        assert "Theme" in titles
        assert not any(title.startswith(("Delete", "Try now")) for title in titles)


async def test_deleting_what_something_needs_takes_the_word():
    async with running(FrozenSession()) as ui:
        await ui.shown()
        await ui.press("tab")
        ui.dashboard.blobs.table.cursor_key = BLOBS[4].key
        await ui.press("d")
        plan = await ui.screen(PlanScreen)
        assert plan.needs_typing
        assert "ghcr.io/acme/trainer:cu128" in ui.text()


async def test_the_open_detail_follows_its_item_until_it_is_gone():
    session = FrozenSession()
    async with running(session, size=(80, 24)) as ui:
        await ui.shown()
        ui.dashboard.ingests.table.cursor_key = INGESTS[2].key
        await ui.press("enter")
        sheet = await ui.screen(DetailScreen)
        grown = INGESTS[2]._replace(status=INGESTS[2].status._replace(offset=5_123_456))
        ui.dashboard.post_message(StoreViewTaken(store_view((grown,), seq=2)))
        await ui.until(lambda: "5,123,456" in sheet.query_one(TextView).plain)
        ui.dashboard.post_message(StoreViewTaken(store_view((), seq=3)))
        await ui.until(lambda: "gone" in str(sheet.query_one(".overlay").border_title))


async def test_an_order_by_a_column_without_room_is_said_in_the_title():
    async with running(FrozenSession(), size=(80, 24)) as ui:
        await ui.shown()
        pane = ui.dashboard.ingests
        assert " by " not in str(pane.border_title)
        pane.view.sort_by("started")
        ui.dashboard._refresh_panes()
        assert "by started ↓" in str(pane.border_title)


async def test_keys_that_come_in_one_burst_go_where_they_were_meant():
    async with running(FrozenSession()) as ui:
        await ui.shown()
        for key in ("tab", "down", "d"):
            ui.app.post_message(Key(key, None))
        plan = await ui.screen(PlanScreen)
        assert plan.plan.verb is Verb.DELETE
