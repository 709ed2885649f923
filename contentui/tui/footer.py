"""The last line: the keys that do something now, named for what they would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from rich.cells import cell_len
from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input

from contentui.tui.commands import BY_ID, HELP_ONLY
from contentui.tui.styling import component_style

if TYPE_CHECKING:
    from textual.binding import Binding
    from textual.events import Click
    from textual.screen import Screen


class Hint(NamedTuple):
    """A key that works, and what it would do."""

    key: str
    """As the terminal sends it."""
    display: str
    label: str
    rank: int
    id: str


@runtime_checkable
class Labels(Protocol):
    """A screen that knows what a key would do now."""

    def label(self, command_id: str) -> str | None:
        """The words for a command, nothing for its usual name, None to leave it out."""


def live_hints(screen: Screen[Any]) -> list[Hint]:
    """The keys that do something on ``screen`` now, in the table's order.

    Made from the live bindings, so that remapped keys are shown as they are.
    """
    bindings = [active.binding for active in screen.active_bindings.values() if active.enabled]
    hints: dict[str, Hint | None] = {}
    for binding in bindings:
        command_id = _SAME.get(binding.id or "", binding.id or "")
        if command_id in BY_ID and command_id not in hints:
            hints[command_id] = _hint(screen, binding, command_id)
    return [hint for command_id in BY_ID if (hint := hints.get(command_id))]


_SAME = {"table.choose": "view.detail"}
"""Bindings of the focused table that stand for a command."""


def _hint(screen: Screen[Any], binding: Binding, command_id: str) -> Hint | None:
    command = BY_ID[command_id]
    label = screen.label(command.id) if isinstance(screen, Labels) else ""
    if label is None:
        return None
    display = screen.app.get_key_display(binding)
    return Hint(binding.key, display, label or command.name, command.rank, command.id)


def fit(hints: list[Hint], width: int) -> list[Hint]:
    """The most important hints that fit into ``width`` cells, in their order."""
    kept: list[Hint] = []
    room = width - 1
    shown = [hint for hint in hints if hint.rank < HELP_ONLY]
    for hint in sorted(shown, key=lambda hint: hint.rank):
        cells = _cells(hint)
        if cells <= room:
            kept.append(hint)
            room -= cells
    return [hint for hint in hints if hint in kept]


def _cells(hint: Hint) -> int:
    return cell_len(hint.display) + 1 + cell_len(hint.label) + 2


_TYPING = [
    Hint("enter", "enter", "Keep the filter", 0, "filter.keep"),
    Hint("escape", "esc", "Show everything", 0, "filter.end"),
]
"""While something is typed, letters are letters."""


class KeyBar(Widget):
    """Shows the live keys in one line; a click on one presses it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"key-bar--key", "key-bar--label", "key-bar--danger"}
    DEFAULT_CSS = """
    KeyBar { height: 1; dock: bottom; }
    """
    DANGER = frozenset({"ingest.abort", "ingest.truncate", "blob.delete", "ingest.delete"})

    def __init__(self) -> None:
        super().__init__()
        self._hints: list[Hint] = []

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._bindings_changed)

    def _bindings_changed(self, screen: Screen[Any]) -> None:
        if screen is self.screen and self.is_attached:
            self.call_after_refresh(self.update)

    def update(self) -> None:
        """Look again at what works now; draws only when that changed."""
        if isinstance(self.screen.focused, Input):
            hints = _TYPING
        else:
            hints = [hint for hint in live_hints(self.screen) if hint.id != "ingest.delete"]
        if hints != self._hints:
            self._hints = hints
            self.refresh()

    @property
    def plain(self) -> str:
        """The line as it is read."""
        return "  ".join(f"{h.display} {h.label}" for h in fit(self._hints, self.size.width))

    def render_line(self, y: int) -> Strip:  # noqa: ARG002 - there is one line
        """The one row."""
        key = component_style(self, "key-bar--key")
        label = component_style(self, "key-bar--label")
        danger = component_style(self, "key-bar--danger")
        segments = [Segment(" ", label)]
        for hint in fit(self._hints, self.size.width):
            style = danger if hint.id in self.DANGER else label
            segments += [Segment(hint.display, key), Segment(" ", label)]
            segments += [Segment(hint.label, style), Segment("  ", label)]
        return Strip(segments).adjust_cell_length(self.size.width, label)

    def on_click(self, event: Click) -> None:
        """Press the key under the pointer."""
        at = 1
        for hint in fit(self._hints, self.size.width):
            if at <= event.x < at + _cells(hint):
                self.app.simulate_key(hint.key)
                return
            at += _cells(hint)
