"""The open ``data`` file of an ingest: its bytes, their running hash, and what has been synced."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from typing import TYPE_CHECKING, BinaryIO

from contentui.content.digest import Digest, new_hash
from contentui.content.errors import DataLoss
from contentui.stores import files
from contentui.stores.local.copier import CopyFailed, StreamCopier

if TYPE_CHECKING:
    from hashlib import _Hash

    from contentui.content.streams import Progress

_PIECE = 1 << 20
"""Bytes that are read and hashed at once."""
_WRITEBACK_FROM = 64 << 10
"""The smallest write, in bytes, for which writeback is started at once."""
_SYNCED = "user.contentui.synced"
"""Extended attribute with the size and mtime that the file had when it was synced.

Without it, or if the file has another size or mtime, a resumed ingest is synced, dropped from the
page cache and read from the disk again.
"""


class IngestData:
    """One open file, written by one thread at a time.

    Hash and offset change together, in one assignment, after the bytes were written. So an
    exception at any point, KeyboardInterrupt included, leaves them correct, and bytes behind the
    offset are cut off before the file is used again.

    After an error of fsync or writeback, what was written since the last good sync is dropped: the
    kernel reports such an error once and then marks the pages clean (fsync(2)).
    """

    def __init__(self, fd: int, algorithm: str) -> None:
        """For a new, empty file; call `load` if it has bytes. The caller closes ``fd``."""
        self._fd = fd
        self._state: tuple[_Hash, int] = (new_hash(algorithm), 0)
        self._synced = self._state
        """The state of the last good sync."""
        self._unfinished = False
        """A change was interrupted: the file may be longer than the offset."""
        self._copier: StreamCopier | None = None
        self._lost = False
        """A sync or writeback failed; the bytes behind the last good sync must be dropped."""
        self._altered = ""
        self._doubted = False
        self._recorded = False
        self._times = (0, 0)
        self._remember_times()

    @property
    def changed_ns(self) -> int:
        """When this writer last changed the file, nanoseconds since 1970."""
        return self._times[0]

    @property
    def offset(self) -> int:
        """Bytes stored and hashed."""
        return self._state[1]

    @property
    def fd(self) -> int:
        return self._fd

    def digest(self) -> Digest:
        hash_ = self._state[0]
        return Digest(f"{hash_.name}:{hash_.hexdigest()}")

    # -- reading what is there

    def load(self, algorithm: str) -> None:
        """Hash the bytes of the file as they are on the disk.

        If they cannot be synced they are dropped, and the ingest starts over. Raises OSError.
        """
        found = os.fstat(self._fd)
        self._recorded = self._is_known_synced(found)
        if not self._recorded and found.st_size:
            try:
                os.fsync(self._fd)
            except OSError:
                os.ftruncate(self._fd, 0)
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
        self._remember_times()
        self._doubted = False
        self._state = self._synced = hash_file(self._fd, algorithm)

    def rehash(self, algorithm: str) -> None:
        """Change the algorithm. Raises OSError, DataLoss."""
        self.check()
        self._state = hash_file(self._fd, algorithm)

    def check(self) -> os.stat_result:
        """The stat result of the file, after comparing it with what was written.

        Another size is a foreign change. Another time may be one: `verify_if_doubted` hashes the
        file then, since some file systems change times on their own. A foreign change of the same
        size between two writes of this writer cannot be detected (docs/internals/
        local-store.md, The committed bytes are the hashed bytes).

        Raises:
            DataLoss: another program has changed it.
            OSError: what an interrupted or failed write left cannot be removed.
        """
        self._reconcile()
        found = os.fstat(self._fd)
        if found.st_size != self.offset:
            self._altered = f"it has {found.st_size} bytes where {self.offset} were written"
        if self._altered:
            raise altered(self._altered)
        if (found.st_mtime_ns, found.st_ctime_ns) != self._times:
            self._doubted = True
            self._times = (found.st_mtime_ns, found.st_ctime_ns)
        return found

    def verify_if_doubted(self) -> None:
        """Hash the file again if `check` found another time. Raises DataLoss, OSError."""
        if not self._doubted:
            return
        written = self.digest()
        hash_, offset = hash_file(self._fd, written.algorithm)
        if offset != self.offset or hash_.hexdigest() != written.encoded:
            self._altered = f"it hashes to {hash_.hexdigest()} where {written.encoded} was written"
            raise altered(self._altered)
        self._doubted = False

    # -- changing it

    def append(self, view: memoryview) -> None:
        """Append all of ``view``; on a full disk, what fits. Raises OSError, DataLoss."""
        self.check()
        self._clear_sync_record()
        hash_, offset = self._state
        hash_ = hash_.copy()
        self._unfinished = True
        written = 0
        try:
            while written < len(view):
                written += os.pwrite(self._fd, view[written:], offset + written)
            if written >= _WRITEBACK_FROM:
                self.start_writeback(offset, written)
        finally:
            hash_.update(view[:written])
            self._state = (hash_, offset + written)
            if written == len(view) and not self._lost:
                self.set_time(time.time_ns())
                self._unfinished = False
            else:
                self._reconcile()

    def append_from(self, source: BinaryIO, progress: Progress | None) -> None:
        """Append all that a source yields. Raises OSError, DataLoss, SourceFailed."""
        self.check()
        self._clear_sync_record()
        hash_, offset = self._state
        self._copier = StreamCopier(self, hash_.copy(), offset, progress)
        try:
            self._copier.run(source)
        except DataLoss as error:
            self._altered = self._altered or error.message
            raise
        finally:
            self._reconcile()
        self.set_time(time.time_ns())

    def restart(self) -> None:
        """Drop all bytes. Raises OSError."""
        self._stop_copier()
        self._clear_sync_record()
        self._unfinished = True
        os.ftruncate(self._fd, 0)
        self._state = self._synced = (new_hash(self._state[0].name), 0)
        self._lost = self._doubted = self._unfinished = False
        self._altered = ""
        self.set_time(time.time_ns())

    def sync(self) -> None:
        """Fsync.

        Raises:
            OSError: it failed; what was written since the last good sync was dropped.
        """
        self._reconcile()
        try:
            os.fsync(self._fd)
        except OSError:
            self._lost = True
            self._reconcile()
            raise
        self._synced = self._state

    def record_sync(self) -> None:
        """Record in an extended attribute that the file is synced with this size and time."""
        found = os.fstat(self._fd)
        if found.st_size == self._synced[1] == self.offset:
            with contextlib.suppress(OSError):
                os.setxattr(self._fd, _SYNCED, _record(found))
                self._recorded = True
            self._remember_times()

    def set_time(self, now_ns: int) -> None:
        """Set the modification time exactly: the kernel's is up to a clock tick (4 ms) earlier."""
        with contextlib.suppress(OSError):
            os.utime(self._fd, ns=(now_ns, now_ns))
        self._remember_times()

    def set_mode(self, mode: int) -> None:
        """Raises OSError."""
        if stat.S_IMODE(os.fstat(self._fd).st_mode) != mode:
            os.fchmod(self._fd, mode)
            self._remember_times()

    def finish(self, mode: int, now_ns: int) -> None:
        """Set the mode and the time of a blob, and sync. Raises OSError as `sync` does.

        ``now_ns``: nanoseconds since 1970; see `set_time`.
        """
        self._clear_sync_record()
        os.fchmod(self._fd, mode)
        os.utime(self._fd, ns=(now_ns, now_ns))
        self._remember_times()
        self.sync()

    # -- for `StreamCopier`

    def write_at(self, piece: memoryview, at: int) -> int:
        """Write as many bytes as possible. Raises OSError when none can be written, DataLoss."""
        self.check_size(at)
        done = os.pwrite(self._fd, piece, at)
        while done < len(piece):
            try:
                done += os.pwrite(self._fd, piece[done:], at + done)
            except OSError:
                break
        self._remember_times()
        return done

    def copy_in(self, source: int, start: int, at: int, count: int) -> int:
        """copy_file_range(2) from a file; returns the byte count. Raises CopyFailed, OSError."""
        self.check_size(at)
        try:
            copied = os.copy_file_range(source, self._fd, count, start, at)
        except OSError as error:
            raise CopyFailed(error) from error
        self._remember_times()
        return copied

    def check_size(self, size: int) -> None:
        """Raises DataLoss if the file has another size; notes a changed time."""
        found = os.fstat(self._fd)
        if found.st_size != size:
            raise altered(f"it has {found.st_size} bytes where {size} were written")
        if (found.st_mtime_ns, found.st_ctime_ns) != self._times:
            self._doubted = True

    def start_writeback(self, offset: int, size: int) -> None:
        """Start writeback of a range. Raises OSError as `sync` does."""
        try:
            files.start_writeback(self._fd, offset, size)
        except OSError:
            self._lost = True
            raise

    def sync_early(self) -> None:
        """Sync while the last pieces are still being hashed. Raises OSError as `sync` does."""
        try:
            os.fsync(self._fd)
        except OSError:
            self._lost = True
            raise

    # -- inside

    def _reconcile(self) -> None:
        """Make file and state agree after an interruption or a failure. Raises OSError."""
        self._stop_copier()
        if self._lost:
            self._state = self._synced
            self._unfinished = True
        if self._unfinished:
            if os.fstat(self._fd).st_size > self.offset:
                os.ftruncate(self._fd, self.offset)
            self._remember_times()
            self._unfinished = self._lost = False

    def _stop_copier(self) -> None:
        if self._copier is not None:
            self._copier.join()
            self._state = self._copier.state
            self._unfinished = not self._altered
            self._copier = None

    def _remember_times(self) -> None:
        """Record the file's times; called after each change by this writer."""
        found = os.fstat(self._fd)
        self._times = (found.st_mtime_ns, found.st_ctime_ns)

    def _is_known_synced(self, found: os.stat_result) -> bool:
        try:
            return os.getxattr(self._fd, _SYNCED) == _record(found)
        except OSError:
            return False

    def _clear_sync_record(self) -> None:
        if self._recorded:
            self._recorded = False
            with contextlib.suppress(OSError):
                os.removexattr(self._fd, _SYNCED)
            self._remember_times()


def hash_file(fd: int, algorithm: str) -> tuple[_Hash, int]:
    """The hash of all bytes of an open file, and their number. Raises OSError."""
    hash_, offset, buffer = new_hash(algorithm), 0, memoryview(bytearray(_PIECE))
    while count := os.preadv(fd, [buffer], offset):
        hash_.update(buffer[:count])
        offset += count
    return hash_, offset


def _record(found: os.stat_result) -> bytes:
    return b"%d %d" % (found.st_size, found.st_mtime_ns)


def altered(how: str) -> DataLoss:
    """The error for ``data`` that does not contain the written bytes; ``how``: the difference."""
    return DataLoss(
        f"another program has changed the ingest's data: {how}",
        advice="abort the ingest and start over",
    )
