"""Roots of the garbage collector, image names and leases, as referrers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.content.model import Lease
from contentui.index.model import Referrer

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Set

    from contentui.content.digest import Digest
    from contentui.content.model import Image, Root


class Roots:
    """The roots of a store as last read. Not thread-safe."""

    def __init__(self) -> None:
        self.known = False
        """Whether they were read, completely, the last time."""
        self._roots: list[Root] = []
        self._by_digest: dict[Digest, list[Root]] = {}
        self._referrers: dict[Digest, tuple[Referrer, ...]] = {}

    def take(self, roots: Iterable[Root] | None) -> bool:
        """Replace the roots; None: they can't be read now. Returns whether anything changed.

        While they can't be read the previous ones stay, so that no blob loses a referrer.
        """
        was_known, self.known = self.known, roots is not None
        current = self._roots if roots is None else sorted(set(roots))
        changed = current != self._roots or was_known is not self.known
        if current != self._roots:
            self._roots = current
            self._by_digest = {}
            for root in current:
                self._by_digest.setdefault(root.digest, []).append(root)
            self._referrers = _referrers(current)
        return changed

    def referrers(self, digest: Digest) -> tuple[Referrer, ...]:
        """The image names and leases that refer to this blob directly."""
        return self._referrers.get(digest, ())

    def pointed_at(self, those: Set[Digest]) -> Set[Digest]:
        """Those to which an image name or a lease refers directly."""
        return self._referrers.keys() & those

    def keep(self, digest: Digest, without: Collection[tuple[str, str, str]]) -> bool:
        """Whether one refers to this blob, besides ``without``: each as `root_key`."""
        return any(
            (root.by, root.namespace, root.name) not in without
            for root in self._by_digest.get(digest, ())
        )

    def image(self, digest: Digest) -> str:
        """The first image name of this blob; empty without one."""
        return next(
            (referrer.name for referrer in self.referrers(digest) if referrer.by == "image"), ""
        )


def root_key(root: Image | Lease) -> tuple[str, str, str]:
    """What a root is, its namespace and its name."""
    if isinstance(root, Lease):
        return "lease", root.namespace, root.id
    return "image", root.namespace, root.name


def kept_by(root: Image | Lease) -> tuple[Digest, ...]:
    """The blobs to which an image name or a lease refers directly."""
    return root.blobs if isinstance(root, Lease) else (root.target.digest,)


def _referrers(roots: list[Root]) -> dict[Digest, tuple[Referrer, ...]]:
    several = len({root.namespace for root in roots}) > 1
    found: dict[Digest, dict[Referrer, None]] = {}
    for root in roots:
        where = f" in {root.namespace}" if several and root.namespace else ""
        referrer = Referrer(root.by, f"{root.name}{where}")
        found.setdefault(root.digest, {})[referrer] = None
    return {digest: tuple(referrers) for digest, referrers in found.items()}
