"""Appending a stream to an ingest: one thread copies its bytes while another one hashes them."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import stat
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from contentui.threads import WorkerThread

if TYPE_CHECKING:
    from collections.abc import Callable
    from hashlib import _Hash

    from contentui.content.streams import Progress
    from contentui.stores.local.data import IngestData

PIECE = 1 << 20
"""Bytes that are read, and hashed, at once."""
_COPY = 8 << 20
"""Bytes that the kernel copies at once."""
_RING = 8
"""Buffers between reading and hashing."""
_LEAD = 16 << 20
"""Bytes that copying may be ahead of hashing; an interruption waits until they are hashed."""
_SYNC_FROM = 8 << 20
"""The smallest size, in bytes, that is synced while the last pieces are still being hashed."""
_PIPE_SIZE = 1 << 20


class SourceFailed(Exception):
    """The source raised ``error``, an OSError that must not be reported as the store's."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class CopyFailed(Exception):
    """copy_file_range(2) failed with ``error``, as it does between some file systems."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class StreamCopier:
    """One run of appending a source to an ingest's data."""

    def __init__(
        self, data: IngestData, hash_: _Hash, offset: int, progress: Progress | None
    ) -> None:
        """``hash_``: of the first ``offset`` bytes; it is changed."""
        self._data = data
        self._hash = hash_
        self._progress = progress
        self._hasher: _Hasher | None = None
        self.offset = offset
        """Bytes that are stored and hashed; later ones in the file are not valid."""

    @property
    def state(self) -> tuple[_Hash, int]:
        """Hash and offset; they agree once `join` has returned."""
        return self._hash, self.offset

    def join(self) -> None:
        """Wait until the second thread has hashed what was stored."""
        if self._hasher is not None:
            self._hasher.join()

    def run(self, source: BinaryIO) -> None:
        """Append all that ``source`` yields. Raises OSError, DataLoss, whatever the source raises.

        In every case `state` is consistent after `join`.
        """
        fd = _descriptor(source)
        if fd is not None and stat.S_ISREG(os.fstat(fd).st_mode) and _is_plain(source):
            start = source.tell()
            size = os.fstat(fd).st_size - start
            if size > PIECE:
                copied = self._copy(fd, start)
                source.seek(start + copied)
        self._stream(source, fd)

    def _copy(self, source: int, start: int) -> int:
        """Copy inside the kernel, and hash the bytes as they are stored. Returns how many."""
        first = self.offset
        copied = 0
        ends: SimpleQueue[int | None] = SimpleQueue()
        lead = threading.Semaphore(_LEAD // _COPY)
        hasher = self._hasher = _Hasher(
            lambda: self._hash_stored(ends, lead), lambda: ends.put(None)
        )
        try:
            while True:
                try:
                    count = self._data.copy_in(source, start + copied, first + copied, _COPY)
                except CopyFailed as failed:
                    if copied:
                        raise failed.error from None
                    return 0  # not supported between these file systems: read and write instead
                if not count:
                    break
                copied += count
                self._data.start_writeback(first + copied - count, count)
                while not lead.acquire(timeout=1):
                    hasher.check()
                ends.put(first + copied)
                if self._progress:
                    self._progress(self.offset)
            if copied >= _SYNC_FROM:
                self._data.sync_early()
        finally:
            hasher.join()
        hasher.check()
        if self._progress:
            self._progress(self.offset)
        return copied

    def _hash_stored(self, ends: SimpleQueue[int | None], lead: threading.Semaphore) -> None:
        buffer = memoryview(bytearray(PIECE))
        while (end := ends.get()) is not None:
            while self.offset < end:
                count = os.preadv(self._data.fd, [buffer[: end - self.offset]], self.offset)
                if not count:
                    self._data.check_size(end)  # it was truncated by another program
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                self._hash.update(buffer[:count])
                self.offset += count
            lead.release()

    def _stream(self, source: BinaryIO, fd: int | None) -> None:
        """Read piece by piece; a source of up to one piece needs no second thread."""
        read_into = getattr(source, "readinto1", None) or getattr(source, "readinto", None)
        reader = _PieceReader(source, fd, read_into)
        first = memoryview(bytearray(PIECE))
        count = reader.fill(first)
        if not count:
            return
        # Stored before waiting for more: a stalled source may never send another byte.
        self._append(first[:count])
        if count < PIECE and not reader.is_stream:
            return
        second = memoryview(bytearray(PIECE))
        if count := reader.fill(second):
            self._pump(reader, [(second, count)], first)

    def _append(self, piece: memoryview) -> None:
        written = self._data.write_at(piece, self.offset)
        self._hash.update(piece[:written])
        self.offset += written
        if written < len(piece):
            self._data.write_at(piece[written:], self.offset)  # raises the error
        if self._progress:
            self._progress(self.offset)

    def _pump(
        self, reader: _PieceReader, ready: list[tuple[memoryview, int]], spare: memoryview
    ) -> None:
        todo: SimpleQueue[tuple[memoryview, int] | None] = SimpleQueue()
        free: SimpleQueue[memoryview] = SimpleQueue()
        free.put(spare)
        for _ in range(_RING - 2):
            free.put(memoryview(bytearray(PIECE)))
        hasher = self._hasher = _Hasher(
            lambda: self._hash_pieces(todo, free), lambda: todo.put(None)
        )
        stored = begun = self.offset
        try:
            while ready or (ready := reader.next(free)):
                buffer, count = ready.pop(0)
                written = self._data.write_at(buffer[:count], stored)
                todo.put((buffer, written))
                self._data.start_writeback(stored, written)
                stored += written
                if written < count:
                    self._data.write_at(buffer[written:count], stored)  # raises the error
                hasher.check()
                if self._progress:
                    self._progress(self.offset)
            if stored - begun >= _SYNC_FROM:
                self._data.sync_early()
        finally:
            hasher.join()
        hasher.check()
        if self._progress:
            self._progress(self.offset)

    def _hash_pieces(
        self, todo: SimpleQueue[tuple[memoryview, int] | None], free: SimpleQueue[memoryview]
    ) -> None:
        while (item := todo.get()) is not None:
            buffer, count = item
            self._hash.update(buffer[:count])
            self.offset += count
            free.put(buffer)


class _PieceReader:
    """Fills buffers from a source; waits for a pipe only if it has no bytes yet."""

    def __init__(self, source: BinaryIO, fd: int | None, read_into: Any) -> None:
        self._source = source
        self._read_into = read_into
        self._poll: select.poll | None = None
        self.is_stream = fd is None or not stat.S_ISREG(os.fstat(fd).st_mode)
        if fd is not None and self.is_stream:
            self._poll = select.poll()
            self._poll.register(fd, select.POLLIN)
            with contextlib.suppress(OSError, AttributeError, ImportError):
                import fcntl

                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)

    def fill(self, buffer: memoryview) -> int:
        """The number of bytes read into ``buffer``; 0 only at the end."""
        count = 0
        while count < len(buffer):
            got = self._read(buffer[count:])
            if not got:
                break
            count += got
            if self._poll is None and self.is_stream:
                break
            if self._poll is not None and not self._poll.poll(0):
                break
        return count

    def next(self, free: SimpleQueue[memoryview]) -> list[tuple[memoryview, int]]:
        buffer = free.get()
        count = self.fill(buffer)
        return [(buffer, count)] if count else []

    def _read(self, view: memoryview) -> int:
        """Wait for some bytes; 0 only at the end of the source."""
        while (count := self._read_some(view)) is None:
            if self._poll is None:
                raise BlockingIOError(errno.EAGAIN, "the source has no bytes yet and can't wait")
            self._poll.poll()
        return count

    def _read_some(self, view: memoryview) -> int | None:
        try:
            return self._read_source(view)
        except OSError as error:
            raise SourceFailed(error) from error

    def _read_source(self, view: memoryview) -> int | None:
        if self._read_into is not None:
            return cast("int | None", self._read_into(view))
        data: bytes | None = self._source.read(len(view))
        if data is None:
            return None
        view[: len(data)] = data
        return len(data)


class _Hasher:
    """The thread that hashes; `check` raises an error of it in the calling thread."""

    def __init__(self, work: Callable[[], None], end: Callable[[], None]) -> None:
        """``work`` runs in the thread, and returns after ``end`` was called."""
        self._error: BaseException | None = None
        self._work = work
        self._end = end
        self._thread = WorkerThread(self._run, name="hash")
        self._thread.start()

    def check(self) -> None:
        if self._error is not None:
            raise self._error

    def join(self) -> None:
        """Wait until all that was passed is hashed; a second call has no effect."""
        self._end()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error


def _is_plain(source: BinaryIO) -> bool:
    """Whether ``source`` yields the bytes of its descriptor, unlike a decompressor."""
    raw = source.raw if isinstance(source, (io.BufferedReader, io.BufferedRandom)) else source
    return type(raw) is io.FileIO and source.seekable()


def _descriptor(source: BinaryIO) -> int | None:
    try:
        return source.fileno()
    except (OSError, AttributeError, ValueError):
        return None
