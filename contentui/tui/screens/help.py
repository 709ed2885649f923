"""All keys that do something now, from the active bindings, and the meaning of each state."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from contentui.tui.commands import BY_ID, GROUPS
from contentui.tui.screens.text_screen import TextScreen
from contentui.tui.text_view import Line, spaced

if TYPE_CHECKING:
    from collections.abc import Iterable

    from contentui.tui.footer import Hint


def help_lines(hints: Iterable[Hint], legend: Iterable[tuple[str, str, str]]) -> list[Line]:
    """Keys by what they apply to, then each state's shape, name and meaning."""
    groups: dict[str, list[Line]] = {
        group: [Line(title, "title")] for group, title in GROUPS.items()
    }
    for hint in hints:
        command = BY_ID[hint.id]
        text = f"{hint.label}: {command.help}"
        groups[command.group].append(Line(text, "plain", hint.display, "key", indent=2, hang=9))
    groups["app"].append(
        Line("Palette: every command by name, and the themes", "plain", "ctrl+p", "key", 2, 9)
    )
    states = [Line("States", "title")]
    states += [Line(text, "plain", f"{shape} {word}", "key", 2, 19) for shape, word, text in legend]
    shown = [lines for lines in groups.values() if len(lines) > 1]
    return spaced([*shown, states])


class HelpScreen(TextScreen):
    """Closes with the key that opened it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,f1,enter", "dismiss(None)", "Close", id="help.close"),
    ]

    def __init__(self, lines: list[Line]) -> None:
        super().__init__("Keys", lines)
