"""States, holders, labels, sizes and times as people read them, safe for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.glyphs import GLYPHS
from contentui.text import human_age, human_rate, human_size, local_time, process_text, visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from contentui.content.model import Holder, IngestId, Status


def labels_text(labels: Mapping[str, str] | None) -> str:
    """Labels on one line; ``unknown`` when they are."""
    if labels is None:
        return "unknown"
    return ",".join(visible(f"{key}={value}") for key, value in sorted(labels.items()))


def holder_short(holder: Holder) -> str:
    """A holder for a narrow column: ``pid 42``, ``ctr[5310]``, ``one of 2 clients``."""
    if holder.daemon is None:
        return f"pid {holder.pid or '?'}"
    if len(holder.clients) == 1:
        return process_text(holder.clients[0])
    return f"one of {len(holder.clients)} clients" if holder.clients else "a client"


def state_text(status: Status, holders: Mapping[IngestId, Holder] | None, now_ns: int) -> str:
    """What one look shows: ``held by pid 42``, ``idle 3m``, ``complete``, ``damaged: …``."""
    words = []
    if status.damage:
        words.append(f"damaged: {visible(status.damage)}")
    elif status.refused:
        words.append("poisoned")
    elif status.is_complete:
        words.append("complete")
    holder = holders.get(status.id) if holders is not None else None
    if holder is not None:
        words.append(f"held by {holder_short(holder)}")
    elif holders is None:
        words.append("holder unknown")
    elif not words:
        age = human_age(status.updated_ns, now_ns)
        words.append("idle" if age == "now" else f"idle {age}")
    return ", ".join(words)


def count_text(count: int, *, is_loading: bool) -> str:
    """``27,392``; ``27,392+`` and ``…`` while more are being listed."""
    if not is_loading:
        return f"{count:,}"
    return f"{count:,}+" if count else GLYPHS.pending


def rate_text(rate: float | None) -> str:
    """``4.80 MB/s``; ``…`` while it is not known yet."""
    return GLYPHS.pending if rate is None else human_rate(rate)


def total_text(status: Status) -> str:
    """The declared total, ``?`` without one."""
    return human_size(status.total) if status.total > 0 else "?"


def exact_size(size: int) -> str:
    """``34,312,345 bytes (34.3 MB)``."""
    return f"{size} bytes" if size < 1000 else f"{size:,} bytes ({human_size(size)})"


def progress_text(offset: int, total: int) -> str:
    """``1,200 of 4,800 bytes (25.0%)``; ``total`` 0: undeclared."""
    if total <= 0:
        return f"{offset:,} bytes; the total is undeclared"
    return f"{offset:,} of {total:,} bytes ({offset * 100 / total:.1f}%)"


def moment(time_ns: int, now_ns: int) -> str:
    """A time's age and the time in this machine's zone: ``3m ago, 2026-11-28 12:00:00``."""
    text = ago(time_ns, now_ns)
    return "unknown" if text == "?" else f"{text}, {local_time(time_ns)}"


def ago(time_ns: int, now_ns: int) -> str:
    """``3m ago``; ``now``, ``future``, and ``?`` when unknown."""
    age = human_age(time_ns, now_ns)
    return age if age in ("now", "?", "future") else f"{age} ago"
