"""The generated modules are what the .proto files say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROTOCOL = Path("contentui/protocol")


def test_generated_modules_are_current(tmp_path: Path) -> None:
    """As ``make protocol`` makes them."""
    sources = sorted(str(path.relative_to(ROOT)) for path in (ROOT / PROTOCOL).glob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", "."]
    command += [f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", *sources]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    made = {path.name: path.read_text() for path in (tmp_path / PROTOCOL).iterdir()}
    here = {path.name: path.read_text() for path in (ROOT / PROTOCOL).glob("*_pb2.py*")}
    assert sources
    assert sorted(made) == sorted(here), "run 'make protocol'"
    stale = [name for name in made if made[name] != here[name]]
    assert not stale, "run 'make protocol'"
