"""Runs the dashboard: checks the terminal, chooses the appearance, returns an exit code."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contentui.stores.source import Source

SWITCH_S = 0.0005
"""After how many seconds a busy thread yields to another one."""
NO_SCREEN = 2
"""Exit code when there is no terminal to draw on: a usage error."""


def run_app(
    source: Source | None,
    *,
    read_only: bool = False,
    interval_s: float = 0.25,
    low_bandwidth: bool = False,
    mouse: bool = True,
    theme: str | None = None,
) -> int:
    """Show the dashboard until it is left; returns the process's exit code.

    ``source`` None: show a picker of the stores found on this machine. ``interval_s`` is the
    time between two reads of the store in seconds; ``low_bandwidth`` makes it one second, with
    the terminal's own sixteen colours and without the graph.
    """
    if problem := screen_problem():
        # Standard error may be redirected to a file while standard output is the terminal.
        file = sys.stdout if sys.stdout.isatty() and not sys.stderr.isatty() else sys.stderr
        print(f"contentui: {problem}", file=file)
        return NO_SCREEN
    if not os.environ.get("NO_COLOR"):
        os.environ.pop("NO_COLOR", None)  # empty means unset, which Textual takes for set
    # With Python's default of 5 ms, the monitor's and the sorting threads would delay each key.
    sys.setswitchinterval(SWITCH_S)
    from contentui.tui.app import Appearance, ContentUI
    from contentui.tui.session import Session

    appearance = Appearance(
        low_bandwidth=low_bandwidth, theme=theme, no_color="NO_COLOR" in os.environ
    )
    session = Session(source, read_only=read_only)
    app = ContentUI(session, interval_s=1.0 if low_bandwidth else interval_s, appearance=appearance)
    app.run(mouse=mouse)
    return app.return_code or 0


def screen_problem() -> str:
    """Why there is nothing to draw on, with what works instead; empty when there is."""
    instead = "'contentui active' and 'contentui list' print the same as text"
    if os.environ.get("TERM", "") in ("", "dumb"):
        return f"the dashboard needs a terminal that can move its cursor (TERM is dumb); {instead}"
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        return f"the dashboard needs a terminal on input, output and error output; {instead}"
    return ""
