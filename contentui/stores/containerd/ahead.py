"""A stream received on a thread of its own, a few messages ahead of whoever reads."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

from contentui.content.errors import ContentError

if TYPE_CHECKING:
    from contentui.stores.containerd.transport import Incoming

AHEAD = 4
"""Messages of up to 16 MiB, a containerd's of 1 MiB, that may wait."""


class Ahead:
    """Takes the place of an `Incoming`: what is hashed or written meanwhile costs no time."""

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming
        self._ready: SimpleQueue[bytes | ContentError | None] = SimpleQueue()
        self._room = threading.Semaphore(AHEAD)
        self._stopped = False
        threading.Thread(target=self._receive, name="read-ahead", daemon=True).start()

    def next(self) -> bytes | None:
        """As `Incoming.next`; not again after the last."""
        found = self._ready.get()
        self._room.release()
        if isinstance(found, ContentError):
            raise found
        return found

    def cancel(self) -> None:
        """Let go of the stream; the thread ends."""
        self._stopped = True
        self._incoming.cancel()
        self._room.release()

    def _receive(self) -> None:
        message: bytes | ContentError | None = b""
        while isinstance(message, bytes):
            self._room.acquire()
            if self._stopped:
                return
            try:
                message = self._incoming.next()
            except ContentError as error:
                message = error
            self._ready.put(message)
