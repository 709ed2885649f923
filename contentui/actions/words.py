"""What destroying something means, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.actions.model import Concern
from contentui.content.model import Liveness
from contentui.text import human_size, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contentui.actions.facts import IngestFacts
    from contentui.content.model import Holder, Info, Status

INTO_THE_VOID = (
    "keeps writing into the void and notices nothing until its commit, which fails; "
    "the ref stays locked until it ends"
)
"""What a live writer makes of an abort (content-store.md 6.3)."""
PULL_AGAIN = "; a pull that fails like this is not tried again by itself: start it anew"
"""What that means to a daemon's clients (content-store.md 6.3)."""
PROBE_FIRST = " Ask first whether one is: press v, or run 'contentui verify --ingest REF'."
"""The way out of not knowing."""
GAP = "Between the last look at an item and its end a gap of milliseconds remains."
"""Over a socket the store can't compare under a lock (content-store.md 6)."""
LARGE = 256_000_000
"""Bytes from which on a daemon takes a second or more to open an ingest (content-store.md 6.1)."""
_MAX_NAMESPACES = 5

CONCERNS = {
    Concern.LIVE_WRITER: "a live writer holds it",
    Concern.MOVING: "it is moving",
    Concern.UNKNOWN: "it can't be known whether a writer is live",
    Concern.NEEDED: "something needs it",
    Concern.NEEDS_UNKNOWN: "it can't be known whether something needs it",
}
"""Each concern as the half of a sentence."""


def is_complete(status: Status) -> bool:
    """Whether all bytes that were announced have arrived."""
    return status.total > 0 and status.offset == status.total


def holder_words(holder: Holder | None) -> str:
    """Who holds a ref, safe to print: ``pid 4711 (curl …)``, ``a client of containerd (pid 1)``."""
    if holder is None or not holder.pid:
        return "a process that can't be told"
    if holder.serves:
        return f"a client of {visible(holder.service, 200)} (pid {holder.pid})"
    where = " of another container" if holder.foreign else ""
    command = f" ({visible(holder.command, 200)})" if holder.command else ""
    return f"pid {holder.pid}{where}{command}"


def namespace_words(namespaces: Sequence[str]) -> str:
    """``namespace k8s.io``, ``namespaces default, k8s.io``: safe to print."""
    names = ", ".join(visible(name, 80) for name in namespaces[:_MAX_NAMESPACES])
    more = len(namespaces) - _MAX_NAMESPACES
    rest = f" and {more} more" if more > 0 else ""
    return f"namespace{'' if len(namespaces) == 1 else 's'} {names}{rest}"


def abort_effect(facts: IngestFacts, *, collects: bool = False) -> str:
    """What an abort does, to the bytes and to the writer."""
    return f"{_lost_by_abort(facts.status)}{_writer_after_abort(facts, collects=collects)}"


def _lost_by_abort(status: Status) -> str:
    size = human_size(status.offset)
    if status.damage:
        return "Its files are damaged; removing them lets the next attempt start clean."
    if status.refused is not None:
        return (
            f"Its {size} have the wrong digest, so nothing good is lost, "
            "and the next attempt can succeed."
        )
    if is_complete(status):
        return f"All its {size} have arrived and only the commit is missing: they are thrown away."
    if status.offset == 0:
        return "Nothing has arrived yet; the ingest is removed."
    return f"Its {size} are lost; the next attempt starts from zero."


def _writer_after_abort(facts: IngestFacts, *, collects: bool) -> str:
    after = f"{INTO_THE_VOID}{PULL_AGAIN if collects else ''}"
    if facts.liveness is Liveness.HELD:
        return f" Its live writer {after}."
    if facts.liveness is Liveness.UNKNOWN:
        return f" If a writer is live, it {after}.{PROBE_FIRST}"
    return f" If a writer is live, it {after}." if facts.moving else ""


def truncate_effect(facts: IngestFacts, *, collects: bool = False) -> str:
    """What dropping the bytes of an idle ingest does."""
    size = human_size(facts.status.offset)
    bad = " with the wrong digest" if facts.status.refused is not None else ""
    gap = " If a writer is live, the store refuses." if facts.liveness is Liveness.UNKNOWN else ""
    cost = ""
    if collects and facts.status.offset >= LARGE:
        cost = (
            f" To truncate it the daemon first reads all its {size} while other changes wait:"
            " rather abort it, which reads nothing."
        )
    drops = f"Drops its {size}{bad} and keeps the ingest; the next writer starts from zero."
    return f"{drops}{cost}{gap}"


def truncate_refusal(facts: IngestFacts) -> str:
    """Why an ingest can't be truncated; empty when it can."""
    if facts.liveness is Liveness.HELD:
        return (
            f"a live writer holds it: {holder_words(facts.holder)}; "
            "wait until it ends, or abort the ingest instead"
        )
    if facts.status.damage:
        return "its files are damaged; abort it instead"
    return ""


def delete_effect(
    info: Info, *, needed: bool, known: bool, freed: bool, collects: bool = False
) -> str:
    """What deleting a blob does to it and to what needs it."""
    words = f"Its {human_size(info.size)} are gone until they are fetched or ingested again."
    if collects:
        words = _delete_by_daemon(info)
    if needed:
        words += " What needs it stays behind, incomplete."
    if not known:
        more = "else " if needed else ""
        words += f" Something {more}may need it: that can't be known here."
    if freed:
        words += " What needed it goes first, in this very plan."
    return words


def _delete_by_daemon(info: Info) -> str:
    where = f" from {namespace_words(info.namespaces)}" if info.namespaces else ""
    return (
        f"It is gone{where} at once; the file with its {human_size(info.size)} goes at the"
        " daemon's next collection, unless another namespace knows it."
    )
