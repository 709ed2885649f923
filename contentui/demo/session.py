"""The lifetime of a demo: its folder and its processes are removed however it ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from contentui.stores.source import of_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contentui.stores.source import Source

_START_S = 10.0
_END_S = 5.0


@contextmanager
def demo_store() -> Iterator[Source]:
    """Run the demo; yields its store, which is removed with all its processes at the end.

    Meanwhile the journal of this process is in the demo's folder, too.

    Raises:
        RuntimeError: the demo's own processes don't start.
    """
    folder = tempfile.mkdtemp(prefix="contentui-demo-")
    journal_before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = os.path.join(folder, "state")
    simulator = _start(folder)
    try:
        _wait_for(simulator, folder)
        yield of_store(os.path.join(folder, "content"))
    finally:
        _end(simulator)
        shutil.rmtree(folder, ignore_errors=True)
        if journal_before is None:
            del os.environ["XDG_STATE_HOME"]
        else:
            os.environ["XDG_STATE_HOME"] = journal_before


def _start(folder: str) -> subprocess.Popen[bytes]:
    """The simulator process. It ends when its stdin does, also if this process is killed."""
    log = open(os.path.join(folder, "simulator.log"), "wb")  # noqa: SIM115 - the child keeps it
    with log:
        return subprocess.Popen(
            [sys.executable, "-m", "contentui.demo.simulator", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )


def _wait_for(simulator: subprocess.Popen[bytes], folder: str) -> None:
    """Wait until the first images and faults exist. Raises RuntimeError."""
    deadline = time.monotonic() + _START_S
    while not os.path.exists(os.path.join(folder, "ready")):
        if simulator.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the demo did not start: {_last_line(folder)}")
        time.sleep(0.01)


def _last_line(folder: str) -> str:
    try:
        with open(
            os.path.join(folder, "simulator.log"), encoding="utf-8", errors="replace"
        ) as file:
            return (file.read().strip().splitlines() or ["reason unknown"])[-1]
    except OSError:
        return "reason unknown"


def _end(simulator: subprocess.Popen[bytes]) -> None:
    if simulator.stdin is not None:
        simulator.stdin.close()
    try:
        simulator.wait(_END_S)
    except subprocess.TimeoutExpired:
        simulator.kill()  # its writers end with their own pipes
        simulator.wait()
