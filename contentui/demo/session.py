"""A demo from its folder to the folder's end, whatever ends it."""

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
    stage = _start(folder)
    try:
        _wait_for(stage, folder)
        yield of_store(os.path.join(folder, "content"))
    finally:
        _end(stage)
        shutil.rmtree(folder, ignore_errors=True)
        if journal_before is None:
            del os.environ["XDG_STATE_HOME"]
        else:
            os.environ["XDG_STATE_HOME"] = journal_before


def _start(folder: str) -> subprocess.Popen[bytes]:
    """The director process; it ends when its standard input does, even if we are SIGKILLed."""
    log = open(os.path.join(folder, "stage.log"), "wb")  # noqa: SIM115 - the child keeps it
    with log:
        return subprocess.Popen(
            [sys.executable, "-m", "contentui.demo.stage", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )


def _wait_for(stage: subprocess.Popen[bytes], folder: str) -> None:
    """Until the stage is set."""
    deadline = time.monotonic() + _START_S
    while not os.path.exists(os.path.join(folder, "ready")):
        if stage.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the demo didn't start: {_last_line(folder)}")
        time.sleep(0.01)


def _last_line(folder: str) -> str:
    try:
        with open(os.path.join(folder, "stage.log"), encoding="utf-8", errors="replace") as file:
            return (file.read().strip().splitlines() or ["no reason known"])[-1]
    except OSError:
        return "no reason known"


def _end(stage: subprocess.Popen[bytes]) -> None:
    if stage.stdin is not None:
        stage.stdin.close()
    try:
        stage.wait(_END_S)
    except subprocess.TimeoutExpired:
        stage.kill()  # its writers notice by their own pipes
        stage.wait()
