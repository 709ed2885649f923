"""The screen at three sizes, with prepared data and a fixed clock, as pictures."""

from __future__ import annotations

import pytest
from frozen import FrozenSession, store_view
from textual.widgets import Input

from contentui.tui.app import Appearance, ContentUI
from contentui.tui.screens.dashboard import Dashboard

SIZES = [(80, 24), (120, 40), (200, 50)]
NAMES = ["80x24", "120x40", "200x50"]


@pytest.fixture(autouse=True)
def _one_place(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("XDG_STATE_HOME", "/nowhere")
    import time

    time.tzset()


async def settled(pilot):
    """Until the picture is there and everything that was asked for is drawn."""
    app = pilot.app
    dashboard = next(s for s in app.screen_stack if isinstance(s, Dashboard))
    while dashboard.store_view is None:
        await pilot.pause(0.01)
    await pilot.pause()
    for field in app.screen.query(Input):
        field.cursor_blink = False
    await pilot.pause()


def pressing(*keys):
    async def run(pilot):
        await settled(pilot)
        for key in keys:
            await pilot.press(key)
            # A plan's worker goes on until its screen is closed.
            while isinstance(pilot.app.screen, Dashboard) and any(
                worker.is_running and worker.group in ("plan", "journal")
                for worker in pilot.app.workers
            ):
                await pilot.pause(0.01)
            await pilot.pause()
        await settled(pilot)

    return run


@pytest.mark.parametrize("size", SIZES, ids=NAMES)
def test_dashboard(snap_compare, size):
    assert snap_compare(ContentUI(FrozenSession()), terminal_size=size, run_before=settled)


@pytest.mark.parametrize("size", SIZES, ids=NAMES)
def test_plan(snap_compare, size):
    keys = ("asterisk", "a")
    assert snap_compare(ContentUI(FrozenSession()), terminal_size=size, run_before=pressing(*keys))


def test_marks_and_filter(snap_compare):
    keys = ("space", "space", "slash", "l", "a", "y", "e", "r")
    assert snap_compare(
        ContentUI(FrozenSession()), terminal_size=(80, 24), run_before=pressing(*keys)
    )


def test_blobs_and_their_detail(snap_compare):
    keys = ("tab", "down", "down")
    assert snap_compare(
        ContentUI(FrozenSession()), terminal_size=(120, 40), run_before=pressing(*keys)
    )


def test_detail(snap_compare):
    assert snap_compare(
        ContentUI(FrozenSession()), terminal_size=(80, 24), run_before=pressing("enter")
    )


def test_help(snap_compare):
    assert snap_compare(
        ContentUI(FrozenSession()), terminal_size=(120, 40), run_before=pressing("question_mark")
    )


def test_empty(snap_compare):
    session = FrozenSession(store_view((), ()))
    assert snap_compare(ContentUI(session), terminal_size=(80, 24), run_before=settled)


def test_light(snap_compare):
    app = ContentUI(FrozenSession(), appearance=Appearance(theme="contentui-light"))
    assert snap_compare(app, terminal_size=(120, 40), run_before=settled)


def test_sixteen_colours(snap_compare):
    app = ContentUI(FrozenSession(), appearance=Appearance(low_bandwidth=True))
    assert snap_compare(app, terminal_size=(80, 24), run_before=settled)
