"""A question with two answers, for what costs something but destroys nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

if TYPE_CHECKING:
    from textual.app import ComposeResult


class AskScreen(ModalScreen[bool]):
    """Returns whether to continue. Focus starts on Cancel."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(False)", "Cancel", id="ask.cancel"),
        Binding("left", "app.focus_previous", show=False),
        Binding("right", "app.focus_next", show=False),
    ]

    def __init__(self, title: str, text: str, go_on: str) -> None:
        """All three are safe for a terminal."""
        super().__init__()
        self._title = title
        self._text = text
        self._go_on = go_on

    def compose(self) -> ComposeResult:
        with Vertical(id="ask") as box:
            box.border_title = self._title
            yield Static(self._text, id="ask-text", markup=False)
            with Horizontal(id="ask-buttons"):
                yield Button("Cancel", id="ask-cancel", compact=True)
                yield Button(self._go_on, id="ask-go-on", compact=True)

    def on_mount(self) -> None:
        self.query_one("#ask-cancel").focus()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "ask-go-on")
