"""The standard library's HTTP response, with limits on the wait and on bytes beside the body."""

from __future__ import annotations

import http.client
import io
import time
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import socket

_MAX_OVERHEAD = 256 * 1024
"""Bytes of heads, chunk sizes and trailers that may precede content."""
_TLS_RECORD = 16 * 1024
"""Bytes that TLS returns at a time, as long as more are to come."""
_FILL_S = 0.1


_MAX_INTERIM = 100


class _TooMuch(http.client.HTTPException):
    """The head or the trailer is too long."""


class _LimitedReader(io.RawIOBase):
    """A socket's bytes, until a deadline and up to a number of bytes."""

    def __init__(self, raw: io.RawIOBase, deadline_s: float, first: bytes) -> None:
        """``first``: bytes that were read from the socket before."""
        self._raw = raw
        self._first = first
        self.deadline_s = deadline_s
        """Monotonic clock."""
        self.allowed = _MAX_OVERHEAD
        """Bytes that may still come before content is read."""
        self.paused = False
        """Reads return None for now."""
        self._failure: OSError | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        """Raises TimeoutError, HTTPException, OSError."""
        if self.paused:
            return None
        if self._failure is not None:
            raise self._failure
        if time.monotonic() > self.deadline_s:
            raise TimeoutError
        if self.allowed <= 0:
            raise _TooMuch("its head or trailer is too long")
        if self._first:
            size = min(len(self._first), len(buffer))
            buffer[:size] = self._first[:size]
            self._first = self._first[size:]
        else:
            size = cast("int", self._raw.readinto(buffer))
        self.allowed -= size or 0
        return size

    def fill(self, buffer: memoryview) -> int:
        """`readinto` of many small TLS records: the layers above cost more than this one."""
        filled = size = cast("int", self.readinto(buffer))
        if size > _TLS_RECORD:
            return filled
        fill_until_s = time.monotonic() + _FILL_S
        try:
            while size == _TLS_RECORD and filled < len(buffer) and time.monotonic() < fill_until_s:
                size = cast("int", self._raw.readinto(buffer[filled:]))
                filled += size
                self.allowed -= size
        except OSError as error:
            self._failure = error
        return filled

    def close(self) -> None:
        self._raw.close()
        super().close()


class _EagerReader(io.BufferedReader):
    """Returns what is there: bytes that wait for more would be lost with them at a break."""

    def __init__(self, source: _LimitedReader) -> None:
        super().__init__(source)
        self._source = source

    def readinto(self, buffer: Any, /) -> int:
        # The base class reads on even when it has some bytes, and loses those if that fails.
        self._source.paused = True
        ready = len(self.peek(1))
        self._source.paused = False
        if not ready:
            return self._source.fill(memoryview(buffer))
        return self.readinto1(memoryview(buffer)[:ready])


class RawResponse(http.client.HTTPResponse):
    """The standard library's response, over a limited reader."""

    def __init__(self, sock: socket.socket, *args: Any, first: bytes = b"", **kwargs: Any) -> None:
        """``first``: bytes of it that were read from the socket before."""
        super().__init__(sock, *args, **kwargs)
        wait_s = sock.gettimeout()
        raw = self.fp.detach()
        deadline_s = time.monotonic() + (60.0 if wait_s is None else wait_s)
        self.source = _LimitedReader(raw, deadline_s, first)
        self.fp = _EagerReader(self.source)

    def begin(self) -> None:
        """Skip interim responses (RFC 9110, 15.2); the base class knows 100 alone."""
        super().begin()
        interim = 0
        while 100 < self.status < 200 and self.status != 101:
            interim += 1
            if interim > _MAX_INTERIM:
                raise _TooMuch("it sends one interim response after the other")
            self.headers = None  # type: ignore[assignment]  # so that it begins again
            super().begin()

    def readinto_some(self, buffer: memoryview) -> int:
        """The content that is there; 0 at its end. Raises OSError, ValueError, HTTPException."""
        self.source.allowed = len(buffer) + _MAX_OVERHEAD
        if not self.chunked:
            return self.readinto(buffer)
        piece = self.read1(len(buffer))  # readinto would wait until the buffer is full
        buffer[: len(piece)] = piece
        return len(piece)
