"""Many items through a few threads, answers in order, never more than a few ahead."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Executor, Future

T = TypeVar("T")
R = TypeVar("R")


def in_order(pool: Executor, work: Callable[[T], R], items: Iterable[T], ahead: int) -> list[R]:
    """``work`` of each item; the first error ends it, after what runs has ended."""
    done: list[R] = []
    running: deque[Future[R]] = deque()
    for item in items:
        running.append(pool.submit(work, item))
        if len(running) > 2 * ahead:
            done.append(running.popleft().result())
    done += [future.result() for future in running]
    return done
