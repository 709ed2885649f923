"""A pull as pictures: in the terminal that runs it, and in a dashboard beside it. Needs tmux."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time

from rich.console import Console
from rich.text import Text

from contentui.content.digest import Digest
from contentui.demo.registry import Registry, Throttle
from contentui.demo.unpackable import make_unpackable
from contentui.stores.source import parse
from contentui.tui.app import ContentUI
from contentui.tui.session import Session
from screenshots.make import FOLDER, SIZES, Camera, tidied, to_png

SLOW = 400_000
"""Bytes per second of each connection."""
LAYERS = (9_000_000, 14_000_000, 6_000_000, 800_000, 5_000_000)
COLUMNS, LINES = 120, 12
NAME = "registry.example.com/team/web:2.8"
TMUX = ("tmux", "-L", "contentui-pictures", "-f", "/dev/null")


def start(store: str, reference: str) -> None:
    """Pull in a terminal of its own."""
    command = f"{sys.executable} -m contentui --store {store} pull {reference}; sleep 60"
    size = ("-x", str(COLUMNS), "-y", str(LINES))
    subprocess.run([*TMUX, "new-session", "-d", *size, command], check=True)


def captured() -> str:
    """What the terminal shows, with its colours."""
    done = subprocess.run([*TMUX, "capture-pane", "-pe"], capture_output=True, check=True)
    return done.stdout.decode()


def take_terminal(name: str, shown: str, address: str) -> None:
    console = Console(width=COLUMNS, record=True, file=io.StringIO())
    console.print(Text("$ contentui pull " + NAME, style="bold"))
    for line in shown.replace(address, NAME.partition("/")[0]).rstrip().splitlines():
        console.print(Text.from_ansi(line), no_wrap=True, crop=True)
    path = os.path.join(FOLDER, f"{name}.svg")
    with open(path, "w", encoding="utf-8") as file:
        file.write(tidied(console.export_svg(title="terminal")).rstrip() + "\n")
    print(os.path.relpath(path))
    to_png(path)


async def film(store: str, address: str) -> None:
    app = ContentUI(Session(parse(store)))
    async with app.run_test(size=SIZES[1], notifications=False) as pilot:
        camera = Camera(app, pilot, FOLDER)
        await camera.until(lambda: "retrying" in captured(), "a retry")
        await asyncio.sleep(0.7)
        take_terminal("pull-terminal", captured(), address)
        camera.take("pull-dashboard")
        await camera.until(lambda: "sha256:" in captured(), "the end of the pull", 90)
        take_terminal("pull-done", captured(), address)


def main() -> int:
    if shutil.which("tmux") is None:
        print("no pictures of a pull: tmux is not installed", file=sys.stderr)
        return 1
    place = tempfile.mkdtemp(prefix="cui-")
    store = os.path.join(place, ".content")
    try:
        with Registry(Throttle(SLOW)) as registry:
            image = make_unpackable(7, LAYERS)
            reference = registry.add(image, "team/web:2.8")
            for layer in image.layers[1:3]:
                registry.throttle.cuts[Digest.of(layer)] = [4_100_000, 4_150_000, 4_200_000]
            start(store, reference)
            while not os.path.isdir(os.path.join(store, "blobs")):
                time.sleep(0.1)
            os.chdir(place)  # a name for the header that is the same each time
            asyncio.run(film(".content", registry.host))
            os.chdir(FOLDER)
    finally:
        subprocess.run([*TMUX, "kill-server"], check=False, capture_output=True)
        shutil.rmtree(place, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
