"""Our own programs as command lines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.measure import Failed
from bench.peers import Missing

if TYPE_CHECKING:
    from collections.abc import Sequence

SCRIPT = Path(__file__).with_name("ours.py")


def contentui(store: Path | str, *arguments: str) -> list[str]:
    """The installed program on a store."""
    program = Path(sys.executable).with_name("contentui")
    if not program.exists():
        raise Missing("contentui is not installed beside this Python")
    return [str(program), "--store", str(store), *arguments]


def api(store: Path, verb: str, *arguments: str) -> list[str]:
    """A process of ours that uses the store's API."""
    return [sys.executable, str(SCRIPT), str(store), verb, *arguments]


def lines(argv: Sequence[object]) -> list[dict[str, float]]:
    """The JSON lines that a process prints.

    Raises:
        Failed: it ended with an error.
    """
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{argv[0]} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]
