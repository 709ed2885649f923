"""A Write stream: requests in flight, responses, the wait for its end."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

from contentui.content.errors import ContentError, FailedPrecondition, Unavailable
from contentui.protocol import names, wire
from contentui.stores.containerd.messages import decoded
from contentui.stores.containerd.transport import IDLE_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from contentui.stores.containerd.transport import Connection, Metadata

WINDOW = 8
"""Requests without a response, of all streams together, which are held in memory."""
_MIN_SHARE = 2
"""Requests without a response that each stream may have however many there are."""
HASHING_TIMEOUT_S = 600.0
"""Seconds for opening and committing, which may read and sync a whole ingest."""
_MAX_EXTRA = 16
"""Responses after the last one that are read; containerd sends one, a repetition."""


class _OpenStreams:
    """How many Write streams this process has open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value = 0

    def add(self, change: int) -> None:
        with self._lock:
            self._value += change

    def share(self) -> int:
        """Requests without a response that each stream may have."""
        return max(WINDOW // max(self._value, 1), _MIN_SHARE)


_OPEN = _OpenStreams()


def write_once(connection: Connection, request: bytes, meta: Metadata) -> None:
    """A Write stream of one request; returns when the server has ended it.

    Cheaper than a `WriteStream`, which needs a thread to send its requests.
    """
    call = connection.stream(names.method(names.CONTENT, "Write"), request, meta)
    if call.next(HASHING_TIMEOUT_S) is None:
        raise Unavailable("the server ended the Write stream without a response")
    for _ in range(_MAX_EXTRA):
        if call.next(HASHING_TIMEOUT_S) is None:
            return
    call.cancel()


class WriteStream:
    """A Write stream, for one thread at a time."""

    def __init__(self, connection: Connection, meta: Metadata) -> None:
        self._requests: SimpleQueue[bytes | None] = SimpleQueue()
        self._pending = 0
        self._open = True
        self.last = wire.WriteResponse()
        method = names.method(names.CONTENT, "Write")
        self._call = connection.duplex(method, iter(self._requests.get, None), meta)
        _OPEN.add(1)

    @property
    def is_open(self) -> bool:
        """Whether more can be sent."""
        return self._open

    def send(self, request: bytes, on_offset: Callable[[int], None] | None = None) -> None:
        """Send, after waiting while too many are pending; ``on_offset`` gets each response's."""
        if not self._open:
            raise FailedPrecondition("the Write stream has ended")
        while self._pending >= _OPEN.share():
            self._receive(IDLE_TIMEOUT_S)
            if on_offset is not None:
                on_offset(self.last.offset)
        self._requests.put(request)
        self._pending += 1

    def drain(
        self, idle_s: float = IDLE_TIMEOUT_S, on_offset: Callable[[int], None] | None = None
    ) -> wire.WriteResponse:
        """Wait for all pending responses; return the last."""
        while self._pending:
            self._receive(idle_s)
            if on_offset is not None:
                on_offset(self.last.offset)
        return self.last

    def finish(self) -> None:
        """Half-close, and wait for the server's end, when the ref is unlocked."""
        if not self._open:
            return
        self._end()
        for _ in range(self._pending + _MAX_EXTRA):
            if self._call.next(HASHING_TIMEOUT_S) is None:
                return
        self._call.cancel()

    def abandon(self) -> None:
        """Cancel the stream without waiting."""
        if self._open:
            self._end()
        self._call.cancel()

    def _end(self) -> None:
        self._open = False
        self._requests.put(None)
        _OPEN.add(-1)

    def _receive(self, idle_s: float) -> None:
        try:
            message = self._call.next(idle_s)
            if message is None:
                raise Unavailable("the server ended the Write stream without a response")
            self.last = decoded(wire.decode_write_response, message, "Write")
        except ContentError:
            self.abandon()
            raise
        self._pending -= 1
