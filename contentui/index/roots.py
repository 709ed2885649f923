"""What keeps blobs beside labels and documents: image names and leases, as referrers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.index.model import Referrer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from contentui.content.digest import Digest
    from contentui.content.model import Root


class Roots:
    """The roots of a store as they were told last. Not thread-safe."""

    def __init__(self) -> None:
        self.known = False
        """Whether the store told them, and they are all."""
        self._told: list[Root] = []
        self._referrers: dict[Digest, tuple[Referrer, ...]] = {}

    def take(self, roots: Iterable[Root] | None) -> bool:
        """Replace them; None: they can't be known now. True when that is news.

        While they can't be known the last ones stay: better one reason too many.
        """
        was_known, self.known = self.known, roots is not None
        told = self._told if roots is None else sorted(set(roots))
        news = told != self._told or was_known is not self.known
        if told != self._told:
            self._told = told
            self._referrers = _by_digest(told)
        return news

    def referrers(self, digest: Digest) -> tuple[Referrer, ...]:
        """The names and leases that keep this very blob; no blob's deletion frees it."""
        return self._referrers.get(digest, ())

    def image(self, digest: Digest) -> str:
        """The first image name that stands for this blob; empty without one."""
        return next(
            (referrer.name for referrer in self.referrers(digest) if referrer.by == "image"), ""
        )


def _by_digest(roots: list[Root]) -> dict[Digest, tuple[Referrer, ...]]:
    several = len({root.namespace for root in roots}) > 1
    found: dict[Digest, dict[Referrer, None]] = {}
    for root in roots:
        where = f" in {root.namespace}" if several and root.namespace else ""
        referrer = Referrer(root.by, f"{root.name}{where}")
        found.setdefault(root.digest, {})[referrer] = None
    return {digest: tuple(referrers) for digest, referrers in found.items()}
