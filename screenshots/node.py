"""A session on a node, as pictures: a real containerd, one pull that stalls, its end, the retry.

containerd pulls two images through a slow link. One layer of the second stands still; the
dashboard says so, asks who holds it, aborts it; the pull fails; another try succeeds. Needs root,
containerd and ctr. Takes some three minutes, most of them to see that a stall is one.
"""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from bench.peers import Containerd, Missing
from contentui.content.digest import Digest
from contentui.demo.registry import Registry, Throttle
from contentui.demo.unpackable import make_unpackable
from contentui.monitor.states import IngestState
from contentui.stores.source import of_socket
from contentui.tui.app import ContentUI
from contentui.tui.session import Session
from screenshots.make import FOLDER, SIZES, Camera, tidied, to_png

if TYPE_CHECKING:
    from contentui.demo.unpackable import Unpackable

SLOW = 90_000
"""Bytes per second of each connection, so that the healthy pull outlasts the stall."""
QUICK = 4_000_000
"""That for the retry, so that it can be seen."""
STALLED_AT = 3_300_000
SOCKET = Path("/run/demo/containerd.sock")
"""Where that containerd listens: a name that is the same in each picture."""
PULL = ("images", "pull", "--plain-http", "--snapshotter", "native")


class Node:
    """A containerd and the registry that it pulls from."""

    def __init__(self, daemon: Containerd, registry: Registry) -> None:
        self.daemon = daemon
        self.registry = registry
        self.web = self._image(1, "team/web:2.8", (20_000_000, 24_000_000, 400_000))
        self.billing = self._image(2, "team/billing:1.4", (600_000, 12_000_000, 300_000))

    def _image(self, seed: int, name: str, sizes: tuple[int, ...]) -> Unpackable:
        image = make_unpackable(seed, sizes)
        self.registry.add(image, name)
        return image

    @property
    def stuck(self) -> Digest:
        """The layer that will stand still."""
        return Digest.of(self.billing.layers[1])

    def pull(self, name: str) -> subprocess.Popen[str]:
        reference = f"{self.registry.host}/{name}"
        return subprocess.Popen(
            self.daemon.ctr(*PULL, reference),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def text(self, text: str) -> str:
        """A text without what differs from run to run."""
        return text.replace(self.registry.host, "registry.example.com").replace(
            str(self.daemon.place / "root"), "/var/lib/containerd"
        )


async def film(node: Node, folder: str) -> None:
    link = node.registry.throttle
    link.stall_at[node.stuck] = STALLED_AT
    healthy, ill = node.pull("team/web:2.8"), node.pull("team/billing:1.4")
    app = ContentUI(Session(of_socket(node.daemon.socket)))
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        camera = Camera(app, pilot, folder)
        await camera.until(lambda: IngestState.STALLED in camera.problem_states(), "the stall", 240)
        camera.point_at(IngestState.STALLED)
        await asyncio.sleep(1)
        camera.take("node-1-stalled")
        await camera.press("v")
        await asyncio.sleep(1.5)
        camera.take("node-2-who-holds-it")
        await camera.press("escape")
        camera.point_at(IngestState.STALLED)
        await camera.press("a")
        await camera.until(lambda: camera.app.screen is not camera.dashboard, "the plan")
        await asyncio.sleep(0.5)
        camera.take("node-3-plan")
        await camera.press(*"abort", "enter")  # a live writer: the word itself is asked for
        await camera.until(lambda: IngestState.STALLED not in camera.problem_states(), "the abort")
        await asyncio.sleep(1)
        camera.take("node-4-aborted")
        link.bytes_s = QUICK
        link.stalled.clear()
        said = await asyncio.to_thread(ill.communicate)
        assert ill.returncode != 0, "the pull must fail once its ingest is gone"
        again = node.pull("team/billing:1.4")
        await camera.until(lambda: moving(camera) >= 4_000_000, "the retry")
        camera.take("node-6-retry")
        said_again = await asyncio.to_thread(again.communicate)
        assert again.returncode == 0, said_again
        await asyncio.to_thread(healthy.communicate)
        terminal(node, folder, said[1])
        await asyncio.sleep(3)
        camera.take("node-7-done")


def moving(camera: Camera) -> int:
    """Bytes that the last ingest on the screen has."""
    store_view = camera.dashboard.store_view
    return max((row.status.offset for row in store_view.ingests), default=0) if store_view else 0


def terminal(node: Node, folder: str, failure: str) -> None:
    """What the terminal of the failed pull says, and that of the next one."""
    console = Console(width=100, record=True, file=io.StringIO())
    reference = "registry.example.com/team/billing:1.4"
    console.print(Text(f"$ ctr {' '.join(PULL)} {reference}", style="bold"))
    console.print(Text(node.text(failure.strip())))
    console.print(Text(f"$ ctr {' '.join(PULL)} {reference}", style="bold"))
    console.print(Text("done"))
    path = os.path.join(folder, "node-5-pull.svg")
    with open(path, "w", encoding="utf-8") as file:
        file.write(tidied(console.export_svg(title="terminal")).rstrip() + "\n")
    to_png(path)


def main() -> int:
    for name in ("NO_COLOR", "CONTENTUI_STORE"):
        os.environ.pop(name, None)
    place = Path(tempfile.mkdtemp(prefix="cui-"))
    daemon = Containerd(place)
    daemon.socket = SOCKET
    SOCKET.parent.mkdir(exist_ok=True)
    try:
        with Registry(Throttle(SLOW)) as registry, daemon:
            asyncio.run(film(Node(daemon, registry), FOLDER))
    except (Missing, PermissionError) as problem:
        print(f"no pictures of a node: {problem}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree(SOCKET.parent, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
