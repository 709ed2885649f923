"""Every key of the dashboard: stable id, action, name, and what it does, in one table."""

from __future__ import annotations

from typing import NamedTuple

from textual.binding import Binding

HELP_ONLY = 9
"""The rank of keys that the footer leaves out."""


class Command(NamedTuple):
    """One thing a key does. The id is what a configuration remaps."""

    id: str
    keys: str
    """Comma-separated; the first one is shown."""
    action: str
    name: str
    """For the footer, unless the screen has a more exact label."""
    help: str
    key_display: str | None = None
    rank: int = 5
    """Which keys a narrow footer keeps: the lowest."""
    priority: bool = False

    @property
    def group(self) -> str:
        """What it applies to: the part of the id before the dot."""
        return self.id.partition(".")[0]

    def binding(self) -> Binding:
        """As a Textual binding."""
        return Binding(
            self.keys,
            self.action,
            self.name,
            key_display=self.key_display,
            id=self.id,
            priority=self.priority,
            tooltip=self.help,
        )


COMMANDS = (
    Command(
        "ingest.abort", "a", "plan('abort')", "Abort", "remove ingests and their bytes", rank=1
    ),
    Command("ingest.delete", "d", "plan('abort', 'd')", "Abort", "the same as abort", rank=9),
    Command(
        "ingest.truncate",
        "t",
        "plan('truncate')",
        "Truncate",
        "drop an idle ingest's bytes and keep its ref",
        rank=2,
    ),
    Command(
        "ingest.verify",
        "v",
        "probe",
        "Verify",
        "ask who holds it, or what its bytes are so far; reads all of them",
        rank=3,
    ),
    Command("blob.delete", "d", "plan('delete')", "Delete", "remove blobs", rank=1),
    Command("blob.verify", "v", "verify", "Verify", "read a blob and compare its digest", rank=3),
    Command("table.mark", "space", "mark", "Mark", "mark the row, or take the mark away", rank=3),
    Command(
        "table.mark-all",
        "asterisk",
        "mark_all",
        "Mark all",
        "mark everything that is shown",
        "*",
        rank=6,
    ),
    Command(
        "table.clear",
        "escape",
        "clear",
        "Clear",
        "end the filter, then take all marks away",
        "esc",
        rank=4,
    ),
    Command(
        "table.filter",
        "slash",
        "filter",
        "Filter",
        "show rows with this text; re: a pattern; ns: a namespace; ! turns it round",
        "/",
        rank=2,
    ),
    Command(
        "table.sort",
        "s",
        "sort",
        "Sort",
        "sort by the next column; a click on a heading does it too",
        rank=5,
    ),
    Command(
        "table.reverse", "S,upper_s", "reverse", "Reverse", "turn the order round", "S", rank=7
    ),
    Command(
        "view.pause", "p", "pause", "Pause", "hold the tables still; header and graph go on", rank=4
    ),
    Command(
        "view.detail",
        "enter",
        "detail",
        "Detail",
        "everything about the row, unshortened",
        "enter",
        rank=4,
    ),
    Command(
        "view.copy",
        "y",
        "copy",
        "Copy",
        "copy the ref or digest to the terminal's clipboard",
        rank=6,
    ),
    Command(
        "view.journal",
        "j",
        "journal",
        "Journal",
        "what was done from here, when, by whom, with what result",
        rank=7,
    ),
    Command(
        "view.other-pane",
        "tab",
        "other_pane",
        "Other pane",
        "between ingests and blobs",
        "tab",
        rank=5,
    ),
    Command("view.zoom", "z", "zoom", "Zoom", "give the pane the whole screen, and back", rank=6),
    Command(
        "view.retry", "r", "retry", "Try now", "look for the store again, without waiting", rank=1
    ),
    Command(
        "app.help",
        "question_mark,f1",
        "help",
        "Help",
        "all keys that do something now",
        "?",
        rank=0,
    ),
    Command(
        "app.quit",
        "q,ctrl+q",
        "app.quit",
        "Quit",
        "leave; nothing that is being ingested is touched",
        rank=0,
    ),
    Command(
        "app.suspend",
        "ctrl+z",
        "app.suspend_process",
        "Suspend",
        "back to the shell; fg continues",
        "ctrl+z",
        rank=HELP_ONLY,
    ),
)

BY_ID = {command.id: command for command in COMMANDS}

GROUPS = {
    "ingest": "On an ingest",
    "blob": "On a blob",
    "table": "Rows",
    "view": "Looking",
    "app": "Everywhere",
}
