"""No store was named and none is here: what this machine has, and what may be done with each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from textual import on, work
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from contentui.stores.detect import Candidate, detect, first_choice
from contentui.stores.source import Source, parse
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult

_INTRO = (
    "A content store keeps blobs under their digests, and the ingests that are on their way.\n"
    "None was named and there is no .content here. Choose one, or type a path."
)


def _content(candidate: Candidate) -> Content:
    state = "" if candidate.exists else "  (new)"
    if not candidate.source.is_directory:
        state = "  (socket)"
    return Content.assemble(
        (f"{candidate.name:<17}", "bold" if candidate.can_open else "dim"),
        (visible(candidate.source.path) + state, "" if candidate.can_open else "dim"),
        "\n",
        (f"  {visible(candidate.allowed)}", "dim"),
    )


class Choice(NamedTuple):
    """What was chosen."""

    source: Source
    create: bool
    """Whether to make the directory."""


class PickerScreen(Screen[Choice]):
    """Returns the source that was chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+q", "app.quit", "Quit", id="app.quit"),
        Binding("r", "look", "Look again", id="picker.look"),
    ]

    def __init__(self, find: Callable[[], list[Candidate]] = detect) -> None:
        super().__init__()
        self._find = find
        self._candidates: list[Candidate] = []

    def compose(self) -> ComposeResult:
        yield Static(Content.styled(" contentui ", "bold reverse"), id="picker-title")
        yield Static(_INTRO, id="picker-intro", markup=False)
        yield OptionList(id="picker-list", markup=False)
        yield Input(
            placeholder="or the path of a directory or a socket, or unix://PATH?namespace=NAME",
            id="picker-path",
            compact=True,
        )
        yield Static(
            "enter open   tab type a path   r look again   q quit", id="picker-keys", markup=False
        )

    def on_mount(self) -> None:
        self.action_look()

    @work(group="detect", exclusive=True)
    async def action_look(self) -> None:
        """Look again at what is there."""
        self._candidates = await asyncio.to_thread(self._find)
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options(
            [Option(_content(c), disabled=not c.can_open) for c in self._candidates]
        )
        options.highlighted = first_choice(self._candidates)
        options.focus()

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        candidate = self._candidates[event.option_index]
        self.dismiss(Choice(candidate.source, create=not candidate.exists))

    @on(Input.Submitted)
    def _typed(self, event: Input.Submitted) -> None:
        if path := event.value.strip():
            self.dismiss(Choice(parse(path), create=False))
