"""What plain commands load: nothing heavy; and who imports whom."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = (
    "asyncio",
    "dataclasses",
    "re2",
    "rich",
    "shtab",
    "subprocess",
    "textual",
    "watchfiles",
)
"""Top-level packages that a plain verb must not load."""


def loaded_by(folder: Path, *args: str, source: str = ".content") -> set[str]:
    """The modules that a process has loaded when the command line ``args`` has run in it."""
    script = (
        "import sys\n"
        "from contentui.cli.main import main\n"
        "code = main(sys.argv[1:])\n"
        "sys.stderr.write('\\n'.join(sys.modules))\n"
        "raise SystemExit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--store", source, *args],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.splitlines())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose ``.content`` has a blob and an ingest."""
    folder = tmp_path_factory.mktemp("plain")
    from contentui.stores.local.store import LocalStore

    store = LocalStore(str(folder / ".content"))
    store.put(b"1")
    with store.writer("half", total=10) as writer:
        writer.write(b"123")
    store.close()
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["list", "--help"],
        ["list", "-q"],
        ["list"],
        ["list", "--json"],
        ["active"],
        ["active", "-q"],
        ["active", "--json"],
        ["status", "half"],
    ],
    ids=" ".join,
)
def test_plain_verbs_load_nothing_heavy(folder, words):
    modules = loaded_by(folder, *words)
    assert "contentui.cli.main" in modules
    heavy = {name for name in modules if name.partition(".")[0] in HEAVY}
    assert heavy == set()
    assert not {name for name in modules if name.startswith(("contentui.tui", "contentui.monitor"))}


@pytest.mark.parametrize("words", [["--help"], ["active"], ["status", "half"], ["list", "-q"]])
def test_labels_are_not_read_where_none_are_shown(folder, words):
    assert "sqlite3" not in loaded_by(folder, *words)


def test_importing_the_package_loads_none_of_it(folder):
    script = "import sys, contentui; print(*[m for m in sys.modules if m.startswith('contentui')])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["contentui"]


def test_imports_go_down_only():
    linter = Path(sys.executable).with_name("lint-imports")
    env = os.environ | {"NO_COLOR": "1"}
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_plain_verb_starts_in_little_more_than_its_standard_modules(folder, tmp_path):
    """In at most 2.3 times what Python needs for the modules of its own that any verb needs."""
    env = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # a first run compiles for the others
    commands = (
        ["-c", "import argparse, contextlib, hashlib, re, threading, typing"],
        ["-m", "contentui", "--store", str(folder / ".content"), "active"],
    )
    best = [float("inf")] * 2
    for _ in range(12):
        for index, command in enumerate(commands):
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, *command], check=True, stdout=subprocess.DEVNULL, env=env
            )
            best[index] = min(best[index], time.perf_counter() - start)
    bare, verb = best
    assert verb < 2.3 * bare
