"""The program as its users run it: a process with real pipes, on a real directory."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

from contentui.content.model import ingest_id
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

CLI = (sys.executable, "-m", "contentui")


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Program:
    """Runs ``contentui`` in a folder whose store is ``.content``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / ".content"
        self.env = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("CONTENTUI_", "COLUMNS", "PYTHON"))
        }
        self.env |= {"XDG_STATE_HOME": str(folder / "state"), "TZ": "UTC", "LC_ALL": "C.UTF-8"}

    def __call__(self, *args: str | bytes, stdin: bytes = b"", **env: str) -> Ran:
        done = subprocess.run(
            [*CLI, *args],
            input=stdin,
            capture_output=True,
            cwd=self.folder,
            env=self.env | env,
            timeout=60,
        )
        out, err = (data.decode("utf-8", "surrogateescape") for data in (done.stdout, done.stderr))
        assert "Traceback" not in err, err
        return Ran(done.returncode, out, err)

    def ok(self, *args: str, stdin: bytes = b"") -> str:
        """Run, expect success, return what was printed."""
        ran = self(*args, stdin=stdin)
        assert ran.code == 0, ran
        return ran.out

    def start(self, *args: str, **options: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*CLI, *args],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,  # type: ignore[call-overload]  # options of Popen as they come
        )

    def shell(self, script: str) -> Ran:
        """Run a shell's script in which ``contentui`` is the program."""
        function = f'#!/bin/sh\nexec "{sys.executable}" -m contentui "$@"\n'
        bin_ = self.folder / "bin"
        bin_.mkdir(exist_ok=True)
        (bin_ / "contentui").write_text(function)
        (bin_ / "contentui").chmod(0o755)
        env = self.env | {"PATH": f"{bin_}:{self.env['PATH']}"}
        done = subprocess.run(
            ["bash", "-c", script], capture_output=True, cwd=self.folder, env=env, timeout=100
        )
        return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())

    def store(self) -> LocalStore:
        return LocalStore(str(self.root), create=True)

    def leave_ingest(self, ref: str, data: bytes, total: int = 0, age_s: float = 0) -> None:
        """An ingest that nobody holds, silent for ``age_s`` seconds."""
        store = self.store()
        with store.writer(ref, total=total) as writer:
            writer.write(data)
        store.close()
        if age_s:
            from contentui.demo.faults import make_old

            make_old(str(self.root), ref, age_s)

    def damage_ingest(self, ref: str) -> str:
        """Garble an ingest's files; returns how it is named now."""
        from contentui.demo.faults import damage

        damage(str(self.root), ref)
        return f"id:{ingest_id(ref)}"

    def damage_blob(self, digest: str) -> None:
        path = self.root / "blobs" / "sha256" / digest.removeprefix("sha256:")
        path.chmod(0o644)
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)
