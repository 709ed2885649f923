"""How much a service lets its clients take."""

from __future__ import annotations

from typing import NamedTuple

from contentui.protocol.names import LIST_PIECE, MAX_MESSAGE, READ_PIECE


class Limits(NamedTuple):
    """What bounds a service; beyond it calls are answered with ResourceExhausted, in words."""

    message: int = MAX_MESSAGE
    """Bytes of the longest message, in both directions."""
    writers: int = 512
    """Write streams that may be open, each with its ref's lock and a thread."""
    readers: int = 512
    """Answers to Read and List that may be under way, each with a thread and one message."""
    others: int = 32
    """Threads that are left for everything else, however many streams are open."""
    connection_streams: int = 1000
    """Calls that one connection may have open; further ones wait in the client."""
    read_piece: int = READ_PIECE
    """Bytes of a blob in one message."""
    list_piece: int = LIST_PIECE
    """Blobs in one message of a listing."""
    silence_s: float = 120
    """Seconds after which the connection of a client that no longer answers is shut down."""

    @property
    def threads(self) -> int:
        """Threads at most; they are made when they are needed."""
        return self.writers + self.readers + self.others

    @property
    def ping_s(self) -> float:
        """Seconds of silence after which a client is pinged."""
        return self.silence_s / 6

    @property
    def answer_s(self) -> float:
        """Seconds that the answer to a ping may take, behind all that a slow line carries."""
        return self.silence_s - self.ping_s
