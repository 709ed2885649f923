"""Blobs, ingests and holders as JSON values, with stable names that carry their units.

Times are RFC 3339 in UTC, null when unknown (docs/cli.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contentui.content.model import Liveness, id_text, ref_bytes, ref_is_text
from contentui.text import rfc3339, visible

if TYPE_CHECKING:
    from contentui.content.model import Holder, Info, Probe, Status


def info_record(info: Info) -> dict[str, Any]:
    """A blob. ``labels`` null: unknown; ``namespaces`` empty: the store has none."""
    return {
        "digest": info.digest,
        "size_bytes": info.size,
        "committed_at": rfc3339(info.committed_ns),
        "updated_at": rfc3339(info.updated_ns),
        "labels": None if info.labels is None else dict(info.labels),
        "namespaces": [visible(name) for name in info.namespaces],
    }


def status_record(status: Status) -> dict[str, Any]:
    """An ingest.

    ``total_bytes`` null: undeclared; ``refused``: poisoned, the digest of these bytes;
    ``namespace`` null: the store has none.
    """
    return {
        **ref_fields(status.ref),
        "id": id_text(status.id),
        "namespace": visible(status.namespace) or None,
        "offset_bytes": status.offset,
        "total_bytes": status.total or None,
        "started_at": rfc3339(status.started_ns),
        "updated_at": rfc3339(status.updated_ns),
        "expected": status.expected,
        "damage": visible(status.damage) or None,
        "refused": status.refused,
    }


def holder_record(holder: Holder) -> dict[str, Any]:
    """The process whose writer holds a ref."""
    return {
        "pid": holder.pid or None,
        "command": visible(holder.command) or None,
        "since": rfc3339(holder.since_ns),
        "foreign": holder.foreign,
    }


def probe_record(probe: Probe) -> dict[str, Any]:
    """What asking for an ingest's lock told: the ingest as it is then, and who holds it.

    ``held``: whether somebody does; ``digest``: of the bytes so far, null while held.
    """
    return {
        **status_record(probe.status),
        "held": probe.liveness is Liveness.HELD,
        "holder": probe.holder and holder_record(probe.holder),
        "digest": probe.digest,
    }


def ref_fields(ref: str) -> dict[str, Any]:
    """``ref``, or null and ``ref_b64`` where it isn't valid UTF-8 and text would lose bytes."""
    if ref_is_text(ref):
        return {"ref": ref}
    from base64 import b64encode

    return {"ref": None, "ref_b64": b64encode(ref_bytes(ref)).decode()}
