"""Our server as a process, and a real containerd that keeps its content there."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Self

from interop_live import Live, await_true

if TYPE_CHECKING:
    from pathlib import Path


def contentui(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run our program to its end."""
    argv = [sys.executable, "-m", "contentui", *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


def answers(path: Path) -> bool:
    """Whether a unix socket has a listener."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(os.fspath(path))
        except OSError:
            return False
    return True


class Serving:
    """``contentui serve`` on a store; stopped at the end of ``with``."""

    def __init__(self, store: Path, listen: Path, *arguments: object) -> None:
        self.store = store
        self.socket = listen
        self.arguments = arguments
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv = [sys.executable, "-m", "contentui", "serve", "--store", str(self.store)]
        argv += ["--listen", f"unix://{self.socket}", *map(str, self.arguments)]
        log = self.socket.with_suffix(".log")
        with log.open("ab") as said:
            self.process = subprocess.Popen(argv, stdout=said, stderr=said)
        await_true(lambda: answers(self.socket) or self._ended())
        assert not self._ended(), log.read_text()

    def _ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def stop(self) -> None:
        """Ask it to end, and wait for that."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
            self.process = None

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()
        self.process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


class OnOurs(Live):
    """A containerd whose content is all in ``place``/store, behind our server."""

    def __init__(self, place: Path, *, collect: bool = True) -> None:
        place.mkdir(parents=True, exist_ok=True)
        super().__init__(place / "c", collect=collect, content_socket=place / "o")
        self.root = self.place / "root"
        self.store = place / "store"
        mine = ("--for-containerd", self.root, "--grace", "1s")
        self.service = Serving(self.store, place / "o", *mine)
        self.content = self.store

    def start(self) -> None:
        if self.service.process is None:
            self.service.start()
        super().start()

    def stop(self) -> None:
        """End it; the service goes on."""
        super().stop()

    def __exit__(self, *exc: object) -> None:
        self.stop()
        self.service.stop()

    def kill_service(self) -> None:
        """End our service as a crash does."""
        self.service.kill()

    def drain_service(self) -> None:
        """End our service as an operator does; a stalled transfer is cut off after a second."""
        self.service.stop()

    def blobs(self) -> dict[str, bytes]:
        """What is committed in our directory, by digest."""
        return {f"sha256:{file.name}": file.read_bytes() for file in self._files()}

    def stamps(self) -> dict[str, tuple[int, int]]:
        """Inode and time of each blob in our directory, by digest."""
        found = {}
        for file in self._files():
            try:
                status = file.stat()
            except FileNotFoundError:  # collected meanwhile
                continue
            found[f"sha256:{file.name}"] = (status.st_ino, status.st_mtime_ns)
        return found

    def _files(self) -> list[Path]:
        place = self.store / "blobs/sha256"
        return list(place.iterdir()) if place.is_dir() else []

    def has_own_content(self) -> bool:
        """Whether it keeps anything where a containerd keeps its content itself."""
        return (self.root / "io.containerd.content.v1.content").exists()
