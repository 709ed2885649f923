"""A thread that can be waited for again after an interruption."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class WorkerThread(threading.Thread):
    """A daemon thread whose `join` waits for its end also when an earlier `join` was interrupted.

    Before Python 3.13 an exception from a signal handler inside ``Thread.join`` marks a thread
    that still runs as ended (https://github.com/python/cpython/issues/90882).
    """

    def __init__(self, work: Callable[[], object], name: str | None = None) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._running = threading.Lock()
        self._running.acquire()
        self.begun = False
        """Whether it has begun ``work``; `join` waits for ever for one that never does."""

    def run(self) -> None:
        self.begun = True
        try:
            self._work()
        finally:
            self._running.release()

    def join(self, timeout: float | None = None) -> None:
        """Wait until ``work`` has returned, at most ``timeout`` seconds."""
        if self._running.acquire(timeout=-1 if timeout is None else timeout):
            self._running.release()
