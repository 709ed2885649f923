"""The screen on a real store: what is confirmed happens on the disk, and nothing else does."""

from __future__ import annotations

import pytest
from running import running

from contentui.content.digest import Digest
from contentui.content.errors import NotFound
from contentui.stores.local.store import LocalStore
from contentui.stores.source import parse
from contentui.tui.screens.journal import JournalScreen
from contentui.tui.screens.plan import PlanScreen
from contentui.tui.screens.probes import ProbesScreen
from contentui.tui.session import Session
from contentui.tui.text_view import TextView


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def where(tmp_path):
    return str(tmp_path / "store")


@pytest.fixture
def store(where):
    store = LocalStore(where, create=True)
    yield store
    store.close()


def leave_ingest(store, ref, data=b"x" * 1000):
    with store.writer(ref, total=5000) as writer:
        writer.write(data)


async def test_an_ingest_appears_moves_and_becomes_a_blob(where, store):
    store.put(b"{}")
    async with running(Session(parse(where))) as ui:
        await ui.shown()
        with store.writer("mine", total=10) as writer:
            writer.write(b"12345")
            await ui.until(lambda: "mine" in ui.text() and "50%" in ui.text())
            assert "moving" in ui.text()
            writer.write(b"67890")
            digest = writer.commit().digest
        await ui.until(lambda: not ui.dashboard.ingests.shown)
        await ui.until(lambda: str(digest) in {row.info.digest for row in ui.dashboard.blobs.shown})


async def test_an_abandoned_ingest_is_aborted_and_the_journal_knows(where, store):
    leave_ingest(store, "left")
    leave_ingest(store, "kept")
    async with running(Session(parse(where))) as ui:
        await ui.shown()
        await ui.until(lambda: len(ui.dashboard.ingests.shown) == 2)
        table = ui.dashboard.ingests.table
        table.cursor_key = next(r.key for r in table.rows if r.status.ref == "left")
        await ui.press("a")
        plan = await ui.screen(PlanScreen)
        assert "contentui --store" in ui.text()
        plan.query_one("#plan-confirm").press()
        await ui.until(lambda: "left: aborted" in ui.messages)
        assert [status.ref for status in store.statuses()] == ["kept"]
        await ui.until(lambda: [r.status.ref for r in ui.dashboard.ingests.shown] == ["kept"])
        await ui.press("j")
        screen = await ui.screen(JournalScreen)
        assert "abort left" in screen.query_one(TextView).plain


async def test_what_moved_since_it_was_shown_is_skipped_and_named(where, store):
    leave_ingest(store, "left")
    async with running(Session(parse(where))) as ui:
        await ui.shown()
        await ui.until(lambda: ui.dashboard.ingests.shown)
        await ui.press("a")
        plan = await ui.screen(PlanScreen)
        assert not plan.needs_typing
        with store.writer("left", total=5000) as writer:
            writer.write(b"more")
        plan.query_one("#plan-confirm").press()
        await ui.until(lambda: "skipped" in ui.messages)
        assert store.status("left").offset == 1004


async def test_a_held_ingest_takes_the_word_and_names_its_holder(where, store):
    with store.writer("busy", total=5000) as writer:
        writer.write(b"x" * 1000)
        async with running(Session(parse(where))) as ui:
            await ui.shown()
            await ui.until(lambda: ui.dashboard.ingests.shown)
            await ui.press("a")
            plan = await ui.screen(PlanScreen)
            assert plan.needs_typing
            await ui.press(*"abort", "enter")
            await ui.until(lambda: "busy: aborted" in ui.messages)
            with pytest.raises(NotFound):
                store.status("busy")


async def test_a_blob_is_verified_and_a_damaged_one_is_told(where, store, tmp_path):
    info = store.put(b"good bytes")
    async with running(Session(parse(where))) as ui:
        await ui.shown()
        await ui.until(lambda: ui.dashboard.blobs.shown)
        await ui.press("tab", "v")
        await ui.until(lambda: "is sound" in ui.messages)
        await ui.until(lambda: "✓ " in ui.text() and "its bytes match the digest" in ui.text())
        path = tmp_path / "store" / "blobs" / "sha256" / info.digest.encoded
        path.chmod(0o644)
        path.write_bytes(b"evil bytes")
        await ui.press("v")
        await ui.until(lambda: "is damaged: its" in ui.messages)
        await ui.until(lambda: "! d600" in ui.text())  # and it stays there


async def test_marked_blobs_are_deleted_together(where, store):
    for text in (b"one", b"two", b"three"):
        store.put(text)
    async with running(Session(parse(where))) as ui:
        await ui.shown()
        await ui.until(lambda: len(ui.dashboard.blobs.shown) == 3)
        await ui.press("tab", "space", "space", "d")
        plan = await ui.screen(PlanScreen)
        assert len(plan.plan.steps) == 2
        plan.query_one("#plan-confirm").press()
        await ui.until(lambda: len(store.digests()) == 1)
        await ui.until(lambda: not ui.dashboard.blobs.table.marks)


async def test_a_lost_directory_stays_on_the_screen_with_the_reason(where, store, tmp_path):
    digest = store.put(b"something").digest
    async with running(Session(parse(where))) as ui:
        await ui.shown()
        await ui.until(lambda: ui.dashboard.blobs.shown)
        (tmp_path / "store").rename(tmp_path / "away")
        await ui.until(lambda: "Out of date since" in ui.text())
        assert digest.encoded[:4] in ui.text()
        (tmp_path / "away").rename(tmp_path / "store")
        await ui.until(lambda: "Out of date since" not in ui.text())


async def test_a_missing_store_is_found_when_it_comes(where, monkeypatch):
    monkeypatch.setattr("contentui.tui.app.RETRY_S", 0.05)
    async with running(Session(parse(where))) as ui:
        await ui.until(lambda: "no content store" in ui.text())
        LocalStore(where, create=True).put(b"now")
        await ui.shown()
        await ui.until(
            lambda: Digest.of(b"now") in {r.info.digest for r in ui.dashboard.blobs.shown}
        )


async def test_read_only_shows_and_refuses(where, store):
    leave_ingest(store, "left")
    async with running(Session(parse(where), read_only=True)) as ui:
        await ui.shown()
        await ui.until(lambda: ui.dashboard.ingests.shown)
        await ui.press("a")
        await ui.until(lambda: "Read-only" in ui.messages)
        assert store.status("left").offset == 1000


async def test_v_tells_who_holds_an_ingest_and_what_an_idle_one_holds(where, store):
    leave_ingest(store, "left")
    with store.writer("busy", total=5000) as writer:
        writer.write(b"x" * 1000)
        async with running(Session(parse(where))) as ui:
            await ui.shown()
            await ui.until(lambda: len(ui.dashboard.ingests.shown) == 2)
            await ui.press("asterisk", "v")
            sheet = (await ui.screen(ProbesScreen)).query_one(TextView).plain
            assert "Held by a live writer" in sheet
            assert str(Digest.of(b"x" * 1000)) in sheet
            assert store.status("left").offset == 1000


async def test_rows_are_dimmed_while_they_are_out_of_date(tmp_path):
    store = LocalStore(str(tmp_path / "s"))
    store.put(b"blob")
    async with running(Session(parse(str(tmp_path / "s")))) as ui:
        await ui.until(lambda: ui.dashboard.blobs.shown)
        table = ui.dashboard.blobs.table
        assert not table._style("base").dim
        (tmp_path / "s").rename(tmp_path / "away")
        await ui.until(lambda: "Out of date" in ui.text() or "Lost the store" in ui.text())
        await ui.until(lambda: table._style("base").dim)
        (tmp_path / "away").rename(tmp_path / "s")
        await ui.until(lambda: not table._style("base").dim)
    store.close()
