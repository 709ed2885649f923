"""One Write stream: requests in flight, answers counted, its end awaited."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

from contentui.content.errors import ContentError, FailedPrecondition, Unavailable
from contentui.protocol import names, wire
from contentui.stores.containerd.messages import decoded
from contentui.stores.containerd.transport import IDLE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from contentui.stores.containerd.transport import Connection, Metadata

WINDOW = 8
"""Requests that may be on their way at once, of all sessions together: they are held in memory."""
_LEAST = 2
"""What each session may have on its way however many there are, so that none ever pauses."""
SLOW_S = 600.0
"""Seconds for what may read or sync a whole ingest: opening and committing."""
_MAX_EXTRA = 16
"""Answers behind the last one that are read; a daemon sends one (content-store.md 4.3)."""


class _Count:
    """How many sessions this process has open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value = 0

    def add(self, change: int) -> None:
        with self._lock:
            self._value += change

    def share(self) -> int:
        """What is left for each of the window."""
        return max(WINDOW // max(self._value, 1), _LEAST)


_SESSIONS = _Count()


def write_once(connection: Connection, request: bytes, meta: Metadata) -> None:
    """A whole Write session of one request; returns when the service has ended it.

    On the wire it is a `Session`'s; without requests to wait for it needs no thread to send them.
    """
    call = connection.stream(names.method(names.CONTENT, "Write"), request, meta)
    if call.next(SLOW_S) is None:
        raise Unavailable("the service ended the session without an answer")
    for _ in range(_MAX_EXTRA):
        if call.next(SLOW_S) is None:
            return
    call.cancel()


class Session:
    """A Write stream. Not for several threads at once."""

    def __init__(self, connection: Connection, meta: Metadata) -> None:
        self._requests: SimpleQueue[bytes | None] = SimpleQueue()
        self._due = 0
        self._open = True
        self.last = wire.WriteResponse()
        method = names.method(names.CONTENT, "Write")
        self._call = connection.duplex(method, iter(self._requests.get, None), meta)
        _SESSIONS.add(1)

    @property
    def is_open(self) -> bool:
        """Whether more can be sent."""
        return self._open

    def send(self, request: bytes, on_answer: Callable[[int], None] | None = None) -> None:
        """Send; wait for older answers while too many are due. ``on_answer`` gets each offset."""
        if not self._open:
            raise FailedPrecondition("the session has ended")
        while self._due >= _SESSIONS.share():
            self._receive(IDLE_S)
            if on_answer is not None:
                on_answer(self.last.offset)
        self._requests.put(request)
        self._due += 1

    def drain(
        self, idle_s: float = IDLE_S, on_answer: Callable[[int], None] | None = None
    ) -> wire.WriteResponse:
        """Wait for all answers that are due; return the last."""
        while self._due:
            self._receive(idle_s)
            if on_answer is not None:
                on_answer(self.last.offset)
        return self.last

    def finish(self) -> None:
        """Half-close and wait for the service's end, which is when the ref is free."""
        if not self._open:
            return
        self._end()
        for _ in range(self._due + _MAX_EXTRA):
            if self._call.next(SLOW_S) is None:
                return
        self._call.cancel()

    def abandon(self) -> None:
        """End it without waiting."""
        if self._open:
            self._end()
        self._call.cancel()

    def _end(self) -> None:
        self._open = False
        self._requests.put(None)
        _SESSIONS.add(-1)

    def _receive(self, idle_s: float) -> None:
        try:
            message = self._call.next(idle_s)
            if message is None:
                raise Unavailable("the service ended the session without an answer")
            self.last = decoded(wire.decode_write_response, message, "Write")
        except ContentError:
            self.abandon()
            raise
        self._due -= 1
