"""A blob's bytes over a stream that goes on while it is read in order."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from contentui.content.errors import DataLoss, OutOfRange
from contentui.protocol import names, wire
from contentui.stores.containerd.ahead import Ahead
from contentui.stores.containerd.messages import decoded
from contentui.stores.containerd.transport import Incoming

if TYPE_CHECKING:
    from typing import Self

    from contentui.content.digest import Digest
    from contentui.stores.containerd.transport import Connection, Metadata

_LONG = 4 << 20
"""Bytes after which a stream is worth a thread."""
_MAX_EMPTY = 100
"""Messages without bytes that may come in a row."""
_READ = names.method(names.CONTENT, "Read")


class ContainerdReader:
    """Random access to a blob.

    Reading from the beginning, or on from where the last read ended, is one Read call however
    long it goes on; anything else asks for just the bytes that are wanted.
    """

    def __init__(self, connection: Connection, meta: Metadata, digest: Digest, size: int) -> None:
        """Raises NotFound. From now on the blob may be deleted."""
        self.size = size
        self._connection = connection
        self._meta = meta
        self._digest = digest
        self._mutex = threading.Lock()
        self._stream: Incoming | Ahead | None = None
        self._received = 0
        self._at = 0
        self._rest = memoryview(b"")
        self._partial = False
        self._request(0, 0)
        self._fill()

    def read_at(self, size: int, offset: int) -> bytes:
        """Raises OutOfRange for a negative offset, Unavailable when the connection is lost."""
        if offset < 0:
            raise OutOfRange(f"there is no byte at {offset}")
        with self._mutex:
            size = min(size, self.size - offset)  # a service may send more, and without an end
            if size <= 0:
                return b""
            if offset != self._at:
                self._request(offset, size)
            data = self._take(size)
            if len(data) < size and self._partial and self._at < self.size:
                self._request(self._at, 0)  # read on in order: from now on one call does it
                data += self._take(size - len(data))
            return data

    def close(self) -> None:
        """Let go of the stream. Twice is fine."""
        stream, self._stream = self._stream, None
        self._rest = memoryview(b"")
        if stream is not None:
            stream.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _request(self, offset: int, size: int) -> None:
        self.close()
        self._at = offset
        self._partial = size > 0
        self._received = 0
        request = wire.encode_read_request(self._digest, offset, size)
        self._stream = self._connection.stream(_READ, request, self._meta)

    def _fill(self) -> bool:
        """Get the stream's next bytes; False at its end."""
        empty = 0
        while self._stream is not None and not self._rest:
            try:
                message = self._stream.next()
            except OutOfRange:  # the blob is shorter than was said: its end, for a reader
                message = None
            if message is None:
                self._stream = None
            else:
                self._rest = decoded(wire.decode_read_response, message, "Read")
                empty += not self._rest
                if empty > _MAX_EMPTY:
                    self.close()
                    raise DataLoss(f"the service sends messages without bytes of {self._digest}")
                self._look_ahead(len(message))
        return bool(self._rest)

    def _look_ahead(self, received: int) -> None:
        """Receive on another thread once it is clear that the stream is long."""
        self._received += received
        if self._received > _LONG and isinstance(self._stream, Incoming):
            self._stream = Ahead(self._stream)

    def _take(self, size: int) -> bytes:
        pieces, left = [], size
        while left > 0 and self._fill():
            piece = self._rest[:left]
            self._rest = self._rest[len(piece) :]
            pieces.append(piece)
            left -= len(piece)
        self._at += size - left
        return bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)
