"""Ctrl-C while the program starts, in any verb."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from contentui.cli.commands import GROUPS

if TYPE_CHECKING:
    from conftest import Program

CODE = """
import runpy, signal, sys
print("begun", flush=True)
sys.argv = ["contentui", *sys.argv[1:]]
runpy.run_module("contentui", run_name="__main__")
"""
VERBS = sorted(verb for verbs in GROUPS.values() for verb in verbs)


@pytest.mark.parametrize("verb", VERBS)
def test_it_ends_without_a_traceback(program: Program, verb: str) -> None:
    for delay_s in (0.0, 0.05, 0.15):
        process = subprocess.Popen(
            [sys.executable, "-c", CODE, verb, *(["--help"] if verb == "serve" else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=program.folder,
            env=program.env,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        time.sleep(delay_s)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
        # Before its first line runs, an interruption is the interpreter's.
        assert b"contentui/cli" not in err, err
        assert b"in main" not in err, err
