"""Items of plans, holders and referrers as JSON values with stable names, as in the journal.

A ref or command that is not valid text is given as ``ref_b64``, ``command_b64`` instead; other
texts are cut at 4096 characters. Times are RFC 3339 in UTC, null when unknown. For the fields see
docs/json.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contentui.content.model import Image, Lease, Status, ref_bytes, ref_is_text
from contentui.text import rfc3339

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contentui.actions.model import Step
    from contentui.content.holder import Process
    from contentui.content.model import Holder, Info
    from contentui.index.model import Referrer
    from contentui.stores.directory import Finding, Repaired

MAX_REFERRERS = 100
"""Referrers that a step lists; ``needs_total`` counts all."""

_MAX_TEXT = 4096


def target_to_json(step: Step) -> dict[str, Any]:
    """What a step is about, and how it was shown (``before``)."""
    target = step.target
    if isinstance(target, Image):
        return {**_image_to_json(target), **_unreferenced_to_json(step.unreferenced)}
    if isinstance(target, Lease):
        going = {
            "ingests": [text_value(status.ref) for status in step.ingests[:MAX_REFERRERS]],
            "ingests_total": len(step.ingests),
            "ingests_bytes": sum(status.offset for status in step.ingests),
        }
        return {**_lease_to_json(target), **_unreferenced_to_json(step.unreferenced), **going}
    if not isinstance(target, Status):
        before = {"size_bytes": target.size, "committed_at": rfc3339(target.committed_ns)}
        namespaces = [text_value(name) for name in target.namespaces[:MAX_REFERRERS]]
        facts = {"digest": str(target.digest), "namespaces": namespaces, "before": before}
        return {**facts, **_unreferenced_to_json(step.unreferenced)}
    return {
        **exact_text("ref", target.ref),
        "id": text_value(target.id),
        "namespace": text_value(target.namespace) or None,
        "before": {
            "offset_bytes": target.offset,
            "total_bytes": target.total or None,
            "started_at": rfc3339(target.started_ns),
            "updated_at": rfc3339(target.updated_ns),
            "expected": None if target.expected is None else str(target.expected),
            "refused": None if target.refused is None else str(target.refused),
            "damage": text_value(target.damage),
        },
    }


def _image_to_json(image: Image) -> dict[str, Any]:
    return {
        "digest": str(image.target.digest),
        "namespace": text_value(image.namespace) or None,
        "before": {
            "media_type": text_value(image.target.media_type),
            "size_bytes": image.target.size,
            "created_at": rfc3339(image.created_ns),
            "updated_at": rfc3339(image.updated_ns),
        },
    }


def _lease_to_json(lease: Lease) -> dict[str, Any]:
    return {
        "namespace": text_value(lease.namespace) or None,
        "before": {
            "created_at": rfc3339(lease.created_ns),
            "expires_at": rfc3339(lease.expires_ns),
            "blobs": len(lease.blobs),
            "ingests": len(lease.ingests),
            "others": lease.others,
        },
    }


def _unreferenced_to_json(unreferenced: Sequence[Info]) -> dict[str, Any]:
    return {
        "unreferenced": [str(info.digest) for info in unreferenced[:MAX_REFERRERS]],
        "unreferenced_total": len(unreferenced),
        "unreferenced_bytes": sum(info.size for info in unreferenced),
    }


def holder_to_json(holder: Holder | None) -> dict[str, Any] | None:
    """Who holds or held a ref; None: no process does, or it isn't known.

    ``command`` null: unknown, or not valid UTF-8 and in ``command_b64``.
    """
    if holder is None:
        return None
    daemon = holder.daemon
    return {
        "pid": holder.pid or None,
        "command": None,
        **(exact_text("command", holder.command[:_MAX_TEXT]) if holder.command else {}),
        "started_at": rfc3339(holder.started_ns),
        "since": rfc3339(holder.since_ns),
        "foreign": holder.foreign,
        "daemon": None if daemon is None else _process_to_json(daemon),
        "clients": None if daemon is None else [_process_to_json(each) for each in holder.clients],
    }


def _process_to_json(process: Process) -> dict[str, Any]:
    return {"pid": process.pid or None, "command": text_value(process.command) or None}


def referrers_to_json(referrers: tuple[Referrer, ...] | None) -> dict[str, Any]:
    """JSON ``needs`` and ``needs_total``; both null when unknown."""
    if referrers is None:
        return {"needs": None, "needs_total": None}
    listed = [
        {
            "by": text_value(referrer.by),
            "name": text_value(referrer.name),
            "digest": None if referrer.digest is None else str(referrer.digest),
        }
        for referrer in referrers[:MAX_REFERRERS]
    ]
    return {"needs": listed, "needs_total": len(referrers)}


def finding_to_json(finding: Finding) -> dict[str, Any]:
    """A finding: ``kind``, ``name``, ``problem``, ``repair`` and ``advice``, null without one."""
    return {
        "kind": str(finding.kind),
        "name": text_value(finding.name),
        "problem": text_value(finding.problem),
        "repair": finding.repair or None,
        "advice": text_value(finding.advice) or None,
    }


def repaired_to_json(repaired: Repaired) -> dict[str, Any]:
    """A finding, its ``result`` and the ``reason`` for it (empty when done)."""
    reason = text_value(repaired.reason)
    return {**finding_to_json(repaired.finding), "result": repaired.result, "reason": reason}


def text_value(text: str) -> str:
    """Any text as valid Unicode of bounded length, undecodable bytes replaced."""
    return text[:_MAX_TEXT].encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def exact_text(key: str, text: str) -> dict[str, str]:
    """A text without loss: as itself, or as base64 of its bytes."""
    if ref_is_text(text):
        return {key: text}
    import base64

    return {f"{key}_b64": base64.b64encode(ref_bytes(text)).decode()}
