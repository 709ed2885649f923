"""The two servers that are compared over gRPC: our service and Debian's containerd."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from bench.measure import Failed
from bench.peers import NAMESPACE, Containerd, need
from bench.programs import contentui

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.measure import Bench
    from bench.work import Work

OURS, PEER = "our service", "containerd"
PEAKS: dict[str, int] = {OURS: 0, PEER: 0}
"""The most memory, in KiB, that each server has used in any row so far (VmHWM)."""


def peak_kib(pid: int) -> int:
    """The most memory that a process has used, in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return 0


class Serving:
    """Our service on a directory, in a process of its own; ended by leaving ``with``."""

    def __init__(self, store: Path, socket: Path, *options: str) -> None:
        self.store = store
        self.socket = socket
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        argv = contentui(self.store, "serve", "--listen", f"unix://{self.socket}", *self.options)
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 10
        asking = self.ctr("version")
        while subprocess.run(asking, capture_output=True, check=False).returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                words = self.process.communicate()[1].decode(errors="replace").strip()
                raise Failed(f"our service does not start: {words[-300:]}")
            time.sleep(0.05)
        return self

    def __exit__(self, *exc: object) -> None:
        assert self.process
        self.process.terminate()
        try:
            self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()

    def ctr(self, *arguments: str) -> list[str]:
        """The command line of ``ctr`` on this service."""
        return [need("ctr", "containerd"), "-a", str(self.socket), "-n", NAMESPACE, *arguments]

    def remove(self, digest: str) -> None:
        subprocess.run(self.ctr("content", "rm", digest), check=True, capture_output=True)


class UncollectedContainerd(Containerd):
    """A containerd that collects nothing by itself; `remove` unlinks what was dropped."""

    def __init__(self, place: Path) -> None:
        super().__init__(place, collect=False)

    def remove(self, digest: str, limit: float = 10) -> None:  # noqa: ARG002 - nothing to wait for
        subprocess.run(self.ctr("content", "rm", digest), check=True, capture_output=True)
        file = self.content / "blobs/sha256" / digest.removeprefix("sha256:")
        file.unlink(missing_ok=True)


@contextlib.contextmanager
def both(
    bench: Bench, work: Work, store: Path | None = None, place: Path | None = None
) -> Iterator[tuple[Serving, UncollectedContainerd]]:
    """Both servers, on new directories unless given; their peaks are noted at the end."""
    daemon = UncollectedContainerd(place or work.fresh("ctd"))
    with Serving(store or work.fresh("cui"), work.short() / "s") as ours, daemon:
        assert ours.process
        assert daemon.process
        pids = {OURS: ours.process.pid, PEER: daemon.process.pid}
        with bench.serving(pids.values()):
            yield ours, daemon
        for name, pid in pids.items():
            PEAKS[name] = max(PEAKS[name], peak_kib(pid))


def client(socket: Path, *arguments: str) -> list[str]:
    """Our program as a client of a server."""
    return contentui(f"unix://{socket}?namespace={NAMESPACE}", *arguments)


def script(name: str, *arguments: object) -> list[str]:
    """A script of ours, beside this file."""
    return [sys.executable, str(Path(__file__).with_name(name)), *map(str, arguments)]


def digest_of(file: Path) -> str:
    """The digest of a file."""
    argv = [need("openssl", "openssl"), "dgst", "-sha256", "-r", str(file)]
    return "sha256:" + subprocess.check_output(argv, text=True)[:64]


def succeed(argv: Sequence[object]) -> None:
    """Run a command that isn't measured. Raises Failed."""
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{argv[0]} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
