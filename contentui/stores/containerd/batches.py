"""Maps many items with a thread pool, in order, with bounded memory."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Executor, Future

T = TypeVar("T")
R = TypeVar("R")


def in_order(pool: Executor, work: Callable[[T], R], items: Iterable[T], ahead: int) -> list[R]:
    """``work`` of each item, at most ``2 * ahead`` submitted; the first error is raised."""
    done: list[R] = []
    running: deque[Future[R]] = deque()
    for item in items:
        running.append(pool.submit(work, item))
        if len(running) > 2 * ahead:
            done.append(running.popleft().result())
    done += [future.result() for future in running]
    return done
