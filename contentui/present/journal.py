"""An entry of the journal as texts. Anybody may have written the file: every value is escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from contentui.text import human_size, visible

if TYPE_CHECKING:
    from collections.abc import Mapping


class JournalEntry(NamedTuple):
    """Texts that are safe for a terminal; empty where the entry has no such value.

    Attributes:
        at: date and time in UTC, to the second.
        name: the item, with its namespace.
        size: bytes that the item had.
    """

    at: str
    user: str
    pid: str
    source: str
    verb: str
    name: str
    size: str
    result: str
    reason: str


def journal_entry(record: Mapping[str, Any]) -> JournalEntry:
    """The texts of a record, as `contentui.actions.journal.Journal.tail` returns it."""
    name = _text(record, "name", 4096)
    if namespace := _text(record, "namespace"):
        name = f"{name} ({namespace})"
    return JournalEntry(
        at=_text(record, "at", 40)[:19].replace("T", " ") or "?",
        user=_text(record, "user", 60),
        pid=_text(record, "pid", 20),
        source=_text(record, "source"),
        verb=_text(record, "verb", 20),
        name=name,
        size=_size(record.get("before")),
        result=_text(record, "result", 20),
        reason=_text(record, "reason", 600),
    )


def _text(record: Mapping[str, Any], key: str, limit: int = 300) -> str:
    value = record.get(key)
    return "" if value is None else visible(str(value), limit)


def _size(before: object) -> str:
    if not isinstance(before, dict):
        return ""
    size = before.get("offset_bytes") or before.get("size_bytes")
    return human_size(size) if isinstance(size, int) and size > 0 else ""
