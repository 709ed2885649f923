"""Everything about one row, unshortened, and each field ready to be copied."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from contentui.present.detail import detail_fields, sentences
from contentui.tui.messages import CopyRequested
from contentui.tui.text_view import Line, TextView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from contentui.monitor.model import BlobRow, Group, IngestRow


def full_lines(
    row: IngestRow | BlobRow | Group, now_ns: int, history: Sequence[float] = ()
) -> list[Line]:
    """The state as a sentence, then every field under its label."""
    fields = detail_fields(row, now_ns, history)
    lines = [Line(value, "plain", label, hang=11) for label, value in fields]
    heading = [Line(text, style) for text, style in sentences(row)]
    return [*heading, Line(""), *lines] if heading else lines


class DetailScreen(ModalScreen[None]):
    """Follows its row while it is open."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "dismiss(None)", "Close", id="detail.close"),
        Binding("y", "copy", "Copy", id="detail.copy"),
    ]

    def __init__(self, title: str, lines: list[Line]) -> None:
        super().__init__()
        self._title = title
        self._lines = lines

    def compose(self) -> ComposeResult:
        with Vertical(classes="overlay") as box:
            box.border_title = self._title
            box.border_subtitle = "y copies all of it · esc closes"
            yield TextView(self._lines, id="detail-lines")

    def show(self, lines: list[Line]) -> None:
        """Newer values of the same row."""
        if lines != self._lines and self.is_mounted:
            self._lines = lines
            self.query_one(TextView).show(lines)

    def end(self) -> None:
        """The item is gone: show that in the title, and keep its last values."""
        if self.is_mounted:
            self.query_one(".overlay").border_title = f"{self._title}, as it was: it is gone now"

    def action_copy(self) -> None:
        """The whole text."""
        self.post_message(CopyRequested(self.query_one(TextView).plain, "all of it"))
