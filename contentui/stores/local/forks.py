"""What a forked child must not share with its parent."""

from __future__ import annotations

import os
import weakref
from typing import Any, Protocol


class Resettable(Protocol):
    """An object with a mutex or another resource that belongs to one process."""

    def after_fork(self) -> None:
        """Called in the child, where no other thread runs. Must not raise."""


generation = 0
"""How many forks lie between this process and the one that imported this module first."""
_objects: weakref.WeakSet[Any] = weakref.WeakSet()


def reset_in_child(resource: Resettable) -> None:
    """Call ``resource.after_fork()`` in every forked child, as long as it lives."""
    _objects.add(resource)


def _after_fork() -> None:
    global generation
    generation += 1
    for resource in list(_objects):
        resource.after_fork()


os.register_at_fork(after_in_child=_after_fork)
