"""Everything about one pull or push: the whole of it, then each of its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.present.columns import duration_text
from contentui.text import human_age, human_rate, human_size, visible
from contentui.tui.groups import ENDED, group_note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contentui.monitor.model import Group, TransferPart

_DOING = {"pull": "Pulling", "fetch": "Fetching", "push": "Pushing"}
_MOST_PARTS = 200


def group_sentence(group: Group) -> tuple[str, str]:
    """What happens to it, and the style of that."""
    transfer = group.transfer
    doing = _DOING.get(transfer.verb, visible(transfer.verb, 20))
    note, style = group_note(group)
    if note:
        return f"{doing} {visible(transfer.image, 1024)}: {note}", style
    ended = sum(part.phase in ENDED for part in transfer.parts)
    count = f"{ended} of {len(transfer.parts)} parts are there"
    return f"{doing} {visible(transfer.image, 1024)}: {count}.", "good"


def group_lines(group: Group, now_ns: int) -> Iterator[tuple[str, str]]:
    """Every field as (label, value), safe for a terminal."""
    transfer = group.transfer
    total = human_size(group.total) if group.total else "?"
    yield "arrived", f"{human_size(group.offset)} of {total}"
    rate = human_rate(group.rate)
    yield "rate", rate if group.eta_s is None else f"{rate}, done in {duration_text(group.eta_s)}"
    for place, part in enumerate(_by_interest(group)):
        yield "" if place else "parts", part_line(part)
    if len(transfer.parts) > _MOST_PARTS:
        yield "", f"and {len(transfer.parts) - _MOST_PARTS} more"
    yield "process", f"pid {visible(str(transfer.pid), 12)}"
    age = human_age(transfer.started_ns, now_ns)
    yield "started", age if age in {"now", "?", "future"} else f"{age} ago"


def _by_interest(group: Group) -> list[TransferPart]:
    parts = sorted(group.transfer.parts, key=lambda part: part.phase in ENDED)
    return parts[:_MOST_PARTS]


def part_line(part: TransferPart) -> str:
    """``sha256:84ff… 1.2 MB of 5.0 MB, retrying in 4s (3/6): …``."""
    size = human_size(max(part.descriptor.size, 0))
    far = size if part.phase in ENDED else f"{human_size(max(part.offset, 0))} of {size}"
    words = visible(part.words, 400) or str(part.phase)
    return f"{part.descriptor.digest}  {far}, {words}"
