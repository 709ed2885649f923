"""JSON lines: one object per thing, with stable names that carry their units (docs/cli.md)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from contentui.records import holder_record

if TYPE_CHECKING:
    from contentui.content.model import Holder, Status

_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
# ASCII, so that a record is safe on a terminal and lone surrogates can't break a line


def json_line(record: dict[str, Any]) -> str:
    """A record as one line of ASCII."""
    return _encode(record)


def holder_fields(status: Status, holders: dict[Any, Holder] | Any) -> dict[str, Any]:
    """``held``: true, false, or null when it can't be known; ``holder``: who, or null."""
    if holders is None:
        return {"held": None, "holder": None}
    holder = holders.get(status.id)
    return {"held": holder is not None, "holder": holder and holder_record(holder)}
