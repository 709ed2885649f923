"""The base of every screen over the dashboard that shows text and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Vertical
from textual.screen import ModalScreen

from contentui.tui.messages import CopyRequested
from contentui.tui.text_view import TextView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from contentui.tui.text_view import Line


class TextScreen(ModalScreen[None]):
    """Lines that scroll, in a box with a title; each subclass binds the keys that close it."""

    subtitle = "esc closes"
    box_classes = "overlay"

    def __init__(self, title: str, lines: Sequence[Line]) -> None:
        super().__init__()
        self.heading = title
        self._lines = lines

    def compose(self) -> ComposeResult:
        with Vertical(classes=self.box_classes) as box:
            box.border_title = self.heading
            box.border_subtitle = self.subtitle
            yield TextView(self._lines)

    def show(self, lines: Sequence[Line]) -> None:
        """Show newer lines."""
        if lines != self._lines and self.is_mounted:
            self._lines = lines
            self.query_one(TextView).show(lines)

    def action_copy(self) -> None:
        """Copy the whole text."""
        self.post_message(CopyRequested(self.query_one(TextView).plain, "all of it"))
