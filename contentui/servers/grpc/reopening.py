"""Reopening a ref whose client has just closed its stream (content-store.md 4.3).

A client that closes a stream need not wait for its end, and containerd's Go client does not. Until
the service has seen the end and released the ref, milliseconds later, a stream that opens the same
ref would get Unavailable.
"""

from __future__ import annotations

import threading
import time
from enum import Enum, auto
from typing import TYPE_CHECKING

from contentui.content.errors import Locked
from contentui.servers.grpc.grpcio import client_has_closed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import grpc

    from contentui.content.store import Writer

_LONGEST_S = 1.0
"""How long a stream waits for a ref whose client has closed the stream that holds it."""
_SETTLE_S = 0.05
"""How long a close may take to be noticed when nothing else keeps the stream's thread busy."""
_POLL_S = 0.002


class _Phase(Enum):
    BUSY = auto()
    """A request is being carried out."""
    ANSWERING = auto()
    """A response is being sent; grpcio reports a close only once the next request is awaited."""
    WAITING = auto()
    """Waiting for the client's next request or its close."""


class OpenStream:
    """A Write stream that holds a ref, and what is known of its client."""

    def __init__(self, context: grpc.ServicerContext) -> None:
        self.received = 0
        """Requests since the ref was opened."""
        self.released = threading.Event()
        """Set when the ref is free."""
        self._context = context
        self._requests_ended = False
        self._phase, self._since = _Phase.BUSY, time.monotonic()

    def answered(self) -> None:
        """An answer is about to be sent."""
        self._enter(_Phase.ANSWERING)

    def next(self, requests: Iterator[bytes]) -> bytes | None:
        """The client's next request; None when it has closed the stream. Raises grpc.RpcError."""
        self._enter(_Phase.WAITING)
        message = next(requests, None)
        if message is None:
            self._requests_ended = True
        else:
            self.received += 1
            self._enter(_Phase.BUSY)
        return message

    def _enter(self, phase: _Phase) -> None:
        self._phase, self._since = phase, time.monotonic()

    @property
    def has_closed(self) -> bool:
        """Whether the client has closed the stream, or is gone, as far as that is known."""
        return self._requests_ended or client_has_closed(self._context)

    def may_have_closed(self, received: int, waited_s: float) -> bool:
        """Whether the client may have sent a close that has not been noticed for ``waited_s``.

        ``received``: the requests before that wait; one more shows that the client goes on, or
        that it sent several at once.
        """
        if self.received != received and waited_s >= _SETTLE_S:
            return False
        if self._phase is _Phase.ANSWERING:
            return True
        if self._phase is _Phase.WAITING:
            return time.monotonic() - self._since < _SETTLE_S
        return waited_s < _SETTLE_S


class OpenRefs:
    """The refs that the streams of one service hold."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._streams: dict[str, OpenStream] = {}

    def open(self, ref: str, stream: OpenStream, opening: Callable[[], Writer]) -> Writer:
        """Open a ref's writer for ``stream``.

        Waits up to a second for another stream of this service that holds the ref while its client
        has closed it. `released` must follow.

        Raises:
            Locked: a writer that stays holds the ref.
            ContentError: see `Store.writer`.
        """
        begun = time.monotonic()
        holder = self._streams.get(ref)
        received = holder.received if holder else 0
        while True:
            try:
                writer = opening()
                break
            except Locked:
                if holder is None or not _is_released(holder, received, begun):
                    raise
            holder = self._streams.get(ref)
            received = holder.received if holder else 0
        with self._mutex:
            self._streams[ref] = stream
        return writer

    def released(self, ref: str, stream: OpenStream) -> None:
        """The ref that ``stream`` held is free."""
        with self._mutex:
            if self._streams.get(ref) is stream:
                del self._streams[ref]
        stream.released.set()


def _is_released(holder: OpenStream, received: int, begun: float) -> bool:
    """Wait until ``holder`` has released its ref; False once its client is known to be live."""
    while True:
        waited = time.monotonic() - begun
        if waited >= _LONGEST_S:
            return False
        if holder.released.wait(_POLL_S):
            return True
        if not (holder.has_closed or holder.may_have_closed(received, waited)):
            return False
