"""The line behind ``/``: what is typed, how much it leaves, what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

if TYPE_CHECKING:
    from textual.app import ComposeResult


class FilterLine(Horizontal):
    """Shown while a filter is typed."""

    class Changed(Message):
        """Another text."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Kept(Message):
        """Enter: go back to the table and keep the filter."""

    def compose(self) -> ComposeResult:
        yield Static("/", classes="prompt", markup=False)
        yield Input(
            placeholder="text, re:pattern, ns:name, !not", compact=True, select_on_focus=False
        )
        yield Static("", classes="count", markup=False)

    def open(self, text: str) -> None:
        """Show it, with what is filtered by already."""
        self.add_class("-shown")
        field = self.query_one(Input)
        field.value = text
        field.cursor_position = len(text)
        self.screen.set_focus(field)  # at once: the next key must go into this field

    def close(self) -> None:
        """Hide it."""
        self.remove_class("-shown")

    def show_status(self, text: str) -> None:
        """The count, or what is wrong."""
        self.query_one(".count", Static).update(text)

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Changed(event.value))

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Kept())
