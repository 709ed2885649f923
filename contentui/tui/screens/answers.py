"""What came out of asking for several ingests at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from contentui.tui.probing import summary
from contentui.tui.text_view import Line, TextView, spaced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from contentui.tui.probing import Answer

_STYLES = {"title": "title", "name": "key", "good": "good", "warning": "warn", "danger": "bad"}


def answer_lines(answers: Sequence[Answer], now_ns: int) -> list[Line]:
    """Each ingest's name, and what was told about it."""
    groups = []
    for answer in answers:
        told = [
            Line(line.text.strip(), _STYLES.get(line.style, "plain"), indent=2)
            for line in answer.lines(now_ns)
        ]
        groups.append([Line(answer.name, "title"), *told])
    return spaced(groups)


class AnswersScreen(ModalScreen[None]):
    """One ingest below the other."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q,v", "dismiss(None)", "Close", id="answers.close"),
    ]

    def __init__(self, answers: Sequence[Answer], now_ns: int) -> None:
        super().__init__()
        self._title = summary(answers)
        self._lines = answer_lines(answers, now_ns)

    def compose(self) -> ComposeResult:
        with Vertical(classes="sheet") as box:
            box.border_title = self._title
            box.border_subtitle = "esc closes"
            yield TextView(self._lines, id="answers-lines")
