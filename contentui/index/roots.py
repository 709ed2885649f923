"""What keeps blobs beside labels and documents: image names and leases, as needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.index.model import Need

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
        self._needs: dict[Digest, tuple[Need, ...]] = {}

    def take(self, roots: Iterable[Root] | None) -> bool:
        """Replace them; None: they can't be known now. True when that is news.

        While they can't be known the last ones stay: better one reason too many.
        """
        was_known, self.known = self.known, roots is not None
        told = self._told if roots is None else sorted(set(roots))
        news = told != self._told or was_known is not self.known
        if told != self._told:
            self._told = told
            self._needs = _by_digest(told)
        return news

    def needs(self, digest: Digest) -> tuple[Need, ...]:
        """The names and leases that keep this very blob; no blob's deletion frees it."""
        return self._needs.get(digest, ())

    def image(self, digest: Digest) -> str:
        """The first image name that stands for this blob; empty without one."""
        return next((need.name for need in self.needs(digest) if need.by == "image"), "")


def _by_digest(roots: list[Root]) -> dict[Digest, tuple[Need, ...]]:
    several = len({root.namespace for root in roots}) > 1
    found: dict[Digest, dict[Need, None]] = {}
    for root in roots:
        where = f" in {root.namespace}" if several and root.namespace else ""
        need = Need(root.by, f"{root.name}{where}")
        found.setdefault(root.digest, {})[need] = None
    return {digest: tuple(needs) for digest, needs in found.items()}
