"""Which blob points at which, both ways, within bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Set

    from contentui.content.digest import Digest

MAX_EDGES = 1_000_000
"""Pointers that are kept; some 250 MB at the very worst, and thousands of images in practice."""


class Edges:
    """Pointers from parents to children. Not thread-safe."""

    def __init__(self, limit: int = MAX_EDGES) -> None:
        self._limit = limit
        self._count = 0
        self._children: dict[Digest, tuple[Digest, ...]] = {}
        self._parents: dict[Digest, set[Digest]] = {}

    def put(self, parent: Digest, children: Collection[Digest]) -> bool:
        """Replace what ``parent`` points at; False, and nothing kept, when that is too much."""
        self.drop(parent)
        if not children:
            return True
        if self._count + len(children) > self._limit:
            return False
        self._children[parent] = tuple(children)
        self._count += len(children)
        for child in children:
            self._parents.setdefault(child, set()).add(parent)
        return True

    def drop(self, parent: Digest) -> None:
        """Forget what ``parent`` points at."""
        children = self._children.pop(parent, ())
        self._count -= len(children)
        for child in children:
            parents = self._parents.get(child)
            if parents is not None:
                parents.discard(parent)
                if not parents:
                    del self._parents[child]

    def children(self, parent: Digest) -> Collection[Digest]:
        """What ``parent`` points at."""
        return self._children.get(parent, ())

    def pointing(self, those: Set[Digest]) -> Set[Digest]:
        """Those that point at something."""
        return self._children.keys() & those

    def pointed_at(self, those: Set[Digest]) -> Set[Digest]:
        """Those at which something points."""
        return self._parents.keys() & those

    def parents(self, child: Digest) -> Collection[Digest]:
        """Who points at ``child``."""
        return self._parents.get(child, ())
