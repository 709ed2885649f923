"""Selections of what to destroy: filters that select something, and silence."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from contentui.content.digest import Digest
from contentui.content.errors import InvalidArgument
from contentui.content.filters import info_filter, parse_filter, status_filter
from contentui.content.model import Info, Status, ingest_id
from contentui.monitor.states import IngestState, Thresholds, ingest_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from contentui.actions.facts import IngestFacts
    from contentui.content.filters import Selector

_REFS = ("a", "Z9", "-", "\u00e9", "layer-sha256:0", "upload 7\n")
"""Refs that have nothing in common: what matches all of them selects nothing."""

ABANDONED_AFTER_S = 30.0
"""Silence in seconds that a selection of abandoned ingests requires besides their state.

A pull that waits between two retries holds nothing, and is not to lose its bytes.
"""


def check_ref_filters(filters: Sequence[str]) -> None:
    """Refuse filters on ingests that match whatever there is, alone or together.

    Raises:
        InvalidArgument: they do, or one can't be parsed.
    """
    matches = status_filter(filters)
    if filters and (matches is None or all(map(matches, _status_probes(_selectors(filters))))):
        raise _selects_all(filters, "active -q | xargs contentui abort")


def check_digest_filters(filters: Sequence[str]) -> None:
    """Refuse filters on blobs that match whatever there is. Raises as `check_ref_filters`."""
    matches = info_filter(filters)
    if filters and (matches is None or all(map(matches, _info_probes(_selectors(filters))))):
        raise _selects_all(filters, "list -q | xargs contentui delete")


def _selectors(filters: Iterable[str]) -> list[Selector]:
    return [selector for text in filters for selector in parse_filter(text)]


def _selects_all(filters: Sequence[str], way: str) -> InvalidArgument:
    what = " or ".join(map(repr, filters))
    return InvalidArgument(
        f"{what} matches everything, which is no selection",
        advice=f"if everything is meant: contentui {way}",
    )


def _status_probes(selectors: Iterable[Selector]) -> Iterator[Status]:
    refs = [*_REFS, *(selector.value for selector in selectors)]
    return (Status(ref, 0, 0, 0, 0, None, ingest_id(ref)) for ref in refs)


def _info_probes(selectors: Iterable[Selector]) -> Iterator[Info]:
    labels: list[dict[str, str]] = [{}]
    for selector in selectors:
        if selector.path[0] == "labels":
            labels.append({".".join(selector.path[1:]): selector.value})
        elif (named := Digest.found_in(selector.value)) is not None:
            yield Info(named, 0, 0, 0, {})
    for number, some in enumerate(labels * 4):
        digest = f"sha256:{hashlib.sha256(bytes((number,))).hexdigest()}"
        yield Info(Digest(digest), 0, 0, 0, some)


def is_silent(facts: IngestFacts, seconds: float, now_ns: int) -> bool:
    """Whether no byte came for so many seconds; False where that time is unknown or ahead."""
    updated = facts.status.updated_ns
    return not facts.moving and 0 < updated <= now_ns - int(seconds * 1e9)


def is_abandoned(facts: IngestFacts, seconds: float, now_ns: int) -> bool:
    """Whether an ingest's state is abandoned, and it has been silent for so many seconds."""
    state, _ = ingest_state(
        facts.status,
        liveness=facts.liveness,
        silent_s=0.0 if facts.moving else max(now_ns - facts.status.updated_ns, 0) / 1e9,
        thresholds=Thresholds(),
        grown_s=0.0 if facts.moving else None,
    )
    return state is IngestState.ABANDONED and is_silent(facts, seconds, now_ns)
