"""Resetting what a forked child must not share with its parent (`os.register_at_fork`)."""

from __future__ import annotations

import os
import weakref
from typing import Any, Protocol


class Resettable(Protocol):
    """An object with a mutex or another resource of one process."""

    def after_fork(self) -> None:
        """Called in the child, where no other thread runs. Must not raise."""


class Pausable(Resettable, Protocol):
    """An object that is not in use during a fork."""

    def before_fork(self) -> None:
        """Called in the parent: wait until no thread uses it. Must not raise."""

    def after_fork_in_parent(self) -> None:
        """Called in the parent: let threads use it again."""


generation = 0
"""The number of forks between the process that imported this module and this one."""
_resettable: weakref.WeakSet[Any] = weakref.WeakSet()
_pausable: weakref.WeakSet[Any] = weakref.WeakSet()
_paused: list[Pausable] = []


def reset_in_child(resource: Resettable) -> None:
    """Call ``resource.after_fork()`` in every forked child, as long as the object exists."""
    _resettable.add(resource)


def pause_for_forks(resource: Pausable) -> None:
    """Let every fork wait until ``resource`` is not in use, and reset it in the child."""
    _pausable.add(resource)


def _before() -> None:
    _paused[:] = list(_pausable)
    for resource in _paused:
        resource.before_fork()


def _in_parent() -> None:
    while _paused:
        _paused.pop().after_fork_in_parent()


def _in_child() -> None:
    global generation
    generation += 1
    _paused.clear()
    for resource in [*_pausable, *_resettable]:
        resource.after_fork()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
