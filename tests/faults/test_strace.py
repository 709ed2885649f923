"""That sqlite, whose calls the recorder can't see, syncs labels before their blob has a name."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import sys
from contentui.stores.local.store import LocalStore
LocalStore(sys.argv[1]).put(b"labelled", labels={"a": "b"})
"""


def test_labels_are_synced_before_their_blob_is_named(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    calls = "fsync,fdatasync,linkat,unlink,unlinkat"
    command = ["strace", "-f", "-y", "-qq", "-e", f"trace={calls}", "-o", trace]
    done = subprocess.run(
        [*command, sys.executable, "-c", SCRIPT, tmp_path / "store"],
        capture_output=True,
        text=True,
        check=False,
    )
    if "ptrace" in done.stderr.lower():
        pytest.skip(f"strace may not trace here: {done.stderr.strip()[:100]}")
    assert done.returncode == 0, done.stderr
    lines = trace.read_text().splitlines()

    def where(*words: str) -> list[int]:
        return [n for n, line in enumerate(lines) if all(word in line for word in words)]

    named = where("linkat(")[-1]
    written = where("sync(", "/labels.db>")[-1]
    ended = where("unlink", "labels.db-journal")[-1]
    directory = [n for n in where("sync(", "/.contentui>") if n > ended]
    assert where("sync(", "/labels.db-journal>")[-1] < written < ended < named
    assert directory, "the journal's end is not synced"
    assert directory[0] < named
    assert where("sync(", "/blobs/sha256>")[-1] > named
