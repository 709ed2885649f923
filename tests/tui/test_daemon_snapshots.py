"""The screen on a daemon's socket, as pictures."""

from __future__ import annotations

import pytest
from frozen import NOW, SECOND, FrozenSession
from test_daemon_screen import ABANDONED, BAD, DAEMON_INGESTS, FREE, STALLED, picture, session
from test_snapshots import NAMES, SIZES, _one_place, settled  # noqa: F401 - a fixture

from contentui.content.model import Liveness, Probe
from contentui.monitor.model import Freshness, Health
from contentui.stores.detect import Candidate
from contentui.stores.source import of_socket, of_store
from contentui.tui.app import ContentUI
from contentui.tui.screens.ask import AskScreen
from contentui.tui.screens.dashboard import Dashboard
from contentui.tui.screens.picker import PickerScreen
from contentui.tui.screens.plan import PlanScreen
from contentui.tui.screens.probes import ProbesScreen


def on(row, key, kind):
    """Press a key on a row, and wait for the screen that it opens."""

    async def run(pilot):
        await settled(pilot)
        dashboard = next(s for s in pilot.app.screen_stack if isinstance(s, Dashboard))
        dashboard.ingests.table.cursor_key = row.key
        await pilot.press(key)
        while not isinstance(pilot.app.screen, kind):
            await pilot.pause(0.01)
        await settled(pilot)

    return run


@pytest.mark.parametrize("size", SIZES, ids=NAMES)
def test_namespaces(snap_compare, size):
    assert snap_compare(ContentUI(session()), terminal_size=size, run_before=settled)


@pytest.mark.parametrize("size", SIZES[:2], ids=NAMES[:2])
def test_plan_on_a_daemon(snap_compare, size):
    app = ContentUI(session())
    assert snap_compare(app, terminal_size=size, run_before=on(STALLED, "a", PlanScreen))


def test_an_ingest_was_asked_for(snap_compare):
    app = ContentUI(session(probes={ABANDONED.status.id: FREE}))
    assert snap_compare(app, terminal_size=(80, 24), run_before=on(ABANDONED, "v", ProbesScreen))


def test_a_large_ingest_asks_first(snap_compare):
    app = ContentUI(session())
    assert snap_compare(app, terminal_size=(80, 24), run_before=on(STALLED, "v", AskScreen))


def test_several_were_asked_for(snap_compare, monkeypatch):
    monkeypatch.setattr("time.time_ns", lambda: NOW)
    poisoned = DAEMON_INGESTS[0].status._replace(refused=BAD)
    probes = {
        DAEMON_INGESTS[0].status.id: Probe(poisoned, Liveness.FREE, None, BAD),
        ABANDONED.status.id: FREE,
    }
    marked = {DAEMON_INGESTS[place].key for place in (0, 1, 6)}

    async def run(pilot):
        await settled(pilot)
        dashboard = next(s for s in pilot.app.screen_stack if isinstance(s, Dashboard))
        dashboard.ingests.table.marks = marked
        await pilot.pause()
        await on(ABANDONED, "v", ProbesScreen)(pilot)

    app = ContentUI(session(probes=probes))
    assert snap_compare(app, terminal_size=(120, 40), run_before=run)


@pytest.mark.parametrize("size", SIZES[:2], ids=NAMES[:2])
def test_stale(snap_compare, size):
    reason = "containerd at /run/containerd/containerd.sock doesn't answer; trying again"
    gone = Health(Freshness.STALE, reason, NOW)
    app = ContentUI(session(picture(health=gone, taken_ns=NOW + 14 * SECOND)))
    assert snap_compare(app, terminal_size=size, run_before=settled)


FOUND = [
    Candidate(
        "this directory", of_store(".content"), "not there yet: opening makes one", True, False
    ),
    Candidate(
        "containerd",
        of_socket("/run/containerd/containerd.sock"),
        "everything, in all namespaces, through the daemon",
        True,
    ),
    Candidate(
        "docker",
        of_socket("/run/docker/containerd/containerd.sock"),
        (
            "permission denied at /run/docker (drwx------ root:root; you are ana):"
            " run it as root or in that group"
        ),
        False,
    ),
    Candidate(
        "containerd",
        of_store("/var/lib/containerd/io.containerd.content.v1.content"),
        (
            "read-only: it belongs to containerd, which alone may change it; choose its"
            " socket above"
        ),
        True,
    ),
]  # fmt: skip


@pytest.mark.parametrize("size", SIZES[:2], ids=NAMES[:2])
def test_picker(snap_compare, size):
    async def run(pilot):
        await settled(pilot)
        pilot.app.push_screen(PickerScreen(lambda: FOUND))
        await pilot.pause()
        while not pilot.app.screen.query_one("OptionList").option_count:
            await pilot.pause(0.01)
        await settled(pilot)

    assert snap_compare(ContentUI(FrozenSession()), terminal_size=size, run_before=run)
