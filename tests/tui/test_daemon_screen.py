"""The screen on a daemon's socket: namespaces, questions to it, and its absence."""

from __future__ import annotations

import pytest
from frozen import (
    DAEMON_BLOBS,
    DAEMON_INGESTS,
    INGESTS,
    NOW,
    SECOND,
    SOCKET,
    FrozenSession,
    of_daemon,
    store_view,
)
from running import running
from textual.widgets import Button, OptionList

from contentui.content.digest import Digest
from contentui.content.errors import Locked, PermissionDenied, Unavailable
from contentui.content.model import Holder, Liveness, Probe
from contentui.monitor.model import Freshness, Health
from contentui.monitor.states import IngestState
from contentui.stores.detect import Candidate
from contentui.stores.source import of_socket, of_store
from contentui.tui.screens.ask import AskScreen
from contentui.tui.screens.picker import PickerScreen
from contentui.tui.screens.plan import PlanScreen
from contentui.tui.screens.probes import ProbesScreen
from contentui.tui.text_view import TextView

BAD = Digest.of(b"other bytes")


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def picture(**more):
    return store_view(DAEMON_INGESTS, DAEMON_BLOBS, **({"source": SOCKET} | more))


def session(*pictures, **more):
    return FrozenSession(
        *(pictures or (picture(),)), source=SOCKET, rows=DAEMON_INGESTS, collects=True, **more
    )


STALLED, ABANDONED = DAEMON_INGESTS[5], DAEMON_INGESTS[6]
HELD = Probe(STALLED.status, Liveness.HELD, Holder(812, 0, "", NOW - 60 * SECOND))
FREE = Probe(ABANDONED.status, Liveness.FREE, None, Digest.of(b"so far"))


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])
async def test_namespaces_have_a_column_and_push_off_nothing_that_matters(size):
    async with running(session(), size=size) as ui:
        await ui.shown()
        text = ui.text()
        for word in ("NAMESPACE", "REF", "%", "OFFSET", "RATE", "ETA", "STATE", "k8s.io"):
            assert word in text
        assert "stalled" in text
        assert "containerd" in text.splitlines()[0]
        if size[0] >= 120:
            assert "all namespaces" in text


async def test_without_namespaces_there_is_no_column():
    async with running(FrozenSession(), size=(200, 50)) as ui:
        await ui.shown()
        assert "NAMESPACE" not in ui.text()
        for _ in range(12):
            await ui.press("s")
            assert ui.dashboard.ingests.view.sort != "namespace"


async def test_the_column_comes_with_the_first_namespace_and_stays():
    frozen = session(store_view((), (), source=SOCKET))
    async with running(frozen) as ui:
        await ui.shown()
        assert "NAMESPACE" not in ui.text()
        frozen.push(picture(seq=2))
        await ui.until(lambda: "NAMESPACE" in ui.text())
        ui.dashboard.ingests.view.sort_by("namespace")
        frozen.push(store_view((), (), source=SOCKET, seq=3))
        await ui.until(lambda: not ui.dashboard.ingests.shown)
        assert ui.dashboard.ingests.view.sort == "namespace"


async def test_namespaces_sort_filter_and_have_their_detail():
    async with running(session(), size=(200, 50)) as ui:
        await ui.shown()
        await ui.press("slash", *"ns:k8s", "enter")
        await ui.until(lambda: len(ui.dashboard.ingests.shown) == 4)
        await ui.press("escape")
        ui.dashboard.ingests.view.sort_by("namespace")
        ui.dashboard._refresh_panes()
        names = [row.status.namespace for row in ui.dashboard.ingests.shown]
        assert names == sorted(names)
        ui.dashboard.ingests.table.cursor_key = STALLED.key
        await ui.until(lambda: "through containerd (pid 812)" in ui.text())
        await ui.press("tab")
        assert "default, k8s.io" in ui.text()


async def test_v_asks_for_the_lock_once_and_tells_what_to_do():
    frozen = session(probes={ABANDONED.status.id: FREE})
    async with running(frozen) as ui:
        await ui.shown()
        assert frozen.probed == []  # looking is never asking
        ui.dashboard.ingests.table.cursor_key = ABANDONED.key
        await ui.press("v")
        plain = (await ui.screen(ProbesScreen)).query_one(TextView).plain
        assert "No writer holds it" in plain
        assert str(FREE.digest) in plain
        assert ABANDONED.status.ref in plain
        assert "namespace moby" in plain
        assert frozen.probed == [ABANDONED.status]
        await ui.press("v")
        assert ui.app.screen is ui.dashboard


async def test_what_the_daemon_refuses_to_tell_is_told():
    frozen = session(probes={ABANDONED.status.id: Locked("somebody\x1b[31m has it", advice="wait")})
    async with running(frozen) as ui:
        await ui.shown()
        ui.dashboard.ingests.table.cursor_key = ABANDONED.key
        await ui.press("v")
        plain = (await ui.screen(ProbesScreen)).query_one(TextView).plain
        assert "somebody\\x1b[31m has it" in plain
        assert "wait" in plain


async def test_a_large_ingest_is_read_only_after_a_yes():
    frozen = session(probes={STALLED.status.id: HELD})
    async with running(frozen, size=(80, 24)) as ui:
        await ui.shown()
        ui.dashboard.ingests.table.cursor_key = STALLED.key
        await ui.press("v")
        ask = await ui.screen(AskScreen)
        assert "1.90 GB" in ui.text()
        assert ask.focused is ask.query_one("#ask-cancel")
        await ui.press("enter")
        assert ui.app.screen is ui.dashboard
        assert frozen.probed == []
        await ui.press("v")
        ask = await ui.screen(AskScreen)
        ask.query_one("#ask-go-on", Button).press()
        sheet = await ui.screen(ProbesScreen)
        assert "Held by a live writer" in sheet.query_one(TextView).plain


async def test_where_nobody_waits_a_large_one_is_just_read():
    frozen = FrozenSession(probes={INGESTS[5].status.id: Probe(INGESTS[5].status, Liveness.FREE)})
    async with running(frozen) as ui:
        await ui.shown()
        ui.dashboard.ingests.table.cursor_key = INGESTS[5].key
        await ui.press("v")
        sheet = await ui.screen(ProbesScreen)
        assert "No writer holds it" in sheet.query_one(TextView).plain


async def test_an_answer_that_comes_late_does_not_cover_what_was_opened_meanwhile():
    frozen = session(probes={ABANDONED.status.id: FREE})
    async with running(frozen) as ui:
        await ui.shown()
        await ui.press("question_mark")
        top = ui.app.screen
        ui.app.operations.probe([ABANDONED.status])
        await ui.until(lambda: "1 probed: 1 free" in ui.messages)
        assert ui.app.screen is top


async def test_several_are_asked_one_after_the_other_and_listed():
    poisoned = DAEMON_INGESTS[0].status._replace(refused=BAD)
    rows = [DAEMON_INGESTS[place] for place in (0, 1, 6)]
    frozen = session(
        probes={
            rows[0].status.id: Probe(poisoned, Liveness.FREE, None, BAD),
            ABANDONED.status.id: FREE,
        }
    )
    async with running(frozen) as ui:
        await ui.shown()
        ui.dashboard.ingests.table.marks = {row.key for row in rows}
        await ui.until(lambda: "v Verify 3 marked" in ui.keys)
        await ui.press("v")
        sheet = await ui.screen(ProbesScreen)
        plain = sheet.query_one(TextView).plain
        assert "Poisoned" in plain
        assert "it is gone" in plain
        title = sheet.query_one(".overlay").border_title
        assert "3 probed" in title
        assert "1 poisoned" in title
        assert {each.id for each in frozen.probed} == {row.status.id for row in rows}


async def test_too_many_are_not_asked_at_all():
    from frozen import ingest

    rows = tuple(of_daemon(ingest(f"r{n}", offset=n), "ci") for n in range(51))
    frozen = FrozenSession(store_view(rows), rows=rows)
    async with running(frozen) as ui:
        await ui.shown()
        await ui.press("asterisk", "v")
        await ui.until(lambda: "At most 50" in ui.messages)
        assert frozen.probed == []


async def test_what_a_probe_found_poisoned_is_poisoned_in_the_next_picture():
    frozen = session()
    async with running(frozen) as ui:
        await ui.shown()
        status = STALLED.status._replace(refused=BAD, offset=9, total=9)
        row = STALLED._replace(status=status, state=IngestState.POISONED)
        frozen.push(store_view((row,), (), seq=2, source=SOCKET))
        await ui.until(lambda: "! poisoned" in ui.text())
        assert str(BAD) in ui.text()


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_plan_tells_the_namespace_and_what_the_daemon_does(size):
    async with running(session(), size=size) as ui:
        await ui.shown()
        ui.dashboard.ingests.table.cursor_key = STALLED.key
        await ui.press("a")
        plan = await ui.screen(PlanScreen)
        plain = plan.query_one(TextView).plain
        assert "namespace k8s.io" in plain
        assert "no conditional delete" in plain
        assert f"'{SOCKET}?namespace=k8s.io'" in plain
        await ui.press("escape", "tab")
        ui.dashboard.blobs.table.cursor_key = DAEMON_BLOBS[0].key
        await ui.press("d")
        plan = await ui.screen(PlanScreen)
        plain = plan.query_one(TextView).plain
        assert "namespaces default, k8s.io" in plain
        assert "next garbage collection" in plain


async def test_a_notification_of_the_store_is_shown_once():
    frozen = session()
    async with running(frozen) as ui:
        await ui.shown()
        from dataclasses import replace

        frozen.push(replace(picture(seq=2), notices=("another daemon\x1b[2J answers now",)))
        await ui.until(lambda: "another daemon\\x1b[2J answers now" in ui.messages)
        frozen.push(picture(seq=3))
        await ui.pilot.pause(0.05)
        assert ui.messages.count("answers now") == 1


async def test_a_lost_daemon_leaves_its_last_picture_and_the_cursor_where_it_was():
    frozen = session()
    gone = Health(Freshness.STALE, "the daemon doesn't answer; trying again", NOW)
    async with running(frozen, size=(80, 24)) as ui:
        await ui.shown()
        table = ui.dashboard.ingests.table
        table.cursor_key = STALLED.key
        frozen.push(picture(seq=2, health=gone, taken_ns=NOW + 14 * SECOND))
        await ui.until(lambda: "stale 14s" in ui.text())
        await ui.until(lambda: "Out of date since" in ui.text())
        assert "doesn't answer" in ui.text()
        for key in ("a", "t", "v"):
            await ui.press(key)
        await ui.until(lambda: ui.messages.count("Not now.") == 1)
        assert ui.app.screen is ui.dashboard
        assert frozen.probed == []
        await ui.until(lambda: "r Try now" in ui.keys)
        await ui.press("r")
        assert frozen.woken
        frozen.push(picture(seq=3, taken_ns=NOW + 20 * SECOND))
        await ui.until(lambda: "stale" not in ui.text())
        assert table.cursor_key == STALLED.key
        await ui.until(lambda: "Try now" not in ui.keys)


async def test_a_daemon_that_never_answered_tells_why_instead_of_emptiness():
    never = Health(Freshness.STALE, "nobody listens there; trying again")
    frozen = session(store_view((), (), source=SOCKET, health=never))
    async with running(frozen) as ui:
        await ui.shown()
        assert "nobody listens there" in ui.dashboard.ingests.empty_text
        assert "can't be shown" in ui.text()


async def test_a_start_that_fails_is_tried_again_later_each_time_or_on_a_key(monkeypatch):
    monkeypatch.setattr("contentui.tui.app.RETRY_S", 30.0)
    denied = PermissionDenied("permission denied at /run (drwx------ root:root; you are nobody)")
    frozen = session(failures=[Unavailable("nobody listens there"), denied])
    async with running(frozen, size=(80, 24)) as ui:
        await ui.until(lambda: "drwx------ root:root" in ui.text())
        await ui.until(lambda: "r Try now" in ui.keys)
        await ui.press("r")
        await ui.until(lambda: "nobody listens there" in ui.text())
        await ui.press("r")
        await ui.shown()
        assert frozen.opened == 3


SOCKETS = [
    Candidate("this directory", of_store(".content"), "not there yet", True, False),
    Candidate("containerd", of_socket("/run/containerd/containerd.sock"), "all of it", True),
    Candidate("docker", of_socket("/run/docker.sock"), "permission denied", False),
]


async def test_the_picker_opens_a_socket():
    frozen = session()
    async with running(frozen) as ui:
        await ui.shown()
        chosen = []
        ui.app.push_screen(PickerScreen(lambda: SOCKETS), chosen.append)
        picker = await ui.screen(PickerScreen)
        await ui.until(lambda: picker.query_one(OptionList).highlighted == 1)
        await ui.press("enter")
        await ui.until(lambda: chosen)
        assert chosen == [(of_store(SOCKET), False)]
