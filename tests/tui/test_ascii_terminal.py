"""Where the locale is not UTF-8, the program writes nothing but ASCII: in a real terminal."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from test_terminal import Terminal

from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
HOSTILE = ["layer-é", "日本語-layer", "bad-\udcff", "esc-\x1b[31m", "wide-🔎", "middle·dot…"]


@pytest.fixture
def where(tmp_path: Path) -> str:
    where = str(tmp_path / "store")
    store = LocalStore(where, create=True)
    store.put(b"a blob")
    for place, ref in enumerate(HOSTILE):
        with store.writer(ref, total=0 if place == 1 else 100) as writer:
            writer.write(b"x" * 30)
    return where


class Recorded(Terminal):
    """A terminal that keeps every byte that the program writes."""

    def __init__(self, folder: Path, command: list[str], size: tuple[int, int]) -> None:
        self.record = folder / "written"
        waiting = ["sh", "-c", f"read go; exec {shlex.join(command)}"]
        super().__init__(str(folder), waiting, size)
        self.tmux("pipe-pane", f"cat > {shlex.quote(str(self.record))}")
        self.press("go", "Enter")

    def written(self) -> bytes:
        return self.record.read_bytes()


@pytest.fixture(params=[(80, 24), (120, 40)], ids=["80x24", "120x40"])
def terminal(request: pytest.FixtureRequest, tmp_path: Path, where: str) -> Iterator[Recorded]:
    program = ["env", "LC_ALL=C", sys.executable, "-m", "contentui", "--store", where, "ui"]
    terminal = Recorded(tmp_path, program, request.param)
    yield terminal
    terminal.close()


@needs_tmux
def test_every_screen_is_ascii(terminal: Recorded) -> None:
    shown = [terminal.until("layer-\\u00e9", "dot\\u2026", "Blobs", "q Quit")]
    for keys, words in (
        (["Down", "Enter"], "esc closes"),
        (["?"], "esc closes"),
        (["*", "a"], "Abort 6 ingests"),
        (["C-p"], "Search for commands"),
    ):
        terminal.press(*keys)
        shown.append(terminal.until(words))
        terminal.press("Escape")
        terminal.until("q Quit", gone=words)
    terminal.press("q")
    terminal.until("exit=0")
    assert all(text.isascii() for text in shown)
    high = [byte for byte in terminal.written() if byte >= 0x80]
    assert len(terminal.written()) > 3000
    assert high == []


@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"LC_ALL": "", "LANG": "POSIX"}])
@pytest.mark.parametrize(
    "verb", ["active", "list", "active --verdict", "--help", "get --help", "abort --all --dry-run"]
)
def test_the_output_of_verbs_is_ascii(where: str, verb: str, locale: dict[str, str]) -> None:
    done = run(where, verb, locale)
    assert done.stdout + done.stderr
    assert (done.stdout + done.stderr).isascii()


def test_what_pipes_and_programs_read_is_the_same_in_every_locale(where: str) -> None:
    for verb in ("active -q", "active --json", "list -q"):
        assert run(where, verb, {"LC_ALL": "C"}).stdout == run(where, verb, {}).stdout


def run(where: str, verb: str, locale: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "contentui", "--store", where, *verb.split()]
    env = {**os.environ, **locale}
    return subprocess.run(command, capture_output=True, check=False, env=env)
