"""A file system that fails to write out what it took, and then works again: nothing acknowledged
is other than on the disk.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import writeback

SCRIPT = Path(writeback.__file__)


def test_failed_writeback_costs_nothing_acknowledged(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a file system of its own needs root")
    for tool in ("unshare", "mkfs.ext4", "losetup"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    # Mounts of that namespace, and loop devices under them, go with its last process.
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", sys.executable, SCRIPT, tmp_path / "disk"],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    if done.returncode == writeback.SKIPPED:
        pytest.skip(f"no file system of its own here: {done.stdout.strip()}")
    if done.stderr.startswith("unshare:"):
        pytest.skip(f"no mounts of its own here: {done.stderr.strip()}")
    assert done.returncode in (0, 1), done.stdout[-2000:] + done.stderr[-2000:]
    *scenarios, result = [json.loads(line) for line in done.stdout.splitlines()]
    assert result["wrong"] == [], done.stdout
    assert result["failed first"] >= 15, done.stdout
    assert all(scenario["then"] == "done" for scenario in scenarios), done.stdout
    for scenario in scenarios:
        if scenario["scenario"].startswith("died") and "ptrace" not in scenario["first"].lower():
            assert scenario["first"] == "killed", scenario
    left = subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in left
