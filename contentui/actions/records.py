"""Plans and outcomes as JSON values with stable names: for ``--json``, ``--dry-run``, the journal.

A step has: ``verb``; ``name``, the ref, id:HEX or digest as it can be typed; ``ref`` and ``id``,
or ``digest``; ``before``, the item as it was shown; ``lost_bytes``; ``effect``; ``holder``;
``needs`` and ``needs_total``, null when unknown; ``freed_by``; ``concerns``; ``refusal``; an
ingest's ``namespace`` (null without one) or a blob's ``namespaces``. A ref or command that is no
text is given as ``ref_b64``, ``command_b64`` instead; other texts are cut at 4096 characters. An
outcome adds ``result`` and ``reason``. Times are RFC 3339 in UTC, null when unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contentui.content.model import Status, ref_bytes, ref_is_text
from contentui.text import rfc3339

if TYPE_CHECKING:
    from contentui.actions.model import Outcome, Plan, Step
    from contentui.content.model import Holder
    from contentui.index.model import Referrer

MAX_NEEDS = 100
"""Needs that a step lists; ``needs_total`` counts all."""

_MAX_TEXT = 4096


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """A plan: ``verb``, ``source``, ``lost_bytes``, ``concerns``, ``notes`` and ``steps``."""
    return {
        "verb": str(plan.verb),
        "source": text_value(plan.source),
        "lost_bytes": plan.lost_bytes,
        "concerns": sorted(map(str, plan.concerns)),
        "notes": list(plan.notes),
        "steps": [step_to_json(step) for step in plan.steps],
    }


def outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    """A step, its ``result`` and the ``reason`` for it (empty when done)."""
    reason = text_value(outcome.reason)
    return {**step_to_json(outcome.step), "result": str(outcome.result), "reason": reason}


def step_to_json(step: Step) -> dict[str, Any]:
    """One step of a plan."""
    return {
        "verb": str(step.verb),
        "name": text_value(step.name),
        **target_to_json(step),
        "lost_bytes": step.lost_bytes,
        "effect": step.effect,
        "holder": holder_to_json(step.holder),
        **needs_to_json(step.needs),
        "freed_by": [str(digest) for digest in step.freed_by[:MAX_NEEDS]],
        "concerns": sorted(map(str, step.concerns)),
        "refusal": text_value(step.refusal),
    }


def target_to_json(step: Step) -> dict[str, Any]:
    """What a step is about, and how it was shown (``before``)."""
    target = step.target
    if not isinstance(target, Status):
        before = {"size_bytes": target.size, "committed_at": rfc3339(target.committed_ns)}
        namespaces = [text_value(name) for name in target.namespaces[:MAX_NEEDS]]
        return {"digest": str(target.digest), "namespaces": namespaces, "before": before}
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


def holder_to_json(holder: Holder | None) -> dict[str, Any] | None:
    """Who holds or held a ref; None: no process does, or it isn't known.

    ``command`` null: unknown, or not valid UTF-8 and in ``command_b64``.
    """
    if holder is None:
        return None
    return {
        "pid": holder.pid or None,
        "command": None,
        **(exact_text("command", holder.command[:_MAX_TEXT]) if holder.command else {}),
        "started_at": rfc3339(holder.started_ns),
        "since": rfc3339(holder.since_ns),
        "foreign": holder.foreign,
    }


def needs_to_json(needs: tuple[Referrer, ...] | None) -> dict[str, Any]:
    """``needs`` and ``needs_total``; both null when unknown."""
    if needs is None:
        return {"needs": None, "needs_total": None}
    listed = [
        {
            "by": text_value(need.by),
            "name": text_value(need.name),
            "digest": None if need.digest is None else str(need.digest),
        }
        for need in needs[:MAX_NEEDS]
    ]
    return {"needs": listed, "needs_total": len(needs)}


def text_value(text: str) -> str:
    """Any text as valid Unicode of bounded length, undecodable bytes replaced."""
    return text[:_MAX_TEXT].encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def exact_text(key: str, text: str) -> dict[str, str]:
    """A text without loss: as itself, or as base64 of its bytes."""
    if ref_is_text(text):
        return {key: text}
    import base64

    return {f"{key}_b64": base64.b64encode(ref_bytes(text)).decode()}
