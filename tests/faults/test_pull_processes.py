"""Pulls in several processes, one of which dies or another of which waits."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from bench.faulty import FaultyRegistry, cut
from contentui.content.digest import Digest
from contentui.content.helpers import verified_chunks
from contentui.demo.unpackable import make_unpackable
from contentui.stores.local.store import LocalStore
from contentui.stores.source import of_store
from contentui.transfers.model import Phase
from contentui.transfers.status import TransferStatusReader, status_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from contentui.demo.registry import Connection, Request

IMAGE = make_unpackable(8, [3 << 20])
LAYER = Digest.of(IMAGE.layers[0])
REF = f"layer-{LAYER}"
MIB = 1 << 20

CHILD = """
import sys
from contentui.oci.references import parse_reference
from contentui.remotes.registry import Registry
from contentui.remotes.settings import Settings
from contentui.stores.local.store import LocalStore
from contentui.stores.source import of_store
from contentui.transfers.status import TransferStatusWriter, status_directory
from contentui.transfers.pull import Pull

printed = set()

def report(transfer):
    for part in transfer.parts:
        line = f"{part.phase} {part.message}"
        if part.ref.startswith("layer-") and line not in printed:
            printed.add(line)
            print(line, flush=True)

with TransferStatusWriter(status_directory(of_store(sys.argv[1]))) as status:
    remote = Registry(parse_reference(sys.argv[2]), Settings())
    Pull(LocalStore(sys.argv[1]), remote, reports=[report, status]).run()
"""


@pytest.fixture
def registry() -> Iterator[FaultyRegistry]:
    with FaultyRegistry() as made:
        yield made


@pytest.fixture
def begin(
    tmp_path: Path, registry: FaultyRegistry
) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Begins a pull in a process of its own."""
    running: list[subprocess.Popen[str]] = []
    name = registry.add(IMAGE)

    def start() -> subprocess.Popen[str]:
        argv = [sys.executable, "-c", CHILD, str(tmp_path / "s"), name]
        child = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        running.append(child)
        return child

    yield start
    for child in running:
        child.kill()
        child.wait()


def await_offset(store: LocalStore, offset: int) -> None:
    deadline = time.monotonic() + 20
    while not any(each.offset == offset for each in store.statuses()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def check(store: LocalStore) -> None:
    assert b"".join(verified_chunks(store, LAYER)) == IMAGE.layers[0]
    assert store.statuses() == []
    assert len(store.images.list()) == 1


def test_a_killed_pull_goes_on_where_it_was(
    tmp_path: Path, registry: FaultyRegistry, begin: Callable[[], subprocess.Popen[str]]
) -> None:
    registry.faults[str(LAYER)] = [cut(MIB, stall=True)]
    child = begin()
    registry.await_gets(str(LAYER), 1)
    store = LocalStore(tmp_path / "s")
    await_offset(store, MIB)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert store.status(REF).offset == MIB
    again = begin()
    assert again.wait(30) == 0
    assert [each.start for each in registry.gets(str(LAYER))] == [0, MIB]
    assert len(registry.gets("/manifests/sha256:")) == 1  # it was stored by then
    check(store)
    store.close()


def test_one_downloads_and_the_other_says_whom_it_waits_for(
    tmp_path: Path, registry: FaultyRegistry, begin: Callable[[], subprocess.Popen[str]]
) -> None:
    def held(link: Connection, request: Request, data: bytes) -> None:
        link.head(200, f"Content-Length: {len(data)}")
        link.send(data[:MIB])
        released.wait(20)
        link.send(data[MIB:])
        del request

    import threading

    released = threading.Event()
    registry.faults[str(LAYER)] = [held]
    first = begin()
    store = LocalStore(tmp_path / "s")
    registry.await_gets(str(LAYER), 1)
    await_offset(store, MIB)
    second = begin()
    assert second.stdout is not None
    waiting = ""
    while not waiting.startswith(f"waiting waiting for pid {first.pid}"):
        waiting = second.stdout.readline()
        assert waiting, "it ended without waiting"
    told = TransferStatusReader(status_directory(of_store(str(tmp_path / "s")))).transfers()
    assert {each.pid for each in told} == {first.pid, second.pid}
    assert {part.phase for each in told for part in each.parts if part.ref == REF} == {
        Phase.DOWNLOADING,
        Phase.WAITING,
    }
    released.set()
    assert first.wait(20) == 0
    assert second.wait(20) == 0
    assert second.stdout.read().strip().endswith("exists")
    assert len(registry.gets(str(LAYER))) == 1
    check(store)
    store.close()
