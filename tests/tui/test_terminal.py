"""The installed program in a real terminal: drawn, used, ended by a signal, terminal restored."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import pytest

from contentui.content.errors import NotFound
from contentui.stores.local.store import LocalStore

PATIENCE_S = 30.0

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")

WRITER = """
import sys, time
from contentui.stores.local.store import LocalStore
store = LocalStore(sys.argv[1], create=True)
writer = store.writer("layer-live", total=10_000_000)
print("writing", flush=True)
while True:
    writer.write(b"x" * 1000)
    time.sleep(0.05)
"""


class Terminal:
    """A tmux server of its own with one pane that runs one command."""

    def __init__(self, folder: str, command: list[str], size: tuple[int, int]) -> None:
        self._socket = os.path.join(folder, "tmux.sock")
        self.pid_file = os.path.join(folder, "pid")
        shell = f'sh -c \'echo $$ > "{self.pid_file}"; exec "$@"\' x ' + " ".join(
            f'"{word}"' for word in command
        )
        # tmux runs commands by $SHELL, which may be one that refuses to.
        env = {**os.environ, "SHELL": "/bin/sh", "XDG_STATE_HOME": os.path.join(folder, "state")}
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(size[0]), "-y", str(size[1]),
                  f"echo before; {shell}; echo exit=$?; exec cat", env=env)  # fmt: skip

    def tmux(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        command = ["tmux", "-S", self._socket, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout

    def text(self) -> str:
        return self.tmux("capture-pane", "-p")

    def flag(self, name: str) -> str:
        return self.tmux("display-message", "-p", f"#{{{name}}}").strip()

    def press(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def until(self, *words: str, gone: str = "") -> str:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            text = self.text()
            if all(word in text for word in words) and not (gone and gone in text):
                return text
            assert time.monotonic() < deadline, f"{words} not in, or {gone} in\n{text}"
            time.sleep(0.05)

    def kill(self, signal_name: str) -> None:
        with open(self.pid_file) as file:
            subprocess.run(["kill", f"-{signal_name}", file.read().strip()], check=True)

    def close(self) -> None:
        subprocess.run(["tmux", "-S", self._socket, "kill-server"], check=False)


@pytest.fixture
def where(tmp_path):
    where = str(tmp_path / "store")
    LocalStore(where, create=True).put(b"a blob")
    return where


@pytest.fixture
def open_terminal(tmp_path, where):
    opened = []

    def start(*arguments: str, size: tuple[int, int] = (80, 24)) -> Terminal:
        command = [sys.executable, "-m", "contentui", "--store", where, *arguments]
        opened.append(Terminal(str(tmp_path), command, size))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


@pytest.fixture
def live_writer(where):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, where], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_abort_a_live_ingest_and_leave_by_a_signal(open_terminal, where, live_writer):
    terminal = open_terminal("ui")
    terminal.until("layer-live", "moving", "a Abort", "Blobs 1")
    assert terminal.flag("alternate_on") == "1"
    terminal.press("a")
    terminal.until("Abort 1 ingest", f"pid {live_writer.pid}", "Type abort to confirm")
    terminal.press("Enter")
    terminal.until("a Abort", "layer-live", gone="Type abort")
    assert LocalStore(where).status("layer-live").offset > 0
    terminal.press("a")
    terminal.until("Type abort to confirm")
    terminal.press("abort", "Enter")
    terminal.until("layer-live: aborted", "Ingests 0")
    with pytest.raises(NotFound):
        LocalStore(where).status("layer-live")
    assert not os.listdir(os.path.join(where, "ingest"))

    terminal.kill("TERM")
    text = terminal.until("exit=143")
    assert text.startswith("before")
    assert terminal.flag("alternate_on") == "0"
    assert terminal.flag("mouse_any_flag") == "0"
    assert terminal.flag("cursor_flag") == "1"


@pytest.mark.parametrize(("how", "code"), [("HUP", 129), ("q", 0)])
def test_the_terminal_is_restored(open_terminal, how, code):
    terminal = open_terminal("ui", "--no-mouse", size=(200, 50))
    terminal.until("Blobs 1", "q Quit")
    assert terminal.flag("mouse_any_flag") == "0"
    terminal.press("q") if how == "q" else terminal.kill(how)
    terminal.until("before", f"exit={code}")
    assert terminal.flag("alternate_on") == "0"


def test_a_closed_terminal_ends_the_program(open_terminal):
    terminal = open_terminal("ui")
    terminal.until("Blobs 1")
    with open(terminal.pid_file) as file:
        pid = int(file.read())
    terminal.close()
    deadline = time.monotonic() + PATIENCE_S
    while os.path.exists(f"/proc/{pid}"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"TERM": "xterm"}])
def test_without_a_terminal_it_says_so_in_one_line(where, environment):
    done = subprocess.run(
        [sys.executable, "-m", "contentui", "--store", where, "ui"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "terminal" in done.stderr
