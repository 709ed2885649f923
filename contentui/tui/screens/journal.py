"""What was done from here: when, by whom, what, with what result."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from contentui.tui.text_view import TextView

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from contentui.tui.text_view import Line


class JournalScreen(ModalScreen[None]):
    """The newest first. Closes with the key that opened it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,j,q", "dismiss(None)", "Close", id="journal.close"),
    ]

    def __init__(self, lines: list[Line]) -> None:
        super().__init__()
        self._lines = lines

    def compose(self) -> ComposeResult:
        with Vertical(classes="overlay") as box:
            box.border_title = "Journal"
            box.border_subtitle = "newest first · esc closes"
            yield TextView(self._lines, id="journal-lines")
