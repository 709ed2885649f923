"""A pull or push and its parts in short sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.text import visible

if TYPE_CHECKING:
    from contentui.monitor.model import Group, Transfer

ENDED = ("done", "exists", "mounted")
"""Phases of a part that needs nothing more."""
_MOVING = ("downloading", "uploading", "verifying")
_DOING = {"pull": "Pulling", "fetch": "Fetching", "push": "Pushing"}


def transfer_process(transfer: Transfer, limit: int = 60) -> str:
    """``pid 2231 (contentui pull redis:7.4)``; ``limit``: characters of the command line."""
    pid = f"pid {visible(str(transfer.pid), 12)}"
    return f"{pid} ({visible(transfer.command, limit)})" if transfer.command else pid


def group_note(group: Group) -> tuple[str, str]:
    """What happens to a whole transfer, in words, and their style; empty while parts move.

    The style is ``good``, ``warn`` or ``bad``: table, pane and overlay have these.
    """
    transfer = group.transfer
    failed = transfer.error or next((p.message for p in transfer.parts if p.phase == "failed"), "")
    if failed:
        return f"failed: {visible(failed, 400)}", "bad"
    if group.ended:
        return f"ended early: {transfer_process(transfer)} is gone", "bad"
    if transfer.message:
        return visible(transfer.message, 400), "good"
    if any(part.phase in _MOVING for part in transfer.parts):
        return "", "base"
    for phase, style in (("retrying", "warn"), ("waiting", "warn")):
        words = [part.message for part in transfer.parts if part.phase == phase and part.message]
        if words:
            return visible(words[0], 400), style
    return "", "base"


def group_sentence(group: Group) -> tuple[str, str]:
    """What happens to a transfer as one sentence, and its style."""
    transfer = group.transfer
    doing = _DOING.get(transfer.verb, visible(transfer.verb, 20))
    note, style = group_note(group)
    if note:
        return f"{doing} {visible(transfer.image, 1024)}: {note}", style
    ended = sum(part.phase in ENDED for part in transfer.parts)
    count = f"{ended} of {len(transfer.parts)} parts are complete"
    return f"{doing} {visible(transfer.image, 1024)}: {count}.", "good"
