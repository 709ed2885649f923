"""How large content gets into an ingest: copied by one thread while another one hashes it."""

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

from contentui.stores.local import files
from contentui.stores.local.watch import altered

if TYPE_CHECKING:
    from hashlib import _Hash

    from contentui.content.store import Progress
    from contentui.stores.local.watch import Watch

PIECE = 1 << 20
"""Bytes that are read, and hashed, at once."""
_COPY = 8 << 20
"""Bytes that the kernel copies at once."""
_RING = 8
"""Buffers between reading and hashing."""
_LEAD = 16 << 20
"""Bytes that copying may be ahead of hashing: what an interruption has to wait for."""
_SYNC_FROM = 8 << 20
"""From this size on, syncing is begun while the last pieces are still being hashed."""
_PIPE_SIZE = 1 << 20


class SourceFailed(Exception):
    """The source raised ``error``, an OSError that must not be told as the store's."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class Inflow:
    """One run of appending a source to the open ``data`` file ``fd`` behind ``offset``."""

    def __init__(
        self, fd: int, offset: int, hash_: _Hash, progress: Progress | None, watch: Watch
    ) -> None:
        self._fd = fd
        self._watch = watch
        self._hash = hash_
        self._progress = progress
        self.offset = offset
        """Bytes stored and hashed; what lies behind it in the file doesn't count."""

    def run(self, source: BinaryIO) -> None:
        """Append all that ``source`` yields. Raises OSError, DataLoss, whatever the source raises.

        However it ends, `offset` and the hash agree.
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
        hasher = _Hasher(lambda: self._hash_stored(ends, lead))
        try:
            while True:
                self._watch.check(first + copied)
                try:
                    count = os.copy_file_range(
                        source, self._fd, _COPY, start + copied, first + copied
                    )
                except OSError:
                    if copied:
                        raise
                    return 0  # not between these file systems: the other way will do
                self._watch.wrote()
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
                    raise altered("it was truncated while it was written")
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
        self._watch.check(at)
        done = os.pwrite(self._fd, piece, at)
        while done < len(piece):
            try:
                done += os.pwrite(self._fd, piece[done:], at + done)
            except OSError:
                break
        self._watch.wrote()
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
        """Wait for some bytes; 0 only at the end, which a source that has none yet is not at."""
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


def _is_plain(source: BinaryIO) -> bool:
    """Whether the bytes of ``source`` are those behind its descriptor: a decoder's are not."""
    raw = source.raw if isinstance(source, (io.BufferedReader, io.BufferedRandom)) else source
    return type(raw) is io.FileIO and source.seekable()


def _descriptor(source: BinaryIO) -> int | None:
    try:
        return source.fileno()
    except (OSError, AttributeError, ValueError):
        return None
