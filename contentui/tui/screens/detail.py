"""Everything about one row, unshortened, and each field ready to be copied."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from contentui.glyphs import GLYPHS
from contentui.present.detail import detail_fields, sentences
from contentui.tui.screens.text_screen import TextScreen
from contentui.tui.text_view import Line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contentui.monitor.model import BlobRow, Group, IngestRow


def full_lines(
    row: IngestRow | BlobRow | Group, now_ns: int, history: Sequence[float] = ()
) -> list[Line]:
    """The state as a sentence, then every field under its label."""
    fields = detail_fields(row, now_ns, history)
    lines = [Line(value, "plain", label, hang=11) for label, value in fields]
    heading = [Line(text, style) for text, style in sentences(row)]
    return [*heading, Line(""), *lines] if heading else lines


class DetailScreen(TextScreen):
    """Follows its row while it is open."""

    subtitle = f"y copies all of it {GLYPHS.dot} esc closes"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "dismiss(None)", "Close", id="detail.close"),
        Binding("y", "copy", "Copy", id="detail.copy"),
    ]

    def end(self) -> None:
        """The item is gone: show that in the title, and keep its last values."""
        if self.is_mounted:
            title = f"{self.heading}, as it was: it is gone now"
            self.query_one(".overlay").border_title = title
