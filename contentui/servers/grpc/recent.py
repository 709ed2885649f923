"""Blobs that stay open for a few seconds for clients that read them in many small steps."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from contentui.protocol import wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contentui.content.store import BlobReader

SMALL = 128 << 10
"""Bytes of a step at most."""
_MOST = 8
_KEPT_S = 2.0


class Prompt(Protocol):
    """A reader that can tell whether it would have to wait."""

    size: int

    def read_now(self, size: int, offset: int) -> bytes | None:
        """All of the bytes, if they can be had without waiting and the blob still has its name."""

    def close(self) -> None: ...


class _Entry(NamedTuple):
    reader: Prompt
    until: float


class Recent:
    """The readers of steps that have just ended."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._sweeping = False

    def answer(self, message: bytes) -> bytes | None:
        """The answer to a Read, if it can be given without waiting. Never raises."""
        try:
            request = wire.decode_read_request(message)
        except wire.Malformed:
            return None
        start, size = max(request.offset, 0), request.size
        if not 0 < size <= SMALL:
            return None
        with self._mutex:
            entry = self._entries.get(request.digest)
            if entry is None or start >= entry.reader.size:
                return None
            data = entry.reader.read_now(min(size, entry.reader.size - start), start)
            if data is None:
                return None
            self._entries[request.digest] = entry._replace(until=time.monotonic() + _KEPT_S)
        return wire.encode_read_head(0, len(data)) + data

    @contextmanager
    def lent(self, digest: str, reader: BlobReader, size: int) -> Iterator[None]:
        """For a step of ``size`` bytes, after which the reader is closed, or kept for the next."""
        if not 0 < size <= SMALL or not hasattr(reader, "read_now"):
            with reader:
                yield
            return
        try:
            yield
        finally:
            self._keep(digest, cast("Prompt", reader))

    def _keep(self, digest: str, reader: Prompt) -> None:
        with self._mutex:
            old = self._entries.pop(digest, None)
            gone = [old] if old else []
            while len(self._entries) >= _MOST:
                gone.append(self._entries.pop(next(iter(self._entries))))
            self._entries[digest] = _Entry(reader, time.monotonic() + _KEPT_S)
            begin, self._sweeping = not self._sweeping, True
        for entry in gone:
            entry.reader.close()
        if begin:
            self._sweep_later()

    def forget(self, digest: str) -> None:
        """The blob goes."""
        with self._mutex:
            entry = self._entries.pop(digest, None)
        if entry is not None:
            entry.reader.close()

    def _sweep_later(self) -> None:
        timer = threading.Timer(_KEPT_S, self._sweep)
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
