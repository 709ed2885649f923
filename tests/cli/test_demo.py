"""The demo: lively, honest, and gone without a trace, whatever ends it."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from contentui.content.digest import Digest
from contentui.demo.content import layer_chunks, make_image, make_layer
from contentui.demo.session import demo_store
from contentui.index.content_index import ContentIndex
from contentui.stores.local.store import LocalStore
from contentui.transfers.status import TransferStatusReader, status_directory

from .test_terminal import on_terminal


def _children_of(folder: str) -> list[int]:
    """Processes whose command line names the demo's folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if folder.encode() in command:
                found.append(int(entry.name))
    return found


def _until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, condition
        time.sleep(0.05)
    return value


def test_layers_are_what_they_claim():
    layer = make_layer(5, 200_000, "zstd")
    data = b"".join(layer_chunks(5, 200_000, "zstd"))
    assert len(data) == 200_000
    assert Digest.of(data) == layer.digest
    assert data.startswith(b"\x28\xb5\x2f\xfd")
    assert make_layer(6, 200_000, "zstd").digest != layer.digest
    assert len(make_image(1, (10, 20)).digests) == 5


def test_the_demo_store_has_an_ingest_in_every_state(monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "/before")
    with demo_store() as demo:
        source = demo.path
        assert os.environ["XDG_STATE_HOME"].startswith(str(Path(source).parent))
        store = LocalStore(source, read_only=True)

        def states() -> set[str]:
            found = set()
            statuses = store.statuses()
            holders = store.holders(status.id for status in statuses)
            for status in statuses:
                held, silent = status.id in holders, time.time_ns() - status.updated_ns > 30e9
                found |= {"damaged"} if status.damage else set()
                found |= {"poisoned"} if status.refused else set()
                found |= {"unknown total"} if not status.total and not status.damage else set()
                if silent and not status.damage:
                    found |= {"stalled" if held else "abandoned"}
                if held and not silent and status.offset:
                    found |= {"moving"}
            return found

        wanted = {"damaged", "poisoned", "unknown total", "stalled", "abandoned", "moving"}
        _until(lambda: states() >= wanted)
        index = ContentIndex(store)
        index.refresh(10)
        infos = list(store.walk())
        kinds = {str(index.kind(info.digest)) for info in infos}
        assert kinds >= {"index", "manifest", "config", "layer · gzip"}
        assert any(index.referrers(info.digest) for info in infos)
        pids = {holder.pid for holder in store.holders(s.id for s in store.statuses()).values()}
        assert len(pids) >= 4
        assert os.getpid() not in pids
    assert os.environ["XDG_STATE_HOME"] == "/before"
    assert not Path(source).parent.exists()
    assert _children_of(str(Path(source).parent)) == []


def test_a_real_pull_is_under_way_and_has_to_try_again():
    with demo_store() as demo:
        source = demo.path
        board = TransferStatusReader(status_directory(demo))
        seen: set[str] = set()

        def tried_again() -> bool:
            for transfer in board.transfers():
                assert transfer.verb == "pull"
                assert f"contentui\0--store\0{source}\0pull" in _command_of(transfer.pid)
                seen.update(part.phase for part in transfer.parts)
            return seen >= {"downloading", "retrying", "done"}

        _until(tried_again)
    assert not Path(source).parent.exists()
    assert _children_of(str(Path(source).parent)) == []


def _command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode()


def test_headless_prints_snapshots_and_cleans_up(program):
    ran = program("demo", "--headless", "--seconds", "1", "--json", TMPDIR=str(program.folder))
    assert ran.code == 0, ran
    snapshots = [json.loads(line) for line in ran.lines]
    assert len(snapshots) >= 2
    assert snapshots[-1]["ingest_count"] >= 5
    assert snapshots[-1]["blob_count"] >= 8
    assert not list(program.folder.glob("contentui-demo-*"))


@pytest.mark.parametrize(
    ("signum", "code"),
    [
        (signal.SIGTERM, 143),
        (signal.SIGHUP, 129),
        (signal.SIGINT, 130),
        (signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_a_signal_leaves_neither_files_nor_processes(program, signum, code):
    program.env["TMPDIR"] = str(program.folder)
    child = program.start("demo", "--headless", "--seconds", "60", "--json")
    assert child.stdout.readline()
    (folder,) = program.folder.glob("contentui-demo-*")
    try:
        _until(lambda: len(_children_of(str(folder))) > 3)
    finally:
        child.send_signal(signum)
    _, err = child.communicate(timeout=20)
    assert child.returncode == code
    assert b"Traceback" not in err
    _until(lambda: not folder.exists() and not _children_of(str(folder)))


def test_the_screen_shows_it_and_leaves_a_clean_terminal(program):
    program.env["TMPDIR"] = str(program.folder)
    with on_terminal(program, "demo", columns=120) as terminal:
        terminal.expect(b"layer-sha256")
        (folder,) = program.folder.glob("contentui-demo-*")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.end() == 143
        assert b"\x1b[?1049l" in terminal.seen
    _until(lambda: not folder.exists() and not _children_of(str(folder)))
