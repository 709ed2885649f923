"""A running containerd, with helpers for the tests."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from bench.peers import Containerd

MIB = 1 << 20
Peer = Callable[..., list[dict[str, Any]]]


def unavailable(reason: str) -> NoReturn:
    """Skip, or fail where the peers are required."""
    if os.environ.get("CONTENTUI_REQUIRE_INTEROP") == "1":
        pytest.fail(f"required, but missing: {reason}")
    pytest.skip(reason)


def await_true(condition: Callable[[], bool], limit: float = 10) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class Live(Containerd):
    """A running containerd, with what the tests ask of it."""

    def output(self, *arguments: str, given: bytes = b"") -> bytes:
        with tempfile.TemporaryFile() as source:  # ctr resumes only from what it can seek
            source.write(given)
            source.seek(0)
            argv = self.ctr(*arguments)
            done = subprocess.run(argv, stdin=source, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def offsets(self) -> dict[str, int]:
        """The size of each ingest's data as it lies on disk, by ref."""
        found = {}
        place = self.content / "ingest"
        for ingest in place.iterdir() if place.exists() else ():
            with contextlib.suppress(FileNotFoundError):  # just being made or removed
                found[(ingest / "ref").read_text()] = (ingest / "data").stat().st_size
        return found

    def begin(self, ref: str, data: bytes) -> subprocess.Popen[bytes]:
        """A ``ctr content ingest`` that has delivered ``data`` and waits for more."""
        argv = self.ctr("content", "ingest", ref)
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdin
        process.stdin.write(data)
        process.stdin.flush()
        await_true(lambda: self.offsets().get(f"default/1/{ref}") == len(data))
        return process
