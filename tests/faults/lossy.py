"""A proxy between two unix sockets that delays, swallows or cuts, switched at run time."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from enum import Enum
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

PIECE = 1 << 16


class Way(Enum):
    """What happens to bytes."""

    PASS = "pass"
    DELAY = "delay"
    SWALLOW_ANSWERS = "swallow answers"
    SWALLOW = "swallow"
    REFUSE = "refuse"
    """New connections are closed at once; old ones pass."""


class Lossy:
    """Listens at ``here``, connects to ``there`` for each client. Leaving ``with`` ends all."""

    def __init__(self, here: Path, there: Path) -> None:
        self.here = here
        self.there = there
        self.way = Way.PASS
        self.delay_s = 0.2
        self.cut_after: int | None = None
        """Bytes from clients after which all is cut, once."""
        self.passed = 0
        self._mutex = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> Self:
        self._listener.bind(str(self.here))
        self._listener.listen(128)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.close()
        self.cut()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.here)

    def cut(self) -> None:
        """End every connection, in both directions, now."""
        with self._mutex:
            gone, self._open = self._open, set()
        for one in gone:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.way is Way.REFUSE:
                client.close()
                continue
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(str(self.there))
            except OSError:
                client.close()
                server.close()
                continue
            with self._mutex:
                self._open |= {client, server}
            for pair in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE):
                if self.way is Way.DELAY:
                    time.sleep(self.delay_s)
                if self.way is Way.SWALLOW or (answers and self.way is Way.SWALLOW_ANSWERS):
                    continue
                sink.sendall(piece)
                self._count(len(piece), answers)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        with self._mutex:
            self._open.discard(source)
        source.close()

    def _count(self, length: int, answers: bool) -> None:
        if answers:
            return
        with self._mutex:
            self.passed += length
            due = self.cut_after is not None and self.passed >= self.cut_after
            if due:
                self.cut_after = None
        if due:
            self.cut()
