"""A store with the mandatory methods and no optional role, and the opener of its scheme."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.content.traits import Roles, Traits
from contentui.stores.memory import MemoryStore

if TYPE_CHECKING:
    from contentui.stores.source import Source

STORES: dict[str, MemoryStore] = {}
"""The content by path, which outlives the store that a verb opens and closes."""

MANDATORY = (
    "reader", "writer", "status", "statuses", "abort", "truncate",
    "info", "walk", "update", "delete",
)  # fmt: skip


class MinimalStore:
    """What `contentui.content.store.Store` asks for, and not one attribute more."""

    roles = Roles()
    traits = Traits()

    def __init__(self, name: str, content: MemoryStore) -> None:
        self.name = name
        for each in MANDATORY:
            setattr(self, each, getattr(content, each))

    def close(self) -> None:
        """Nothing is open."""


def open_source(source: Source, *, read_only: bool, create: bool) -> MinimalStore:
    return MinimalStore(source.text, STORES.setdefault(source.path, MemoryStore()))
