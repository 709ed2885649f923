"""A blob's reader over Read calls; sequential reads share one call."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from contentui.content.errors import DataLoss, OutOfRange
from contentui.protocol import names, wire
from contentui.stores.containerd.messages import decoded
from contentui.stores.containerd.transport import Prefetcher, ResponseStream

if TYPE_CHECKING:
    from typing import Self

    from contentui.content.digest import Digest
    from contentui.stores.containerd.transport import Connection, Metadata

_PREFETCH_AFTER = 4 << 20
"""Bytes of a stream after which the rest is received on a thread of its own."""
_MAX_EMPTY = 100
"""Consecutive messages without data after which reading fails."""
_READ = names.method(names.CONTENT, "Read")


class ContainerdReader:
    """Random access to a blob.

    Reads from the beginning, or from where the last read ended, share one Read call; any other
    read is a call for its range.
    """

    def __init__(self, connection: Connection, meta: Metadata, digest: Digest, size: int) -> None:
        """Opens the blob, which may be deleted from then on. Raises NotFound."""
        self.size = size
        self._connection = connection
        self._meta = meta
        self._digest = digest
        self._mutex = threading.Lock()
        self._stream: ResponseStream | Prefetcher | None = None
        self._received = 0
        self._at = 0
        self._rest = memoryview(b"")
        self._partial = False
        self._request(0, 0)
        self._fill()

    def read_at(self, size: int, offset: int) -> bytes:
        """Raises OutOfRange for a negative offset, Unavailable when the connection is lost."""
        if offset < 0:
            raise OutOfRange(f"negative offset {offset}")
        with self._mutex:
            size = min(size, self.size - offset)  # a server may send more, without an end
            if size <= 0:
                return b""
            if offset != self._at:
                self._request(offset, size)
            data = self._take(size)
            if len(data) < size and self._partial and self._at < self.size:
                self._request(self._at, 0)  # sequential from now on: one call for the rest
                data += self._take(size - len(data))
            return data

    def close(self) -> None:
        """End the call. May be called twice."""
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
        """Receive the stream's next bytes; False at its end."""
        empty = 0
        while self._stream is not None and not self._rest:
            try:
                message = self._stream.next()
            except OutOfRange:  # the blob is shorter than Info reported: its end, for a reader
                message = None
            if message is None:
                self._stream = None
            else:
                self._rest = decoded(wire.decode_read_response, message, "Read")
                empty += not self._rest
                if empty > _MAX_EMPTY:
                    self.close()
                    raise DataLoss(f"the server sends messages without data for {self._digest}")
                self._prefetch(len(message))
        return bool(self._rest)

    def _prefetch(self, received: int) -> None:
        """Receive on another thread once the stream is long."""
        self._received += received
        if self._received > _PREFETCH_AFTER and isinstance(self._stream, ResponseStream):
            self._stream = Prefetcher(self._stream)

    def _take(self, size: int) -> bytes:
        pieces, left = [], size
        while left > 0 and self._fill():
            piece = self._rest[:left]
            self._rest = self._rest[len(piece) :]
            pieces.append(piece)
            left -= len(piece)
        self._at += size - left
        return bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)
