"""What the clients of a server may use, together and each."""

from __future__ import annotations

import threading
from typing import NamedTuple

from contentui.protocol.names import LIST_CHUNK, MAX_MESSAGE, READ_CHUNK
from contentui.servers.grpc.errors import Code, StatusError


class Limits(NamedTuple):
    """Bounds of a server; calls beyond them end with ResourceExhausted."""

    message: int = MAX_MESSAGE
    """Bytes of the longest message, in both directions."""
    writers: int = 512
    """Write streams that may be open, each with its ref's lock and a thread."""
    readers: int = 512
    """Read and List calls that may run, each with a thread and one message in memory."""
    others: int = 32
    """Threads for all other calls, also while every stream is in use."""
    connection_streams: int = 1000
    """Calls that one connection may have open; further ones wait in the client."""
    read_chunk: int = READ_CHUNK
    """Bytes of a blob in one message."""
    list_chunk: int = LIST_CHUNK
    """Blobs in one message of a listing."""
    silence_s: float = 120
    """Seconds after which the connection of a client that no longer responds is shut down."""

    @property
    def threads(self) -> int:
        """Threads at most; they start when they are needed."""
        return self.writers + self.readers + self.others

    @property
    def ping_s(self) -> float:
        """Seconds without data from a client after which it is pinged."""
        return self.silence_s / 6

    @property
    def ping_timeout_s(self) -> float:
        """Seconds for the response to a ping, which queues behind all data on a slow line."""
        return self.silence_s - self.ping_s


class StreamSlots:
    """A context manager that at most ``limit`` threads are inside of at the same time."""

    def __init__(self, limit: int, calls: str) -> None:
        """``calls``: what is counted, for the error's text."""
        self._limit = limit
        self._calls = calls
        self._free = threading.BoundedSemaphore(limit)

    def __enter__(self) -> None:
        """Raises StatusError: all slots are in use. Never waits."""
        if not self._free.acquire(blocking=False):
            text = f"the limit of {self._limit} open {self._calls} is reached: try again later"
            raise StatusError(Code.RESOURCE_EXHAUSTED, text)

    def __exit__(self, *exc: object) -> None:
        self._free.release()
