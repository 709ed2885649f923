"""Textual's compositor, which renders only the lines that changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual._compositor import Compositor
from textual.geometry import Region
from textual.strip import Strip

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from textual._compositor import ChopsUpdate

_NOT_SHOWN = Strip([])


class LineCompositor(Compositor):
    """Textual's own renders all lines of all widgets that touch the rectangle around the changes.

    One line at the top and one at the bottom would render the whole screen.
    """

    _changed: frozenset[int] | None = None
    """The lines of the update that is being rendered; None: all."""

    def render_partial_update(self) -> ChopsUpdate | None:
        self._changed = frozenset(y for region in self._dirty_regions for y in region.line_range)
        try:
            return super().render_partial_update()
        finally:
            self._changed = None

    def _get_renders(
        self, crop: Region | None = None
    ) -> Iterable[tuple[Region, Region, list[Strip]]]:
        if self._changed is None or crop is None:
            yield from super()._get_renders(crop)
            return
        for widget, (region, clip) in self.visible_widgets.items():
            shown = region.intersection(clip)
            if not crop.overlaps(shown):
                continue
            strips = [_NOT_SHOWN] * shown.height
            for first, end in _runs(self._changed, shown):
                lines = Region(shown.x - region.x, first - region.y, shown.width, end - first)
                strips[first - shown.y : end - shown.y] = widget.render_lines(lines)
            yield region, clip, strips


def _runs(lines: frozenset[int], shown: Region) -> Iterator[tuple[int, int]]:
    """The first line and the end of each run of ``lines`` within a region."""
    first = None
    for y in shown.line_range:
        if y in lines:
            first = y if first is None else first
        elif first is not None:
            yield first, y
            first = None
    if first is not None:
        yield first, shown.bottom
