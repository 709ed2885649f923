"""Running a test's function in a process of its own, with less than a process usually has."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PRELUDE = """
import ctypes, json, os, resource, sqlite3, sys, urllib.parse  # before anything is taken away
import contentui.stores.local.copier, contentui.stores.local.writer
from contentui.content.digest import Digest
from contentui.content.errors import *
from contentui.content.model import ingest_id
from contentui.content.helpers import write_blob
from contentui.stores.local.store import LocalStore
root = sys.argv[1]

def refused(kind, deed):
    try:
        deed()
    except kind as error:
        assert error.message
        return error
    raise AssertionError(f"no {kind}")
"""


def run(script: str, root: Path | str, *before: str) -> str:
    """Run ``script`` behind ``before``; its output. Fails the test when it fails."""
    done = subprocess.run(
        [*before, sys.executable, "-c", PRELUDE + script, str(root)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def with_mounts(script: str, root: Path, mount: str) -> str:
    """Run ``script`` as the root of a user namespace after ``mount`` (a shell command)."""
    tried = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", mount, str(root)],
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode:
        pytest.skip(f"no mounts in a user namespace here: {tried.stderr.strip()[-100:]}")
    return run(script, root, "unshare", "-Urm", "sh", "-c", f'{mount}; exec "$@"', str(root))


def as_plain_user(script: str, root: Path) -> str:
    """Run ``script`` without root's powers."""
    if os.geteuid() == 0:
        script = "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n" + script
    return run(script, root)
