"""The line above the detail: what is wrong with the view, what is under way, what was done."""

from __future__ import annotations

import time
from typing import NamedTuple

from textual.widgets import Static

MESSAGE_S = 12.0
"""Seconds for which a message is shown."""
_MOST_LINES = 3
_RANKS = {"error": 2, "warning": 1, "information": 0}


class _Message(NamedTuple):
    text: str
    severity: str
    until_s: float


class NoticeLine(Static):
    """One line for each thing that a person must know now; hidden while there is none.

    It never covers a dialog, and a message that comes again replaces the one before.
    """

    def __init__(self) -> None:
        super().__init__("", id="notice", markup=False)
        self._problem = ""
        self._progress = ""
        self._messages: dict[str, _Message] = {}
        self._shown = ("", 0)
        """Text and rank of what is on the screen."""

    def show_state(self, problem: str | None = None, progress: str | None = None) -> None:
        """Why the view is old, and what is under way; None: as before."""
        self._problem = self._problem if problem is None else problem
        self._progress = self._progress if progress is None else progress
        self._show()

    def add(self, text: str, severity: str, for_s: float = MESSAGE_S, key: str = "") -> None:
        """Show a message: ``error``, ``warning`` or ``information``.

        It replaces an earlier one with the same ``key``, or with the same text.
        """
        key = key or text
        self._messages.pop(key, None)
        self._messages[key] = _Message(text, severity, time.monotonic() + for_s)
        self._show()
        if self.is_mounted:
            self.set_timer(for_s + 0.05, self._show)

    @property
    def messages(self) -> tuple[str, ...]:
        """The messages that are still shown, the newest last."""
        now_s = time.monotonic()
        return tuple(each.text for each in self._messages.values() if each.until_s > now_s)

    def on_mount(self) -> None:
        now_s = time.monotonic()
        for message in self._messages.values():  # of the time before
            self.set_timer(max(message.until_s - now_s, 0) + 0.05, self._show)
        self._show()

    def _show(self) -> None:
        now_s = time.monotonic()
        self._messages = {k: each for k, each in self._messages.items() if each.until_s > now_s}
        if not self.is_mounted:
            return
        shown = list(self._messages.values())[-_MOST_LINES:]
        lines = [text for text in (self._problem or self._progress,) if text]
        lines += [message.text for message in shown]
        rank = 2 if self._problem else max((_RANKS[each.severity] for each in shown), default=0)
        shown_now = "\n".join(lines), rank
        if shown_now == self._shown:
            return  # an update lays the whole screen out again
        self._shown = shown_now
        self.update(shown_now[0])
        self.set_class(bool(lines), "-shown")
        self.set_class(rank == 0, "-calm")
        self.set_class(rank == 1, "-warn")
