"""The README's pictures: the demo's dashboard at three sizes, a plan and the help, as SVG.

The pictures show what is really there. Times and rates differ from run to run, the rest doesn't.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from html import escape, unescape
from typing import TYPE_CHECKING

from rich.cells import cell_len

from contentui.demo.session import demo_store
from contentui.monitor.states import IngestState
from contentui.stores.source import parse
from contentui.tui.app import ContentUI
from contentui.tui.screens.dashboard import Dashboard
from contentui.tui.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.pilot import Pilot

FOLDER = os.path.dirname(os.path.abspath(__file__))
SIZES = ((80, 24), (120, 40), (200, 50))
"""Columns and lines."""
HISTORY_S = 45.0
"""Seconds to watch before the first picture, so that the graphs have something to show."""
PATIENCE_S = 60.0
PROBLEM_STATES = {
    IngestState.STALLED,
    IngestState.ABANDONED,
    IngestState.DAMAGED,
    IngestState.POISONED,
}

_CELL = 12.2
"""Width of a character in Rich's SVG, in its own units."""
_FONT_FACE = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
_BLANKS = re.compile(r"[ \t]+$", re.MULTILINE)
_LINE_CLIP = re.compile(r'\s*<clipPath id="[^"]*-line-\d+">.*?</clipPath>', re.DOTALL)
_TEXT = re.compile(
    r'<text (class="[^"]*") x="([^"]*)" (y="[^"]*")'
    r' textLength="[^"]*" clip-path="[^"]*">([^<]*)</text>'
)
_FOLDER_NAME = re.compile(r"contentui-demo-\w+")
_WORD = re.compile(r"[^\xa0]+(?:\xa0[^\xa0]+)*")


class Camera:
    """One running dashboard, and the pictures that are taken of it."""

    def __init__(self, app: ContentUI, pilot: Pilot[None], folder: str) -> None:
        self.app = app
        self.pilot = pilot
        self.folder = folder

    @property
    def dashboard(self) -> Dashboard:
        return next(s for s in self.app.screen_stack if isinstance(s, Dashboard))

    async def until(
        self, condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S
    ) -> None:
        """Let the dashboard run until the condition holds. Raises TimeoutError."""
        deadline = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > deadline:
                self.take("problem")
                raise TimeoutError(f"{what} did not come; see problem.svg")
            await self.pilot.pause(0.05)

    def problem_states(self) -> set[IngestState]:
        """The problem states that the screen shows by now."""
        store_view = self.dashboard.store_view
        return set() if store_view is None else PROBLEM_STATES & set(store_view.counts)

    def point_at(self, state: IngestState) -> None:
        """Put the cursor on an ingest of that kind."""
        store_view = self.dashboard.store_view
        assert store_view is not None
        row = next(row for row in store_view.ingests if row.state is state)
        self.dashboard.ingests.table.cursor_key = row.key

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def resize(self, columns: int, lines: int) -> None:
        await self.pilot.resize_terminal(columns, lines)
        await asyncio.sleep(1.5)  # the tables follow, and the graph gets a new second

    def take(self, name: str) -> None:
        """Write what is on the screen."""
        picture = tidied(self.app.export_screenshot(title="contentui", simplify=True))
        path = os.path.join(self.folder, f"{name}.svg")
        with open(path, "w", encoding="utf-8") as file:
            file.write(picture.rstrip() + "\n")
        print(os.path.relpath(path))
        to_png(path)


def tidied(picture: str) -> str:
    """The same picture, alike in every viewer, whatever its fonts and its handling of blanks.

    Nothing is fetched from elsewhere, and each run of words stands where it belongs.
    """
    picture = _LINE_CLIP.sub("", _FONT_FACE.sub("", picture))
    return _BLANKS.sub("", _TEXT.sub(_placed_words, picture))


def _placed_words(match: re.Match[str]) -> str:
    style, start, line, content = match.groups()
    # Where this machine keeps its Python and its temporary folders is no matter.
    text = unescape(content).replace(sys.executable, "python3")
    text = _FOLDER_NAME.sub("contentui-demo", text)
    placed = []
    for word in _WORD.finditer(text):
        x = float(start) + cell_len(text[: word.start()]) * _CELL
        width = cell_len(word.group()) * _CELL
        placed.append(
            f'<text {style} x="{x:g}" {line} textLength="{width:g}">{escape(word.group())}</text>'
        )
    return "".join(placed)


def to_png(path: str) -> None:
    """A PNG beside the SVG, for viewers that know no SVG, where there is a converter."""
    if converter := shutil.which("rsvg-convert"):
        subprocess.run([converter, "-o", path.removesuffix(".svg") + ".png", path], check=True)


async def take_all(source: str, folder: str, history_s: float) -> None:
    app = ContentUI(Session(parse(source)))
    async with app.run_test(size=SIZES[-1], notifications=False) as pilot:
        camera = Camera(app, pilot, folder)
        began = time.monotonic()
        await camera.until(lambda: camera.problem_states() == PROBLEM_STATES, "each problem state")
        await asyncio.sleep(max(history_s - (time.monotonic() - began), 0))
        camera.point_at(IngestState.STALLED)
        for columns, lines in SIZES:
            await camera.resize(columns, lines)
            camera.take(f"dashboard-{columns}x{lines}")
        await camera.resize(*SIZES[1])
        await take_sheets(camera)


async def take_sheets(camera: Camera) -> None:
    """What lies over the dashboard: a plan for what nobody holds any more, the help, a row."""
    table = camera.dashboard.ingests.table
    store_view = camera.dashboard.store_view
    assert store_view is not None
    with_problems = [row.key for row in store_view.ingests if row.state in PROBLEM_STATES]
    for key in with_problems:
        table.toggle_mark(key)
    await camera.press("a")
    await camera.until(lambda: camera.app.screen is not camera.dashboard, "the plan")
    await asyncio.sleep(0.3)
    camera.take("plan")
    await camera.press("escape", "escape")
    for key, name in (("question_mark", "help"), ("enter", "detail")):
        await camera.press(key)
        await asyncio.sleep(0.3)
        camera.take(name)
        await camera.press("escape")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", default=FOLDER, help="where to put them (default: here)")
    parser.add_argument("--seconds", type=float, default=HISTORY_S, help="how long to watch before")
    options = parser.parse_args()
    folder = os.path.abspath(options.folder)
    for name in ("NO_COLOR", "CONTENTUI_STORE"):
        os.environ.pop(name, None)
    with demo_store() as source, tempfile.TemporaryDirectory() as place:
        # A name for the header that is the same each time.
        os.chdir(place)
        os.symlink(source.path, ".content")
        asyncio.run(take_all(".content", folder, options.seconds))
        os.chdir(FOLDER)
    return 0


if __name__ == "__main__":
    sys.exit(main())
