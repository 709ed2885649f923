"""What refers to a blob right now: the check before a deletion."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from contentui.content.model import Image, Lease

if TYPE_CHECKING:
    from contentui.content.digest import Digest
    from contentui.content.model import Info
    from contentui.content.store import Store
    from contentui.index.content_index import ContentIndex
    from contentui.index.model import Referrer

_LISTING_SHARE = 10
"""Listing a store takes at most one part in so many of the time that deletions take."""


class ReferrerRefresher:
    """`ContentIndex.referrers` after a new listing of the store.

    A manifest, an image name or a lease may be added between a plan and its confirmation. The
    first call lists the store; later calls list it again only after ten times as long as the
    last listing took.
    """

    def __init__(self, store: Store, index: ContentIndex) -> None:
        self._store = store
        self._index = index
        self._due_s = 0.0

    def __call__(self, digest: Digest) -> tuple[Referrer, ...] | None:
        """What refers to a blob; None: unknown. Raises what `Store.walk` raises."""
        self._refresh()
        return self._index.current_referrers(digest)

    def unreferenced(self, target: Info | Image | Lease) -> tuple[Info, ...]:
        """What nothing refers to after a blob, an image's name or a lease.

        Raises as `Store.walk`.
        """
        self._refresh()
        if isinstance(target, Image | Lease):
            return self._index.unreferenced_after((), (target,)).get(0, ())
        return self._index.unreferenced_after((target.digest,)).get(0, ())

    def _refresh(self) -> None:
        began_s = time.monotonic()
        if began_s >= self._due_s:
            self._index.update(self._store.walk())
            ended_s = time.monotonic()
            self._due_s = ended_s + _LISTING_SHARE * (ended_s - began_s)
