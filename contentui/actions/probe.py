"""What asking for an ingest's lock told, in sentences that end with what to do. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from contentui.actions import words
from contentui.actions.describe import Line
from contentui.content.digest import EMPTY, Digest
from contentui.content.model import Liveness, ref_argument
from contentui.text import human_age, human_size, visible

if TYPE_CHECKING:
    from contentui.content.model import Probe, Status


class Finding(StrEnum):
    """What a probe comes to."""

    HELD = "held"
    PARTIAL = "partial"
    """Free, and bytes are missing, or nobody said how many there should be."""
    COMPLETE = "complete"
    """Free and all there; nobody said which digest they should have."""
    RIGHT = "right"
    """Free, and its bytes are those that are wanted."""
    POISONED = "poisoned"
    """Free, all there, and other bytes than those that are wanted: every retry fails."""
    DAMAGED = "damaged"


def finding(probe: Probe) -> Finding:
    """What a probe comes to."""
    status, wanted = probe.status, probe.status.expected
    if probe.liveness is Liveness.HELD:
        return Finding.HELD
    if status.refused is not None:
        return Finding.POISONED
    if status.damage:
        return Finding.DAMAGED
    if probe.digest is not None and probe.digest == (wanted or Digest.found_in(status.ref)):
        return Finding.RIGHT
    if not 0 < status.total <= status.offset:
        return Finding.PARTIAL
    if wanted is None or probe.digest is None or wanted.algorithm != probe.digest.algorithm:
        return Finding.COMPLETE
    return Finding.POISONED


def describe_probe(probe: Probe, now_ns: int) -> list[Line]:
    """The ingest's name, what was found, and what to do; times as seen at ``now_ns``."""
    name = visible(ref_argument(probe.status), 1000)
    if probe.status.namespace:
        name += f" ({words.namespace_words((probe.status.namespace,))})"
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


def probe_cost(status: Status, *, collects: bool) -> str:
    """What a probe of this ingest costs others, as a sentence; empty when that is nothing.

    ``collects``: `Traits.garbage_collected`.
    """
    if not collects or status.offset < words.LARGE:
        return ""
    return (
        f"The daemon reads all its {human_size(status.offset)} for this, while other changes wait."
    )


def _held(probe: Probe, now_ns: int) -> tuple[str, list[str]]:
    holder = probe.holder
    since = ""
    if holder is not None and holder.since_ns:
        age = human_age(holder.since_ns, now_ns)
        since = "" if age in ("?", "future") else ", since just now"
        since = f", since {age}" if age not in ("now", "?", "future") else since
    if holder is not None and holder.serves:
        who = f": {words.holder_words(holder)}"
        end = "to free it, end that pull and not the daemon"
    elif holder is not None and holder.pid:
        who = f": {words.holder_words(holder)}"
        end = "to free it, end that process"
    else:
        who = "; which process that is, can't be told from here"
        end = "to free it, end the pull or ingest that it belongs to"
    return "warning", [
        f"A live writer holds it{since}{who}.",
        f"Wait until it ends; {end}. An abort makes its commit fail.",
    ]


def _partial(probe: Probe, _now_ns: int) -> tuple[str, list[str]]:
    status = probe.status
    if status.offset == 0:
        return "text", [
            "Nobody writes to it, and nothing has arrived.",
            "Start the same pull or ingest again, or abort it.",
        ]
    of = f" of {human_size(status.total)}" if status.total else ""
    return "text", [
        f"Nobody writes to it. {human_size(status.offset)}{of} are there{_so_far(probe)}.",
        "The same pull or ingest, started again, goes on from there; an abort throws them away.",
    ]


def _complete(probe: Probe, _now_ns: int) -> tuple[str, list[str]]:
    size = human_size(probe.status.offset)
    named = Digest.found_in(probe.status.ref)
    other = f" The ref names another one, {named}." if named is not None and probe.digest else ""
    return "text", [
        (
            f"Nobody writes to it. All {size} are there{_so_far(probe)}; nobody said which digest"
            f" they should have.{other}"
        ),
        "Start the same pull or ingest again to commit them, or abort it.",
    ]


def _right(probe: Probe, _now_ns: int) -> tuple[str, list[str]]:
    size = human_size(probe.status.offset)
    return "good", [
        f"Nobody writes to it. All {size} are there, and they are the right ones: {probe.digest}.",
        "Only the commit is missing: start the same pull or ingest again.",
    ]


def _poisoned(probe: Probe, _now_ns: int) -> tuple[str, list[str]]:
    status = probe.status
    have, wanted = status.refused or probe.digest, status.expected
    instead = f", not {wanted}" if wanted is not None and wanted != have else ""
    empty = " That is the digest of no bytes at all." if have == EMPTY else ""
    return "danger", [
        (
            f"Poisoned: all {human_size(status.offset)} are there, but they are not the ones that"
            f" were asked for. They are {have}{instead}.{empty}"
        ),
        (
            "Every retry fails until they are gone: abort it, then pull or ingest again from a good"
            " source."
        ),
    ]


def _damaged(probe: Probe, _now_ns: int) -> tuple[str, list[str]]:
    what = visible(probe.status.damage, 500).rstrip(" .:;,")
    return "danger", [
        f"Nobody writes to it, and its files are damaged: {what}.",
        "Abort it, then pull or ingest again.",
    ]


def _so_far(probe: Probe) -> str:
    return "" if probe.digest is None else f"; their digest is {probe.digest}"
