"""The screen on a real containerd: what it shows, asks and does, and how it waits for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from running import running

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.peers import Containerd, Missing
from contentui.content.digest import Digest
from contentui.content.errors import NotFound
from contentui.stores.open import open_store
from contentui.stores.source import parse
from contentui.tui.screens.plan import PlanScreen
from contentui.tui.screens.probes import ProbesScreen
from contentui.tui.session import Session
from contentui.tui.text_view import TextView

pytestmark = pytest.mark.interop
MIB = 1 << 20
WRONG = Digest.of(b"what was asked for")


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def daemon():
    place = Path(tempfile.mkdtemp(prefix="cui-"))  # a socket's path has to be short
    daemon = Containerd(place, collect=False)
    try:
        daemon.start()
        for namespace in ("k8s.io", "default"):
            ctr(daemon, namespace, "content", "ingest", "small", data=b"a small blob")
        yield daemon
    except Missing as missing:
        required = os.environ.get("CONTENTUI_REQUIRE_INTEROP") == "1"
        (pytest.fail if required else pytest.skip)(str(missing))
    finally:
        daemon.stop()
        shutil.rmtree(place, ignore_errors=True)


def ctr(daemon, namespace, *arguments, data=b""):
    command = ["ctr", "-a", str(daemon.socket), "-n", namespace, *arguments]
    return subprocess.run(command, input=data, capture_output=True, check=False)


@contextmanager
def stalled(daemon, namespace, ref, *, size=3 * MIB):
    """A client of the daemon that sent some bytes and waits for more."""
    command = ["ctr", "-a", str(daemon.socket), "-n", namespace, "content", "ingest"]
    with subprocess.Popen(
        [*command, "--expected-size", str(10 * MIB), ref],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as client:
        client.stdin.write(b"x" * size)
        client.stdin.flush()
        try:
            yield client
        finally:
            client.kill()


def source(daemon, namespaces=""):
    return f"unix://{daemon.socket}" + (f"?namespace={namespaces}" if namespaces else "")


def row_of(ui, ref):
    return next((r for r in ui.dashboard.ingests.shown if r.status.ref == ref), None)


async def select(ui, ref):
    await ui.until(lambda: row_of(ui, ref) is not None, ref)
    ui.dashboard.ingests.table.cursor_key = row_of(ui, ref).key


async def test_a_clients_ingest_is_shown_asked_for_and_aborted_through_the_daemon(daemon):
    with stalled(daemon, "k8s.io", "busy") as client:
        async with running(Session(parse(source(daemon)))) as ui:
            await ui.shown()
            await select(ui, "busy")
            await ui.until(lambda: "k8s.io" in ui.text() and "all namespaces" in ui.text())
            await ui.press("v")
            sheet = (await ui.screen(ProbesScreen)).query_one(TextView).plain
            assert "Held by a live writer" in sheet
            await ui.press("escape", "a")
            plan = await ui.screen(PlanScreen)
            assert plan.needs_typing
            assert "namespace k8s.io" in plan.query_one(TextView).plain
            await ui.press(*"abort", "enter")
            await ui.until(lambda: "busy" in ui.messages and "aborted" in ui.messages)
            await ui.until(lambda: row_of(ui, "busy") is None)
        with closing(open_store(source(daemon))) as store, pytest.raises(NotFound):
            store.status("busy")
        _, told = client.communicate(b"y" * (7 * MIB))
        assert client.returncode, told  # its commit found nothing to commit


async def test_a_complete_one_with_other_bytes_is_poisoned_once_it_was_asked_for(daemon):
    ref = f"layer-{WRONG}"
    arguments = ("content", "ingest", "--expected-size", "5", "--expected-digest", str(WRONG), ref)
    assert ctr(daemon, "default", *arguments, data=b"other").returncode
    async with running(Session(parse(source(daemon, "default")))) as ui:
        await ui.shown()
        await select(ui, ref)
        assert "complete" in ui.text()
        await ui.press("v")
        sheet = (await ui.screen(ProbesScreen)).query_one(TextView).plain
        assert "Poisoned" in sheet
        assert str(Digest.of(b"other")) in sheet
        await ui.press("escape")
        await ui.until(lambda: "! poisoned" in ui.text())
    ctr(daemon, "default", "content", "rm", ref)


async def test_looking_never_asks(daemon):
    with stalled(daemon, "k8s.io", "watched"), closing(open_store(source(daemon))) as store:
        async with running(Session(parse(source(daemon)))) as ui:
            await ui.shown()
            await select(ui, "watched")
            before = store.status("watched")
            seq = ui.dashboard.store_view.seq
            await ui.until(lambda: ui.dashboard.store_view.seq > seq + 5)
            assert store.status("watched") == before


async def test_a_daemon_that_dies_leaves_its_picture_and_comes_back_under_the_cursor(daemon):
    with stalled(daemon, "default", "one"), stalled(daemon, "k8s.io", "two"):
        async with running(Session(parse(source(daemon))), size=(80, 24)) as ui:
            await ui.shown()
            await select(ui, "one")
            await select(ui, "two")
            key = row_of(ui, "two").key
            daemon.process.kill()
            daemon.process.wait()
            await ui.until(lambda: "✕ stale" in ui.text())
            await ui.until(lambda: "Out of date since" in ui.text())
            assert row_of(ui, "two") is not None
            began = time.monotonic()
            await ui.press("a")
            assert "Not now." in ui.messages
            assert time.monotonic() - began < 1
            daemon.start()
            await ui.press("r")
            await ui.until(lambda: "stale" not in ui.text())
            assert ui.dashboard.ingests.table.cursor_key == key
            await ui.until(lambda: row_of(ui, "two").holder is None)


async def test_a_daemon_that_starts_late_is_found(daemon, monkeypatch):
    monkeypatch.setattr("contentui.tui.app.RETRY_S", 0.1)
    daemon.stop()
    async with running(Session(parse(source(daemon)))) as ui:
        await ui.until(lambda: "The store can't be shown" in ui.text())
        daemon.start()
        await ui.shown()
        await ui.until(lambda: ui.dashboard.blobs.shown)
        assert ui.dashboard.blobs.shown[0].info.namespaces == ("default", "k8s.io")
