"""A graph of the total rate over the last minutes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from contentui.present.bars import area
from contentui.tui.styling import component_style

if TYPE_CHECKING:
    from collections.abc import Sequence


class RateGraph(Widget):
    """An area of blocks as large as the widget, newest second at the right.

    It is fed by `StoreView.history` and goes on while a table is paused.
    """

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {"rate-graph--area"}
    DEFAULT_CSS = """
    RateGraph {
        height: 3; background: $surface; color: $foreground;
        .rate-graph--area { color: $primary; }
    }
    """

    _history: Sequence[float] = ()
    _lines: tuple[str, ...] = ()

    def show(self, history: Sequence[float]) -> None:
        """``history``: bytes per second, once a second, oldest first."""
        self._history = history
        lines = tuple(area(history, self.size.width, self.size.height)) if self.size else ()
        if lines != self._lines:
            self._lines = lines
            self.refresh()

    def on_resize(self) -> None:
        self.show(self._history)

    def render_line(self, y: int) -> Strip:
        style = component_style(self, "rate-graph--area")
        text = self._lines[y] if y < len(self._lines) else ""
        return Strip([Segment(text, style)]).adjust_cell_length(self.size.width, style)
