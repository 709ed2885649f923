"""What a probe of an ingest found, in sentences that end with what to do. Safe to print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.actions.probe import Finding, finding
from contentui.content.digest import EMPTY, Digest
from contentui.content.model import ref_argument
from contentui.present.plans import SLOW_OPEN, Line
from contentui.text import holder_text, human_size, namespaces_text, visible

if TYPE_CHECKING:
    from contentui.content.model import Probe, Status


def probe_lines(probe: Probe, now_ns: int) -> list[Line]:
    """The ingest's name, what was found, and what to do; times as seen at ``now_ns``."""
    name = visible(ref_argument(probe.status), 1000)
    if probe.status.namespace:
        name += f" ({namespaces_text((probe.status.namespace,))})"
    found = finding(probe)
    style, sentences = {
        Finding.HELD: _held,
        Finding.PARTIAL: _partial,
        Finding.COMPLETE: _complete,
        Finding.RIGHT: _right,
        Finding.POISONED: _poisoned,
        Finding.DAMAGED: _damaged,
    }[found](probe, now_ns)
    first, *rest = sentences
    return [Line("name", name), Line(style, first), *(Line("text", text) for text in rest)]


def probe_cost(status: Status, *, garbage_collected: bool) -> str:
    """What a probe of this ingest costs other clients, as a sentence; empty when that is little.

    ``garbage_collected``: whether a daemon with a garbage collector has it.
    """
    if not garbage_collected or status.offset < SLOW_OPEN:
        return ""
    return (
        f"The daemon reads all its {human_size(status.offset)} for this, while other changes wait."
    )


def _held(probe: Probe, now_ns: int) -> tuple[str, list[str]]:
    holder = probe.holder
    who = holder_text(holder, now_ns)
    if holder is not None and holder.daemon is not None:
        end = "to free it, end that pull and not the daemon"
    elif holder is not None and holder.pid:
        end = "to free it, end that process"
    else:
        end = "to free it, end the pull or ingest that writes it"
    return "warning", [
        f"Held by a live writer: {who}.",
        f"Wait until it ends; {end}. An abort makes its commit fail.",
    ]


def _partial(probe: Probe, _now_ns: int) -> tuple[str, list[str]]:
    status = probe.status
    if status.offset == 0:
        return "text", [
            "No writer holds it, and nothing has arrived.",
            "Start the same pull or ingest again, or abort it.",
        ]
    of = f" of {human_size(status.total)}" if status.total else ""
    return "text", [
        f"No writer holds it. {human_size(status.offset)}{of} are there{_so_far(probe)}.",
        "The same pull or ingest, started again, resumes from there; an abort discards them.",
    ]


def _complete(probe: Probe, _now_ns: int) -> tuple[str, list[str]]:
    size = human_size(probe.status.offset)
    named = Digest.found_in(probe.status.ref)
    other = f" The ref contains another one, {named}." if named is not None and probe.digest else ""
    return "text", [
        (
            f"No writer holds it. All {size} are there{_so_far(probe)}; the expected digest is"
            f" unknown.{other}"
        ),
        "Start the same pull or ingest again to commit them, or abort it.",
    ]


def _right(probe: Probe, _now_ns: int) -> tuple[str, list[str]]:
    size = human_size(probe.status.offset)
    return "good", [
        f"No writer holds it. All {size} are there with the expected digest, {probe.digest}.",
        "Only the commit is missing: start the same pull or ingest again.",
    ]


def _poisoned(probe: Probe, _now_ns: int) -> tuple[str, list[str]]:
    status = probe.status
    have, expected = status.refused or probe.digest, status.expected
    instead = f", not {expected}" if expected is not None and expected != have else ""
    empty = " That is the digest of empty content." if have == EMPTY else ""
    return "danger", [
        (
            f"Poisoned: all {human_size(status.offset)} are there with the wrong digest: {have}"
            f"{instead}.{empty}"
        ),
        (
            "Every retry fails until it is removed: abort it, then pull or ingest again from a good"
            " source."
        ),
    ]


def _damaged(probe: Probe, _now_ns: int) -> tuple[str, list[str]]:
    what = visible(probe.status.damage, 500).rstrip(" .:;,")
    return "danger", [
        f"No writer holds it, and its files are damaged: {what}.",
        "Abort it, then pull or ingest again.",
    ]


def _so_far(probe: Probe) -> str:
    return "" if probe.digest is None else f"; their digest is {probe.digest}"
