"""The ingests of one pull under a heading that shows the progress of the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contentui.glyphs import GLYPHS
from contentui.present.bars import bar, unknown_bar
from contentui.present.cells import elide, elide_image, fits, pad
from contentui.present.columns import Cells, Column, Heading, Row, duration_text, with_note
from contentui.present.groups import ENDED, group_note, transfer_process
from contentui.present.texts import rate_text
from contentui.text import human_age, human_size, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from contentui.monitor.model import Group, RowKey

_SIGN = GLYPHS.group + " "


class GroupHeading(Heading):
    """The line of one pull or push."""

    def __init__(self, group: Group) -> None:
        self.group = group
        source, name = group.key
        self.key = source, f"group {name}"
        self.members = frozenset(group.members)

    @property
    def search_text(self) -> str:
        """The text that filters search."""
        return f"{self.group.transfer.verb} {self.image} {self.note[0]}".casefold()

    @property
    def image(self) -> str:
        """Its name, safe for a terminal."""
        return visible(self.group.transfer.image, 400)

    @property
    def note(self) -> tuple[str, str]:
        """What happens to the whole, in words, and their style; empty while its parts move."""
        return group_note(self.group)

    def cells(self, fitted: Sequence[tuple[Column[Any], int]], now_ns: int) -> Cells:
        """As those of an ingest; words take the place of rate and time."""
        cells = [self._cell(column, width, now_ns) for column, width in fitted]
        return with_note(cells, fitted, self.note)

    def _cell(self, column: Column[Any], width: int, now_ns: int) -> tuple[str, str]:
        if column.key == "ref":
            return pad(self._name(width), width), "strong"
        if column.key == "progress":
            return self._bar(width)
        if column.key == "state":
            return pad(elide(self._count(width), width), width), "strong"
        text = self._text(column.key, now_ns)
        return pad(text if fits(text, width) else GLYPHS.cut, width, column.right), "strong"

    def _name(self, width: int) -> str:
        """The image, and the process that moves it where there is room."""
        name = _SIGN + elide_image(self.image, width - len(_SIGN))
        for process in (transfer_process(self.group.transfer), f"pid {self.group.transfer.pid}"):
            if fits(f"{name}  {process}", width):
                return f"{name}  {process}"
        return name

    def _bar(self, width: int) -> tuple[str, str]:
        group = self.group
        if not group.total:
            return unknown_bar(width), "bar-unknown"
        share = group.offset / group.total
        return bar(share, width), "bar-bad" if group.ended else "bar"

    def _count(self, width: int) -> str:
        """``pull 3/8``, in parts."""
        parts = self.group.transfer.parts
        count = f"{sum(part.phase in ENDED for part in parts)}/{len(parts)}"
        text = f"{visible(self.group.transfer.verb, 8)} {count}"
        return text if fits(text, width) else count

    def _text(self, key: str, now_ns: int) -> str:
        group = self.group
        if key == "percent":
            return f"{min(group.offset * 100 // group.total, 999)}%" if group.total else ""
        if key == "offset":
            return human_size(group.offset)
        if key == "total":
            return human_size(group.total) if group.total else "?"
        if key == "rate":
            return rate_text(group.rate)
        if key == "eta":
            return (
                GLYPHS.pending if group.rate is None and group.total else duration_text(group.eta_s)
            )
        return human_age(group.transfer.started_ns, now_ns) if key == "started" else ""


def arrange(
    rows: Sequence[Row],
    groups: Sequence[GroupHeading],
    test: Callable[[str], bool] | None = None,
) -> list[Row | Heading]:
    """The rows of each group together under its heading, where the first of them stood.

    Groups without rows come first: with ``test`` only those whose text it lets through.
    """
    of: dict[RowKey, GroupHeading] = {key: group for group in groups for key in group.members}
    members: dict[RowKey, list[Row]] = {}
    for row in rows:
        if (group := of.get(row.key)) is not None:
            members.setdefault(group.key, []).append(row)
    made: list[Row | Heading] = [
        group
        for group in groups
        if group.key not in members and (test is None or test(group.search_text))
    ]
    for row in rows:
        group = of.get(row.key)
        if group is None:
            made.append(row)
        elif group.key in members:
            made += [group, *members.pop(group.key)]
    return made
