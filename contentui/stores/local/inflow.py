"""How large content gets into an ingest: copied by one thread while another one hashes it."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, BinaryIO

from contentui.content.errors import DataLoss
from contentui.stores.local import files

if TYPE_CHECKING:
    from hashlib import _Hash

    from contentui.content.store import Progress

PIECE = 1 << 20
"""Bytes that are read, and hashed, at once."""
_COPY = 8 << 20
"""Bytes that the kernel copies at once."""
_RING = 8
"""Buffers between reading and hashing."""
_LEAD = 64 << 20
"""Bytes that copying may be ahead of hashing: what an interruption has to wait for."""
_SYNC_FROM = 8 << 20
"""From this size on, syncing is begun while the last pieces are still being hashed."""
_PIPE_SIZE = 1 << 20


class Inflow:
    """One run of appending a source to the open ``data`` file ``fd`` behind ``offset``."""

    def __init__(self, fd: int, offset: int, hash_: _Hash, progress: Progress | None) -> None:
        self._fd = fd
        self._hash = hash_
        self._progress = progress
        self.offset = offset
        """Bytes stored and hashed; what lies behind it in the file doesn't count."""

    def run(self, source: BinaryIO) -> None:
        """Append all that ``source`` yields. Raises OSError, DataLoss, whatever the source raises.

        However it ends, `offset` and the hash agree.
        """
        fd = _descriptor(source)
        if fd is not None and stat.S_ISREG(os.fstat(fd).st_mode) and source.seekable():
            start = source.tell()
            size = os.fstat(fd).st_size - start
            if size > PIECE:
                copied = self._copy(fd, start)
                source.seek(start + copied)
        self._stream(source, fd)

    def _check_size(self, expected: int) -> None:
        """The file must end where we stopped, or someone else has been at it."""
        size = os.fstat(self._fd).st_size
        if size != expected:
            raise DataLoss(
                f"the ingest's data is {size} bytes long where {expected} were written: "
                "something else has changed it",
                advice="abort the ingest and start over",
            )

    def _copy(self, source: int, start: int) -> int:
        """Copy inside the kernel, and hash the bytes as they are stored. Returns how many."""
        first = self.offset
        copied = 0
        ends: SimpleQueue[int | None] = SimpleQueue()
        lead = threading.Semaphore(_LEAD // _COPY)
        hasher = _Hasher(lambda: self._hash_stored(ends, lead))
        try:
            while True:
                self._check_size(first + copied)
                try:
                    count = os.copy_file_range(
                        source, self._fd, _COPY, start + copied, first + copied
                    )
                except OSError:
                    if copied:
                        raise
                    return 0  # not between these file systems: the other way will do
                if not count:
                    break
                copied += count
                files.start_writeback(self._fd, first + copied - count, count)
                while not lead.acquire(timeout=1):
                    hasher.check()
                ends.put(first + copied)
                if self._progress:
                    self._progress(self.offset)
            if copied >= _SYNC_FROM:
                os.fsync(self._fd)
        finally:
            ends.put(None)
            hasher.join()
        hasher.check()
        if self._progress:
            self._progress(self.offset)
        return copied

    def _hash_stored(self, ends: SimpleQueue[int | None], lead: threading.Semaphore) -> None:
        buffer = memoryview(bytearray(PIECE))
        while (end := ends.get()) is not None:
            while self.offset < end:
                count = os.preadv(self._fd, [buffer[: end - self.offset]], self.offset)
                if not count:
                    raise DataLoss(
                        "the ingest's data was truncated while it was written",
                        advice="abort the ingest and start over",
                    )
                self._hash.update(buffer[:count])
                self.offset += count
            lead.release()

    def _stream(self, source: BinaryIO, fd: int | None) -> None:
        """Read piece by piece; small sources need no second thread."""
        read_into = getattr(source, "readinto1", None) or getattr(source, "readinto", None)
        reader = _PieceReader(source, fd, read_into)
        first = memoryview(bytearray(PIECE))
        count = reader.fill(first)
        if not count:
            return
        # Stored before more is waited for: the next byte of a stalled source may never come.
        self._append(first[:count])
        if count < PIECE and not reader.is_stream:
            return
        second = memoryview(bytearray(PIECE))
        if count := reader.fill(second):
            self._pump(reader, [(second, count)], first)

    def _append(self, piece: memoryview) -> None:
        written = self._write(piece, self.offset)
        self._hash.update(piece[:written])
        self.offset += written
        if written < len(piece):
            self._write(piece[written:], self.offset)  # says why
        if self._progress:
            self._progress(self.offset)

    def _write(self, piece: memoryview, at: int) -> int:
        """Write as much as goes; raises OSError only when nothing does."""
        self._check_size(at)
        done = os.pwrite(self._fd, piece, at)
        while done < len(piece):
            try:
                done += os.pwrite(self._fd, piece[done:], at + done)
            except OSError:
                break
        return done

    def _pump(
        self, reader: _PieceReader, ready: list[tuple[memoryview, int]], spare: memoryview
    ) -> None:
        todo: SimpleQueue[tuple[memoryview, int] | None] = SimpleQueue()
        free: SimpleQueue[memoryview] = SimpleQueue()
        free.put(spare)
        for _ in range(_RING - 2):
            free.put(memoryview(bytearray(PIECE)))
        hasher = _Hasher(lambda: self._hash_pieces(todo, free))
        stored = begun = self.offset
        try:
            while ready or (ready := reader.next(free)):
                buffer, count = ready.pop(0)
                written = self._write(buffer[:count], stored)
                todo.put((buffer, written))
                files.start_writeback(self._fd, stored, written)
                stored += written
                if written < count:
                    self._write(buffer[written:count], stored)  # says why
                hasher.check()
                if self._progress:
                    self._progress(self.offset)
            if stored - begun >= _SYNC_FROM:
                os.fsync(self._fd)
        finally:
            todo.put(None)
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
    """Fills buffers from a source, waiting for a pipe's next bytes only when it has none."""

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
        """Bytes read into ``buffer``; 0 only at the end."""
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
        if self._read_into is not None:
            return int(self._read_into(view) or 0)
        data = self._source.read(len(view))
        view[: len(data)] = data
        return len(data)


class _Hasher:
    """The second thread; an error in it is raised in the first one by `check`."""

    def __init__(self, work: Any) -> None:
        self._error: BaseException | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run, name="hash", daemon=True)
        self._thread.start()

    def check(self) -> None:
        if self._error is not None:
            raise self._error

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error


def _descriptor(source: BinaryIO) -> int | None:
    try:
        return source.fileno()
    except (OSError, AttributeError, ValueError):
        return None
