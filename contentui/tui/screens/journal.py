"""What was done from here: when, by whom, what, with what result."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from contentui.glyphs import GLYPHS
from contentui.tui.screens.text_screen import TextScreen

if TYPE_CHECKING:
    from contentui.tui.text_view import Line


class JournalScreen(TextScreen):
    """The newest first. Closes with the key that opened it."""

    subtitle = f"newest first {GLYPHS.dot} esc closes"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,j,q", "dismiss(None)", "Close", id="journal.close"),
    ]

    def __init__(self, lines: list[Line]) -> None:
        super().__init__("Journal", lines)
