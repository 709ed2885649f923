"""Why a step asks for confirmation, is refused or was skipped: short texts for the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.actions.model import Concern
from contentui.content.model import Image, Lease, Liveness, Status
from contentui.text import holder_text, human_size, namespaces_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contentui.actions.facts import IngestFacts
    from contentui.actions.model import Step
    from contentui.content.errors import Locked
    from contentui.content.model import Info

CONCERNS = {
    Concern.LIVE_WRITER: "held by a live writer",
    Concern.MOVING: "receiving bytes now",
    Concern.HOLDER_UNKNOWN: "possibly held by a live writer, which can't be seen from here",
    Concern.REFERENCED: "needed by something in this store",
    Concern.REFERRERS_UNKNOWN: "possibly needed: what needs it is not known",
    Concern.COLLECTED: "all that keeps other content, which goes with it",
}
"""Each concern as what follows "it is"."""


def concern_reason(step: Step, concern: Concern) -> str:
    """A concern of a step as a clause, with the writer or the first referrer that causes it."""
    if concern is Concern.LIVE_WRITER:
        return f"it is held by a live writer: {holder_text(step.holder)}"
    if concern is Concern.REFERENCED and step.referrers:
        more = f" and {len(step.referrers) - 1} more" if len(step.referrers) > 1 else ""
        return f"it is needed by {step.referrers[0].text}{more}"
    return f"it is {CONCERNS[concern]}"


def truncate_refusal(facts: IngestFacts) -> str:
    """Why an ingest can't be truncated; empty when it can."""
    if facts.liveness is Liveness.HELD:
        return (
            f"it is held by a live writer: {holder_text(facts.holder)}; "
            "wait until it ends, or abort the ingest instead"
        )
    if facts.status.damage:
        return "its files are damaged; abort it instead"
    return ""


def ingest_changed(shown: Status, now: Status, *, moving: bool) -> str:
    """How an ingest differs from what was shown; empty when it doesn't.

    With ``moving`` its offset and time may differ.
    """
    if now.started_ns != shown.started_ns:
        return "it was started anew since it was shown"
    if now.damage != shown.damage:
        state = "damaged" if now.damage else "repaired"
        return f"it was {state} since it was shown"
    if now.refused != shown.refused:
        return "a commit was tried since it was shown"
    if moving:
        return ""
    if now.offset != shown.offset:
        sizes = f"{human_size(shown.offset)} to {human_size(now.offset)}"
        exact = f"{shown.offset} to {now.offset} bytes"
        return f"it received bytes since it was shown, from {sizes} ({exact})"
    if now.updated_ns != shown.updated_ns:
        return "it was opened, closed or written since it was shown"
    return ""


def blob_changed(shown: Info, now: Info) -> str:
    """How a blob differs from what was shown; empty when it doesn't."""
    if now.namespaces != shown.namespaces:
        return f"it is now in {namespaces_text(now.namespaces)}, which differs from what was shown"
    if (now.size, now.committed_ns) != (shown.size, shown.committed_ns):
        return "it was deleted and stored again since it was shown"
    return ""


def image_changed(shown: Image, now: Image) -> str:
    """How an image's name differs from what was shown; empty when it doesn't."""
    if now.namespace != shown.namespace:
        return f"the name is now in {namespaces_text((now.namespace,))}"
    if now.target.digest != shown.target.digest:
        return f"the name refers to {now.target.digest} since it was shown"
    return ""


def lease_changed(shown: Lease, now: Lease) -> str:
    """How a lease differs from what was shown; empty when it keeps nothing more."""
    if now.created_ns != shown.created_ns:
        return "it was deleted and made again since it was shown"
    if set(now.blobs) - set(shown.blobs) or set(now.ingests) - set(shown.ingests):
        return "it keeps more than was shown: its client works"
    return ""


def takes_more(infos: Sequence[Info]) -> str:
    """Why an item is left alone that blobs now depend on which were not in the plan."""
    blobs = f"{len(infos)} blob{'' if len(infos) == 1 else 's'}"
    size = human_size(sum(info.size for info in infos))
    return (
        f"since it was shown it has become all that keeps {blobs} ({size}), {infos[0].digest}"
        f"{' and others' if len(infos) > 1 else ''}: look at a new plan"
    )


def gone(step: Step) -> str:
    """Why the item of a step no longer exists."""
    if isinstance(step.target, Status):
        return "it is gone: committed or aborted since it was shown"
    if isinstance(step.target, Lease):
        return "it is gone: deleted or expired since it was shown"
    if isinstance(step.target, Image):
        return "it is gone: the name was removed since it was shown"
    return "it is gone: deleted since it was shown"


def locked(error: Locked) -> str:
    """Why an ingest that was idle when it was shown is left alone."""
    who = f": {holder_text(error.holder)}" if error.holder is not None else ""
    return f"a writer opened it since it was shown{who}"
