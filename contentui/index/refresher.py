"""What refers to a blob right now: the check before a deletion."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contentui.content.digest import Digest
    from contentui.content.store import Store
    from contentui.index.content_index import ContentIndex
    from contentui.index.model import Referrer

_SPARING = 10
"""Listing a store takes at most one part in so many of the time that deletions take."""


class ReferrerRefresher:
    """`ContentIndex.referrers` after taking in what was stored, labelled and named since the plan.

    Between a plan and the yes to it lies a person's time, in which a manifest, an image's name or
    a lease may arrive. The
    first question looks at once; the next ones when the last look is old for what it took.
    """

    def __init__(self, store: Store, index: ContentIndex) -> None:
        self._store = store
        self._index = index
        self._due_s = 0.0

    def __call__(self, digest: Digest) -> tuple[Referrer, ...] | None:
        """What refers to a blob; None: unknown. Raises what `Store.walk` raises."""
        began_s = time.monotonic()
        if began_s >= self._due_s:
            self._index.update(self._store.walk())
            ended_s = time.monotonic()
            self._due_s = ended_s + _SPARING * (ended_s - began_s)
        return self._index.current_referrers(digest)
