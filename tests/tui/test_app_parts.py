"""The small parts of the screen that need no screen."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import tracemalloc
from dataclasses import replace
from itertools import pairwise

import pytest
from frozen import INGESTS, NOW, SECOND, FrozenSession, store_view
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from running import running

from contentui.actions.facts import IngestFacts
from contentui.actions.model import Concern, Outcome, Result, Verb
from contentui.actions.plan import plan_ingests
from contentui.actions.planner import Planner
from contentui.content.digest import Digest
from contentui.content.model import Info, Liveness
from contentui.monitor.feed import CALM_POLL_S, Feed
from contentui.monitor.monitor import Monitor
from contentui.present.plans import plan_groups
from contentui.stores.detect import detect, first_choice
from contentui.stores.local.store import LocalStore
from contentui.stores.memory import MemoryStore
from contentui.stores.source import of_store
from contentui.tui.commands import COMMANDS
from contentui.tui.footer import Hint, fit
from contentui.tui.refresh_throttle import WINDOW, RefreshThrottle
from contentui.tui.run import screen_problem
from contentui.tui.screens.plan import PlanScreen, command_line, concern_lines
from contentui.tui.screens.texts import outcome
from contentui.tui.second_clock import looks_same
from contentui.tui.text_view import TextView, wrap


def test_a_slow_loop_halves_the_rate_and_a_quick_one_restores_it():
    pace = RefreshThrottle(0.25)
    changed = [pace.record_lag(0.2) for _ in range(WINDOW)]
    assert any(changed)
    assert pace.interval_s >= 0.5
    for _ in range(20 * WINDOW):
        pace.record_lag(0.001)
    assert pace.interval_s == 0.25
    assert not pace.is_slowed


def test_one_hiccup_changes_nothing():
    pace = RefreshThrottle(0.25)
    for n in range(10 * WINDOW):
        pace.record_lag(0.4 if n % WINDOW == 3 else 0.001)
    assert pace.interval_s == 0.25


def test_the_rate_never_falls_without_end():
    pace = RefreshThrottle(0.25, slowest_s=2.0)
    for _ in range(100 * WINDOW):
        pace.record_lag(5.0)
    assert pace.interval_s == 2.0


@given(st.text(max_size=300), st.integers(2, 60))
def test_wrapped_text_fits_and_loses_only_spaces(text, width):
    rows = wrap(text, width)
    assert all(cell_len(row) <= width for row in rows)
    assert "".join(rows).replace(" ", "") == text.replace(" ", "")


def test_the_footer_gives_up_the_least_important_first():
    hints = [Hint(str(n), str(n), "word", n, str(n)) for n in range(9)]
    kept = fit(hints, 30)
    assert [hint.rank for hint in kept] == list(range(len(kept)))
    assert 0 < len(kept) < 9


def test_ids_of_bindings_are_unique_and_keys_clash_only_between_panes():
    ids = [command.id for command in COMMANDS]
    assert len(set(ids)) == len(ids)
    by_key: dict[str, list[str]] = {}
    for command in COMMANDS:
        for key in command.keys.split(","):
            by_key.setdefault(key, []).append(command.group)
    clashes = {key: groups for key, groups in by_key.items() if len(groups) > 1}
    assert clashes == {"d": ["ingest", "blob"], "v": ["ingest", "blob"]}


def facts(*rows):
    return [IngestFacts(r.status, r.liveness, r.holder, r.rate > 0) for r in rows]


def test_the_command_is_the_plan_and_quotes_what_it_must():
    plan = plan_ingests(Verb.ABORT, "/srv/my store", facts(INGESTS[3], INGESTS[7]))
    command = command_line(plan)
    assert command.startswith("contentui --store '/srv/my store' abort --force ")
    assert "'upload-5f0c (registry push)'" in command
    assert f"id:{INGESTS[7].status.id}" in command
    assert "\x1b" not in command


def test_a_long_command_is_counted_for_the_eye():
    plan = plan_ingests(Verb.ABORT, "s", facts(*INGESTS))
    assert "… and " in command_line(plan, limit=100)
    assert "…" not in command_line(plan)


def test_each_concern_is_counted():
    lines = concern_lines(plan_ingests(Verb.ABORT, "s", facts(INGESTS[0], INGESTS[6])))
    assert lines == ["1 of 2 is held by a live writer.", "1 of 2 is receiving bytes now."]
    unknown = facts(INGESTS[6])[0]._replace(liveness=Liveness.UNKNOWN)
    assert concern_lines(plan_ingests(Verb.ABORT, "s", [unknown]))[0].startswith(
        "It is possibly held"
    )


def test_what_this_machine_has_is_found_with_what_may_be_done(tmp_path):
    root = tmp_path / "machine"
    content = root / "var/lib/containerd/io.containerd.content.v1.content"
    content.mkdir(parents=True)
    run = root / "run/k3s/containerd"
    run.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        previous = os.getcwd()
        os.chdir(run)  # a socket's path has to be short
        try:
            listener.bind("containerd.sock")
        finally:
            os.chdir(previous)
        found = here, sock, directory = detect(str(root), str(tmp_path / ".content"))
    assert here.can_open
    assert not here.exists
    assert directory.name == "containerd"
    assert "read-only" in directory.allowed
    assert sock.name == "k3s or rke2"
    assert sock.can_open
    assert sock.source.text == f"unix://{run}/containerd.sock"
    assert first_choice(found) == 1  # rather than an empty store


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_locked_door_is_named_with_mode_owner_and_way_out(tmp_path):
    door = tmp_path / "machine"
    socket_path = door / "run/containerd/containerd.sock"
    socket_path.parent.mkdir(parents=True)
    socket_path.touch()
    for directory in (tmp_path, *tmp_path.parents[:-2]):
        directory.chmod(0o755)
    (door / "run/containerd").chmod(0o710)
    program = (
        "import grp, os, pwd, urllib.parse\n"
        "from contentui.stores.detect import detect\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        f"print(detect({str(door)!r}, {str(tmp_path / 'none')!r})[1])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "drwx--x---" in done.stdout, done.stderr
    assert "you are nobody" in done.stdout
    assert "run it as root" in done.stdout
    assert "can_open=False" in done.stdout


def test_a_root_whose_daemon_listens_recommends_its_socket(tmp_path):
    root = tmp_path / "machine"
    (root / "var/lib/docker/containerd/daemon/io.containerd.content.v1.content").mkdir(parents=True)
    (root / "run/docker/containerd").mkdir(parents=True)
    *_, alone = detect(str(root), str(tmp_path))
    assert "socket" not in alone.allowed
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(
            f"/proc/self/fd/{os.open(root / 'run/docker/containerd', os.O_PATH)}/containerd.sock"
        )
        *_, sock, directory = detect(str(root), str(tmp_path))
    assert not sock.source.is_directory
    assert "better its socket, above" in directory.allowed


def test_a_pipe_is_no_screen(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    assert "terminal" in screen_problem()
    monkeypatch.setenv("TERM", "dumb")
    assert "dumb" in screen_problem()


def test_a_frozen_session_is_a_session():
    assert FrozenSession().source == of_store("/var/lib/store")


async def test_nothing_is_counted_before_the_first_view():
    opened = threading.Event()

    class Slow(FrozenSession):
        def open(self):
            opened.wait(20)
            return super().open()

    async with running(Slow()) as ui:
        await ui.until(lambda: "opening" in ui.text())
        assert ui.dashboard.ingests.border_title == "Ingests …"
        assert ui.dashboard.blobs.border_title == "Blobs …"
        assert "No blobs" not in ui.text()
        opened.set()
        await ui.until(lambda: "Blobs 7" in str(ui.dashboard.blobs.border_title))


def test_one_line_tells_how_many_were_done_and_why_the_first_was_not():
    plan = plan_ingests(Verb.ABORT, "s", facts(*INGESTS[:3]))
    outcomes = [
        Outcome(plan.steps[0], Result.DONE),
        Outcome(plan.steps[1], Result.SKIPPED, "it is gone"),
        Outcome(plan.steps[2], Result.SKIPPED, "it is gone as well"),
    ]
    text, severity = outcome(outcomes)
    assert severity == "warning"
    assert text.startswith("1 aborted, 2 skipped: ")
    assert "it is gone. j lists each." in text
    assert "\n" not in text


async def test_marked_items_that_go_one_by_one_are_counted_in_one_message():
    frozen = FrozenSession(store_view())
    async with running(frozen, size=(80, 24)) as ui:
        await ui.shown()
        await ui.press("*")
        for left in (6, 5, 3):
            frozen.push(store_view(INGESTS[:left], seq=10 - left))
            await ui.until(lambda left=left: len(ui.dashboard.ingests.shown) == left)
        await ui.until(lambda: "5 marked items are gone." in ui.messages)
        assert ui.messages.count("gone") == 1


async def test_no_message_covers_a_dialog():
    async with running(FrozenSession(), size=(80, 24)) as ui:
        await ui.shown()
        await ui.press("question_mark")
        ui.app.show_message("a message", "error")
        await ui.pilot.pause(0.1)
        assert "a message" not in ui.text()
        await ui.press("escape")
        await ui.until(lambda: "a message" in ui.text())


def test_views_of_the_same_rows_and_the_same_second_look_the_same():
    view = store_view()
    later = [replace(view, taken_ns=NOW + s * SECOND // 2) for s in range(12)]
    assert [looks_same(a, b) for a, b in pairwise(later)] == [True, False] * 5 + [True]
    assert [looks_same(a, b, 5) for a, b in pairwise(later)].count(False) in (1, 2)
    assert not looks_same(None, view)
    assert not looks_same(view, replace(view, ingests=INGESTS[:1]))


async def test_durations_go_on_while_a_calm_store_is_not_read():
    class SlowSession(FrozenSession):
        is_slow = True

    async with running(SlowSession(store_view())) as ui:
        await ui.shown()
        began_ns = ui.dashboard.now_ns
        before = ui.text()
        await ui.until(lambda: ui.dashboard.now_ns > began_ns)
        await ui.until(lambda: ui.text() != before)


def test_an_idle_store_is_read_every_two_seconds(tmp_path):
    with LocalStore(str(tmp_path / "s"), create=True) as store:
        store.put(b"x")
        monitor = Monitor(store)
        feed = Feed(monitor)
        for _ in range(4):
            monitor.tick()
        assert feed._pause_s() == CALM_POLL_S
        with store.writer("r") as writer:
            writer.write(b"1")
            monitor.tick()
            assert feed._pause_s() <= 0.25


def many_blobs(count):
    """Blobs that are no documents, so that none has to be read."""
    return [
        Info(Digest(f"sha256:{number:064x}"), 50_000_000 + number, NOW, 0, {})
        for number in range(count)
    ]


def delete_plan(infos):
    store = MemoryStore("m")
    store.walk = lambda filters=(): iter(infos)
    return Planner(store).delete(infos)


def test_a_large_plan_is_shown_in_groups_that_name_examples():
    infos = many_blobs(5000)
    plan = delete_plan(infos)
    held = replace_step(plan, 7, concerns=frozenset({Concern.REFERENCED}))
    screen = PlanScreen(held, NOW)
    text = "\n".join(f"{line.label} {line.text}" for line in screen.lines())
    assert "4,999 blobs  (2 lists them)" in text
    assert "1 blob  (1 lists them)" in text
    assert "needed by something" in text
    assert str(infos[0].digest) in text
    assert len(screen.lines()) < 30
    lost = sum(group.lost_bytes for group in plan_groups(held))
    assert lost == held.lost_bytes == sum(info.size for info in infos)


def replace_step(plan, place, **changes):
    steps = [*plan.steps]
    steps[place] = steps[place]._replace(**changes)
    return replace(plan, steps=tuple(steps))


async def test_a_digit_lists_the_items_of_a_group():
    plan = delete_plan(many_blobs(600))
    async with running(FrozenSession(store_view())) as ui:
        await ui.shown()
        ui.app.push_screen(PlanScreen(plan, NOW))
        screen = await ui.screen(PlanScreen)
        items = screen.query_one(TextView)
        assert str(plan.steps[20].target.digest) not in items.plain
        await ui.press("1")
        assert str(plan.steps[20].target.digest) in items.plain
        assert "and 100 more" in items.plain
        await ui.press("1")
        assert str(plan.steps[20].target.digest) not in items.plain


def test_a_plan_of_very_many_items_takes_little_memory_and_one_look_at_each():
    infos = many_blobs(30_000)
    tracemalloc.start()
    try:
        plan = delete_plan(infos)
        PlanScreen(plan, NOW).lines()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(plan.steps) == 30_000
    assert peak < 30_000_000  # 100 MB for 100,000
