"""The results of probes of ingests."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from contentui.glyphs import GLYPHS
from contentui.text import namespaces_text
from contentui.tui.probing import summary
from contentui.tui.screens.text_screen import TextScreen
from contentui.tui.text_view import Line, TextView, spaced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contentui.tui.probing import ProbeResult

_STYLES = {"title": "title", "name": "key", "good": "good", "warning": "warn", "danger": "bad"}
_AROUND = 6
"""Cells that the overlay's border, padding and scroll bar take from a line."""


def probe_result_lines(results: Sequence[ProbeResult], now_ns: int) -> list[Line]:
    """Each ingest's name, and what its probe found."""
    groups = []
    for result in results:
        lines = [
            Line(line.text.strip(), _STYLES.get(line.style, "plain"), indent=2)
            for line in result.lines(now_ns)
        ]
        name = [Line(result.name, "title")]
        if result.status.namespace:
            name.append(Line(namespaces_text((result.status.namespace,)), "dim", indent=2))
        groups.append([*name, *lines])
    return spaced(groups)


class ProbesScreen(TextScreen):
    """One ingest below the other; no taller than it has to be."""

    subtitle = f"y copies all of it {GLYPHS.dot} esc closes"
    box_classes = "overlay -fit"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q,v", "dismiss(None)", "Close", id="probes.close"),
        Binding("y", "copy", "Copy", id="probes.copy"),
    ]

    def __init__(self, results: Sequence[ProbeResult], now_ns: int) -> None:
        title = "Verified" if len(results) == 1 else summary(results)
        super().__init__(title, probe_result_lines(results, now_ns))

    def on_mount(self) -> None:
        self._fit()

    def on_resize(self) -> None:
        self._fit()

    def _fit(self) -> None:
        """Give the list the height it needs, at most what the screen has."""
        view = self.query_one(TextView)
        width = min(self.size.width * 9 // 10, 110) - _AROUND
        view.styles.height = min(view.rows_at(width), max(self.size.height * 9 // 10 - 2, 3))
