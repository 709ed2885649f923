"""The styles of a widget's component classes for Textual's Line API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.style import Style

if TYPE_CHECKING:
    from textual.widget import Widget


def component_style(widget: Widget, *names: str) -> Style:
    """The widget's own style with component classes laid over it, transparency mixed in.

    Textual's own ways lose either the transparency or the reversal that 16 colours need.
    """
    style = widget.get_visual_style(*names).rich_style
    if any(widget.get_component_styles(name).text_style.reverse for name in names):
        style += Style(reverse=True)
    return style
