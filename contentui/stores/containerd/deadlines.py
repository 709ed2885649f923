"""Deadlines of streams that may go on for ever but not stand still."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:

    class Cancellable(Protocol):
        """A running call."""

        def cancel(self) -> object: ...


_STEP_S = 1.0


class Deadlines:
    """Cancels calls whose time is over, give or take a second.

    Its thread starts with the first deadline. Setting one costs a dictionary's entry, since a
    stream sets one for each message.
    """

    def __init__(self) -> None:
        self._due: dict[Cancellable, float] = {}
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def set(self, call: Cancellable, at: float) -> None:
        """Cancel ``call`` at ``at``, in seconds of the monotonic clock."""
        self._due[call] = at
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="deadlines", daemon=True)
            self._thread.start()

    def clear(self, call: Cancellable) -> None:
        """Nothing is awaited from ``call`` now."""
        self._due.pop(call, None)

    def close(self) -> None:
        """End the thread."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(_STEP_S):
            now = time.monotonic()
            for call, at in list(self._due.items()):
                if at <= now:
                    self.clear(call)
                    call.cancel()
