"""The Read call: message sizes, and readers that stay open for clients with small steps."""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from contentui.content.errors import NotFound
from contentui.protocol import wire
from contentui.servers.grpc import errors
from contentui.servers.grpc.errors import Code, StatusError, parsed_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contentui.content.digest import Digest
    from contentui.content.store import Store
    from contentui.content.streams import BlobReader, NonBlockingReader

SMALL_READ = 128 << 10
"""Bytes of a read up to which its reader is kept for the next one."""
_MAX_CACHED = 8
_CACHED_S = 2.0

_FULL_SIZE_READERS = 8
"""Readers that get messages of full size at once."""
_FIRST_SIZE = 32 << 10
"""Bytes of the first messages of further readers."""
_UNPROVEN = 4
"""Messages that do not show that a client reads: HTTP/2 buffers 64 KiB for one that never does."""


class ReadHandler:
    """The messages that respond to a ReadContentRequest; offsets count from the first."""

    def __init__(self, store: Store, longest: int, cache: ReaderCache) -> None:
        """``longest``: bytes of data in a message at most."""
        self._store = store
        self._cache = cache
        self._sizer = ChunkSizer(longest)

    def __call__(self, message: bytes) -> Iterator[bytes]:
        """Raises Malformed, StatusError, ContentError."""
        request = wire.decode_read_request(message)
        digest = parsed_digest(request.digest)
        try:
            opened = self._cache.open(self._store, digest, request.size)
        except NotFound:
            raise errors.blob_not_found(digest) from None
        with opened as reader, self._sizer.sizes() as sizes:
            start, end = _range(request, reader)
            at = start
            while at < end:
                data = reader.read_at(min(next(sizes), end - at), at)
                if not data:
                    text = f"{digest} ended at byte {at}, {end - at} bytes early: data loss"
                    raise StatusError(Code.DATA_LOSS, text)
                head = wire.encode_read_head(at - start, len(data))
                at += len(data)
                response = b"".join((head, data))
                del data  # until the client has taken it, one copy in memory is enough
                yield response


def _range(request: wire.ReadRequest, reader: BlobReader) -> tuple[int, int]:
    start = max(request.offset, 0)
    if start > reader.size:
        text = f"read past object length {reader.size} bytes: out of range"
        raise StatusError(Code.OUT_OF_RANGE, text)
    size = request.size if request.size > 0 else reader.size
    return start, min(start + size, reader.size)


class ChunkSizer:
    """Sizes of Read messages, smaller while many readers might not take theirs.

    A message is held in memory, three times at worst, until its client takes it. The first few
    readers get ``longest`` bytes at a time, further ones once they have taken some messages, and
    many together share what a few may have.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._first = min(_FIRST_SIZE, longest)
        self._mutex = threading.Lock()
        self._readers = 0

    @contextmanager
    def sizes(self) -> Iterator[Iterator[int]]:
        """For one reader: the size of each message at most, in bytes."""
        self._count(1)
        try:
            yield self._growing()
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._mutex:
            self._readers += change

    def _growing(self) -> Iterator[int]:
        taken, grown = 0, self._first
        while True:
            share = _FULL_SIZE_READERS * self._longest // max(self._readers, 1)
            full = self._readers <= _FULL_SIZE_READERS
            yield max(min(self._longest if full else grown, share), self._first)
            taken += 1
            if taken >= _UNPROVEN:
                grown = min(2 * grown, self._longest)


class _Entry(NamedTuple):
    reader: NonBlockingReader
    until: float


class ReaderCache:
    """Readers of the last small reads, kept open for two seconds.

    ``ctr content get`` of containerd 1.6 reads 32 KiB per call: opening the blob each time costs
    more than reading.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._sweeping = False

    def response(self, message: bytes) -> bytes | None:
        """The response to a ReadContentRequest if it needs no waiting, else None. Never raises."""
        try:
            request = wire.decode_read_request(message)
        except wire.Malformed:
            return None
        start, size = max(request.offset, 0), request.size
        if not 0 < size <= SMALL_READ:
            return None
        with self._mutex:
            entry = self._entries.get(request.digest)
            if entry is None or start >= entry.reader.size:
                return None
            data = entry.reader.read_now(min(size, entry.reader.size - start), start)
            if data is None:
                return None
            self._entries[request.digest] = entry._replace(until=time.monotonic() + _CACHED_S)
        return wire.encode_read_head(0, len(data)) + data

    def open(self, store: Store, digest: Digest, size: int) -> AbstractContextManager[BlobReader]:
        """A reader for a read of ``size`` bytes, after which it is cached or closed.

        Raises:
            NotFound: there is no such blob.
        """
        reads = store.roles.non_blocking_reads if 0 < size <= SMALL_READ else None
        if reads is None:
            return store.reader(digest)
        return self._keeping(digest, reads.non_blocking_reader(digest))

    @contextmanager
    def _keeping(self, digest: str, reader: NonBlockingReader) -> Iterator[NonBlockingReader]:
        try:
            yield reader
        finally:
            self._keep(digest, reader)

    def _keep(self, digest: str, reader: NonBlockingReader) -> None:
        with self._mutex:
            old = self._entries.pop(digest, None)
            gone = [old] if old else []
            while len(self._entries) >= _MAX_CACHED:
                gone.append(self._entries.pop(next(iter(self._entries))))
            self._entries[digest] = _Entry(reader, time.monotonic() + _CACHED_S)
            begin, self._sweeping = not self._sweeping, True
        for entry in gone:
            entry.reader.close()
        if begin:
            self._sweep_later()

    def forget(self, digest: str) -> None:
        """Close the reader of a blob that is being deleted."""
        with self._mutex:
            entry = self._entries.pop(digest, None)
        if entry is not None:
            entry.reader.close()

    def _sweep_later(self) -> None:
        timer = threading.Timer(_CACHED_S, self._sweep)
        timer.daemon = True
        timer.start()

    def _sweep(self) -> None:
        now = time.monotonic()
        with self._mutex:
            old = [digest for digest, entry in self._entries.items() if entry.until <= now]
            gone = [self._entries.pop(digest) for digest in old]
            self._sweeping = bool(self._entries)
            again = self._sweeping
        for entry in gone:
            entry.reader.close()
        if again:
            self._sweep_later()
