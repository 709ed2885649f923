"""JSON lines: one object per thing, with stable names that carry their units (docs/cli.md)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from contentui.content.model import id_text, ref_bytes, ref_is_text
from contentui.text import rfc3339

if TYPE_CHECKING:
    from contentui.content.model import Holder, Info, Status

_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
# ASCII, so that a record is safe on a terminal and lone surrogates can't break a line


def json_line(record: dict[str, Any]) -> str:
    """A record as one line of ASCII."""
    return _encode(record)


def info_record(info: Info) -> dict[str, Any]:
    """A blob. ``labels`` null: unknown."""
    return {
        "digest": info.digest,
        "size_bytes": info.size,
        "committed_at": rfc3339(info.committed_ns),
        "updated_at": rfc3339(info.updated_ns),
        "labels": None if info.labels is None else dict(info.labels),
    }


def ref_fields(ref: str) -> dict[str, Any]:
    """``ref``, or null and ``ref_b64`` where it isn't valid UTF-8 and text would lose bytes."""
    if ref_is_text(ref):
        return {"ref": ref}
    from base64 import b64encode

    return {"ref": None, "ref_b64": b64encode(ref_bytes(ref)).decode()}


def status_record(status: Status) -> dict[str, Any]:
    """An ingest. ``total_bytes`` null: undeclared; ``refused``: poisoned by these bytes' digest."""
    return {
        **ref_fields(status.ref),
        "id": id_text(status.id),
        "offset_bytes": status.offset,
        "total_bytes": status.total or None,
        "started_at": rfc3339(status.started_ns),
        "updated_at": rfc3339(status.updated_ns),
        "expected": status.expected,
        "damage": status.damage or None,
        "refused": status.refused,
    }


def holder_fields(status: Status, holders: dict[Any, Holder] | Any) -> dict[str, Any]:
    """``held``: true, false, or null when it can't be known; ``holder``: who, or null."""
    if holders is None:
        return {"held": None, "holder": None}
    holder = holders.get(status.id)
    return {"held": holder is not None, "holder": holder and holder_record(holder)}


def holder_record(holder: Holder) -> dict[str, Any]:
    """The process whose writer holds a ref."""
    return {
        "pid": holder.pid or None,
        "command": holder.command or None,
        "since": rfc3339(holder.since_ns),
        "foreign": holder.foreign,
    }
