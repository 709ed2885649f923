"""HTTP answers that end: in time, and in bytes beside their content."""

from __future__ import annotations

import http.client
import io
import time
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import socket

MOST_EXTRA = 256 * 1024
"""Bytes of heads, chunk sizes and trailers that may stand before content."""
_RECORD = 16 * 1024
"""Bytes that TLS gives at a time, as long as more are to come."""
_FILL_S = 0.1


class TooMuch(http.client.HTTPException):
    """Heads or trailers without end."""


class Source(io.RawIOBase):
    """A socket's bytes, as long as there is time and room for them."""

    def __init__(self, raw: io.RawIOBase, until_s: float) -> None:
        self._raw = raw
        self.until_s = until_s
        """Monotonic clock."""
        self.room = MOST_EXTRA
        """Bytes that may still come before somebody asks for content."""
        self.dry = False
        """Gives nothing for now."""
        self._failure: OSError | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        """Raises TimeoutError, TooMuch, OSError."""
        if self.dry:
            return None
        if self._failure is not None:
            raise self._failure
        if time.monotonic() > self.until_s:
            raise TimeoutError
        if self.room <= 0:
            raise TooMuch("its head or its trailer has no end")
        size = cast("int", self._raw.readinto(buffer))
        self.room -= size or 0
        return size

    def fill(self, buffer: memoryview) -> int:
        """`readinto`, over many of TLS's small records: what is above costs more than they do."""
        filled = size = cast("int", self.readinto(buffer))
        if size > _RECORD:
            return filled
        until_s = time.monotonic() + _FILL_S
        try:
            while size == _RECORD and filled < len(buffer) and time.monotonic() < until_s:
                size = cast("int", self._raw.readinto(buffer[filled:]))
                filled += size
                self.room -= size
        except OSError as error:
            self._failure = error
        return filled

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Eager(io.BufferedReader):
    """Gives what is there: bytes that wait for others would be lost with them at a break."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._source = source

    def readinto(self, buffer: Any, /) -> int:
        # The base class asks for more even when it has some, and forgets those if that fails.
        self._source.dry = True
        ready = len(self.peek(1))
        self._source.dry = False
        if not ready:
            return self._source.fill(memoryview(buffer))
        return self.readinto1(memoryview(buffer)[:ready])


class Response(http.client.HTTPResponse):
    """The standard library's, over a `Source`."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        wait_s = sock.gettimeout()
        raw = self.fp.detach()
        self.source = Source(raw, time.monotonic() + (60.0 if wait_s is None else wait_s))
        self.fp = _Eager(self.source)

    def readinto_some(self, buffer: memoryview) -> int:
        """What is there of the content; 0 at its end. Raises as `Source.readinto`."""
        self.source.room = len(buffer) + MOST_EXTRA
        if not self.chunked:
            return self.readinto(buffer)
        piece = self.read1(len(buffer))  # readinto would wait for the whole of the buffer
        buffer[: len(piece)] = piece
        return len(piece)
