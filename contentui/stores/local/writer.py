"""The one live transaction on a ref of a directory."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from typing import TYPE_CHECKING, BinaryIO, Self

from contentui.content.digest import Digest, new_hash
from contentui.content.errors import (
    ContentError,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from contentui.content.model import Info, Status, ref_bytes
from contentui.stores.local import files, ingests
from contentui.stores.local.blobs import already_exists, in_the_way
from contentui.stores.local.inflow import Inflow, SourceFailed
from contentui.stores.local.labels import checked_labels
from contentui.stores.local.timestamps import format_timestamp
from contentui.stores.local.watch import Watch, altered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from contentui.content.model import IngestId
    from contentui.content.store import Progress
    from contentui.stores.local.blobs import Blobs
    from contentui.stores.local.locks import RefLock

_REHASH_PIECE = 1 << 20
_WRITEBACK_FROM = 64 << 10
"""Bytes that are worth sending to the disk while they are hashed."""
_FILES = ("data", "ref", "startedat", "updatedat", "total", "expected", "refused")
"""All that a sound ingest can hold."""


class LocalWriter:
    """See `contentui.content.store.Writer`. Made by `LocalStore.writer` with its ref locked."""

    def __init__(
        self,
        ref: str,
        ingest: IngestId,
        parent: files.Directory,
        blobs: Blobs,
        lock: RefLock,
        *,
        total: int,
        expected: Digest | None,
        labels: Mapping[str, str] | None,
    ) -> None:
        """Raises OSError, FailedPrecondition; the lock is then the caller's to release."""
        self._ref = ref
        self._id = ingest
        self._parent = parent
        self._blobs = blobs
        self._lock = lock
        self._expected = expected
        self._declared = expected
        """The last digest that any session wanted: shown, but binding only for its own."""
        self._labels = labels or {}
        self._hash = new_hash(expected.algorithm if expected else "sha256")
        self._offset = 0
        self._refused: Digest | None = None
        self._total = total
        self._started_ns = self._updated_ns = time.time_ns()
        self._closed = False
        self._directory = self._fd = -1
        self._place = (0, 0)
        try:
            self._open()
        except BaseException:
            self._close_files()
            raise

    @property
    def ref(self) -> str:
        return self._ref

    @property
    def offset(self) -> int:
        return self._offset

    def digest(self) -> Digest:
        return Digest(f"{self._hash.name}:{self._hash.hexdigest()}")

    def status(self) -> Status:
        return Status(
            self._ref,
            self._offset,
            self._total,
            self._started_ns,
            self._updated_ns,
            self._declared,
            self._id,
            refused=self._refused,
        )

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._check_open("write to")
        self._forget_refusal()
        view = memoryview(data).cast("B")
        with files.told(f"writing ingest {self._ref}"):
            self._check_file()
            written = 0
            try:
                while written < len(view):
                    written += os.pwrite(self._fd, view[written:], self._offset + written)
            finally:
                self._watch.wrote()
                if written >= _WRITEBACK_FROM:
                    files.start_writeback(self._fd, self._offset, written)
                self._hash.update(view[:written])
                self._offset += written
                self._updated_ns = time.time_ns()

    def append_from(self, source: BinaryIO, progress: Progress | None = None) -> int:
        self._check_open("write to")
        self._forget_refusal()
        before = self._offset
        inflow = Inflow(self._fd, before, self._hash, progress, self._watch)
        try:
            with files.told(f"writing ingest {self._ref}"):
                inflow.run(source)
        except BaseException as error:
            self._offset = inflow.offset
            if not isinstance(error, DataLoss):
                with contextlib.suppress(OSError):  # stored, but not hashed: it never was
                    os.ftruncate(self._fd, self._offset)
                    self._watch.wrote()
            if isinstance(error, SourceFailed):
                raise error.error from None
            raise
        self._offset = inflow.offset
        self._updated_ns = time.time_ns()
        return self._offset - before

    def truncate(self, size: int) -> None:
        self._check_open("truncate")
        if size != 0:
            raise InvalidArgument(f"an ingest can't be truncated to {size} bytes, only to 0")
        with files.told(f"truncating ingest {self._ref}"):
            self._restart()

    def commit(
        self,
        size: int | None = None,
        expected: Digest | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Info:
        self._check_open("commit")
        labels = self._labels if labels is None else checked_labels(labels)
        try:
            with files.told(f"committing ingest {self._ref}"):
                return self._commit(size, expected or self._expected, labels)
        except ResourceExhausted:
            with contextlib.suppress(OSError, ContentError):
                self._keep()
            raise
        finally:
            self._end()

    def close(self) -> None:
        if self._closed:
            return
        try:
            with files.told(f"closing ingest {self._ref}"):
                self._keep()
        finally:
            self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- opening

    def _open(self) -> None:
        parent = self._parent.fd_or_make()
        try:
            os.mkdir(self._id, 0o755, dir_fd=parent)
        except FileExistsError:
            self._open_directory(parent)
            self._resume(parent)
        else:
            self._open_directory(parent)
            self._begin()

    def _open_directory(self, parent: int) -> None:
        self._directory = os.open(self._id, files.DIRECTORY, dir_fd=parent)
        found = os.fstat(self._directory)
        self._place = (found.st_ino, found.st_dev)

    def _begin(self) -> None:
        """Write down a new ingest, in containerd's order: ``data`` comes last."""
        files.write_file("ref", ref_bytes(self._ref), self._directory)
        self._write_times()
        self._write_total()
        self._open_data(os.O_CREAT | os.O_EXCL)
        self._write_expected()

    def _resume(self, parent: int) -> None:
        found = ingests.read_status(self._id, parent)
        if found is None:
            raise NotFound(f"ingest {self._ref} vanished while it was opened")
        if not found.damage:
            self._open_data(0)
            self._started_ns = found.started_ns or self._started_ns
            self._updated_ns = found.updated_ns
            self._declared = self._expected or found.expected
            contradicted = bool(self._total and found.total and self._total != found.total)
            self._total = self._total or found.total
            self._refused = found.refused
            if contradicted:
                self._restart()  # another total is another content
            else:
                self._rehash()
            if self._total != found.total:
                self._write_total()
        else:
            self._heal(found)
        if self._declared != found.expected:
            self._write_expected()

    def _heal(self, found: Status) -> None:
        """Make a damaged ingest sound again. Bytes stay only when they surely are this ref's."""
        data_is_ours = found.ref == self._ref
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(self._look("data").st_mode):
                raise FailedPrecondition(
                    f"the ingest's 'data' is not a file ({found.damage})",
                    advice=f"run 'contentui abort id:{self._id}'",
                )
        for name in _FILES[1:]:
            with contextlib.suppress(FileNotFoundError):
                files.remove_tree(name, self._directory)
        self._open_data(os.O_CREAT)
        if data_is_ours:
            self._rehash()
        else:
            self._restart()
        files.write_file("ref", ref_bytes(self._ref), self._directory)
        self._write_times()
        self._write_total()

    def _open_data(self, flags: int) -> None:
        wanted = flags | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            self._fd = os.open("data", wanted, 0o644, dir_fd=self._directory)
        except PermissionError:
            # A commit that was cut short had made it read-only already.
            os.chmod("data", 0o644, dir_fd=self._directory)
            self._fd = os.open("data", wanted, 0o644, dir_fd=self._directory)
        if not flags & os.O_EXCL:
            self._take_found_data(wanted)
        self._watch = Watch(self._fd)

    def _take_found_data(self, wanted: int) -> None:
        """See that data which was there can be written into."""
        found = os.fstat(self._fd)
        if not stat.S_ISREG(found.st_mode):
            raise FailedPrecondition("the ingest's 'data' is not a file")
        if found.st_nlink > 1:
            # The same file has another name, perhaps a blob's: never write into that.
            os.close(self._fd)
            os.unlink("data", dir_fd=self._directory)
            self._fd = os.open(
                "data", wanted | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=self._directory
            )
        elif not found.st_mode & stat.S_IWUSR:
            os.fchmod(self._fd, found.st_mode | stat.S_IWUSR)

    def _rehash(self) -> None:
        self._watch.trust()
        buffer = memoryview(bytearray(_REHASH_PIECE))
        offset = 0
        while count := os.preadv(self._fd, [buffer], offset):
            self._hash.update(buffer[:count])
            offset += count
        self._offset = offset

    def _restart(self) -> None:
        os.ftruncate(self._fd, 0)
        self._watch.trust()
        self._hash = new_hash(self._hash.name)
        self._offset = 0
        self._updated_ns = time.time_ns()
        self._drop_refusal()

    def _forget_refusal(self) -> None:
        """The mark was for the bytes as they were."""
        if self._refused is not None:
            self._drop_refusal()

    def _drop_refusal(self) -> None:
        """Also a mark that we can't see, as it was made for more bytes: they may come again."""
        self._refused = None
        self._mark(ingests.REFUSED, False)
        with contextlib.suppress(FileNotFoundError):
            os.unlink("refused", dir_fd=self._directory)

    def _write_times(self) -> None:
        """One inode under both names; containerd parts them when it replaces one."""
        now = format_timestamp(self._started_ns)
        files.write_file("startedat", now, self._directory)
        try:
            os.link(
                "startedat", "updatedat", src_dir_fd=self._directory, dst_dir_fd=self._directory
            )
        except OSError:
            files.write_file("updatedat", now, self._directory)

    def _write_total(self) -> None:
        if self._total:
            files.write_file("total", b"%d" % self._total, self._directory)

    def _write_expected(self) -> None:
        """Keep the wanted digest; a file of its own is made where the ref doesn't tell it."""
        if self._expected is None:
            return
        if self._expected != Digest.found_in(self._ref):
            files.write_file("expected", self._expected.encode(), self._directory)
        else:
            with contextlib.suppress(FileNotFoundError):  # what an earlier session wanted
                os.unlink("expected", dir_fd=self._directory)
        self._mark(ingests.EXPECTED, True)

    def _mark(self, bit: int, on: bool) -> None:
        mode = stat.S_IMODE(os.fstat(self._fd).st_mode)
        if bool(mode & bit) != on:
            os.fchmod(self._fd, mode ^ bit)

    # -- ending

    def _commit(self, size: int | None, expected: Digest | None, labels: Mapping[str, str]) -> Info:
        found = self._check_place()
        if size is not None and size != self._offset:
            raise FailedPrecondition(f"unexpected commit size {self._offset}, expected {size}")
        if self._watch.doubted:
            self._check_bytes()
        digest = self._checked_digest(expected)
        os.fchmod(self._fd, found.st_mode & 0o444)
        _set_commit_time(self._fd)
        os.fsync(self._fd)
        committed_ns = os.fstat(self._fd).st_mtime_ns
        try:
            self._blobs.adopt_file(digest, "data", self._directory, labels, committed_ns)
        except FileExistsError:
            os.fchmod(self._fd, found.st_mode)
            if not self._blobs.is_there(digest, self._offset):
                raise in_the_way(digest) from None
            self._remove()
            raise already_exists(digest) from None
        except BaseException:
            with contextlib.suppress(OSError):
                os.fchmod(self._fd, found.st_mode)
            raise
        self._closed = True
        with contextlib.suppress(OSError):  # the blob is there: a leftover is no failure
            self._remove(committed=True)
        self._blobs.sync(digest.algorithm)
        return Info(digest, self._offset, committed_ns, committed_ns, dict(labels))

    def _checked_digest(self, expected: Digest | None) -> Digest:
        digest = self.digest()
        if expected is not None and expected.algorithm != digest.algorithm:
            self._hash, self._offset = new_hash(expected.algorithm), 0
            self._rehash()
            digest = self.digest()
        if expected is not None and digest != expected:
            self._refuse(digest)
            raise FailedPrecondition(
                f"unexpected commit digest {digest}, expected {expected}",
                advice="the ingest is kept and marked as poisoned: abort or truncate it",
            )
        return digest

    def _refuse(self, digest: Digest) -> None:
        if self._offset < self._total:
            return  # not complete: more bytes may yet make it right
        with contextlib.suppress(OSError):
            ingests.mark_refused(self._fd, self._directory, self._offset, digest)
            self._refused = digest
            self._keep()

    def _keep(self) -> None:
        """Make what is there durable, so that the ingest can be resumed after anything.

        ``updatedat`` stays as it was made: the time of ``data`` tells when bytes arrived, and
        counts where it is the later one (content-store.md 1).
        """
        with contextlib.suppress(NotFound):  # aborted under us: nothing to keep
            self._check_place()
            os.fsync(self._fd)
            for name in _FILES[1:]:
                files.sync_path(name, self._directory)
            os.fsync(self._directory)
            os.fsync(self._parent.fd())

    def _check_file(self) -> os.stat_result:
        """The file's size must be what was written, or someone else has been at it."""
        return self._watch.check(self._offset)

    def _check_bytes(self) -> None:
        """Hash what is stored once more. Raises DataLoss when it is not what was written."""
        written = self.digest()
        self._hash = new_hash(written.algorithm)
        self._rehash()
        if self.digest() != written:
            raise altered(f"it hashes to {self.digest()} where {written} was written")

    def _check_place(self) -> os.stat_result:
        """The open file must be the one at its path, whole. Raises NotFound, DataLoss."""
        try:
            place = os.stat(self._id, dir_fd=self._parent.fd(), follow_symlinks=False)
            data = self._look("data")
        except FileNotFoundError:
            raise NotFound(
                "the ingest was removed while it was written: its bytes are gone",
                advice="start the ingest again",
            ) from None
        found = self._check_file()
        if (place.st_ino, place.st_dev) != self._place or not files.same_file(data, found):
            raise DataLoss(
                "other files stand where the ingest's were: something else has replaced them",
                advice="abort the ingest and start over",
            )
        return found

    def _look(self, name: str) -> os.stat_result:
        return os.stat(name, dir_fd=self._directory, follow_symlinks=False)

    def _remove(self, *, committed: bool = False) -> None:
        """Remove our own directory, the way that costs least when nothing foreign is in it."""
        parent = self._parent.fd()
        names = ["ref", "startedat", "updatedat"]
        names += ["total"] * bool(self._total) + ["data"] * (not committed)
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._directory)
        try:
            os.rmdir(self._id, dir_fd=parent)
        except OSError:  # a rarer file of ours, or something foreign
            files.remove_tree(self._id, parent)

    def _check_open(self, doing: str) -> None:
        if self._closed:
            raise FailedPrecondition(f"can't {doing} a closed writer")

    def _end(self) -> None:
        self._closed = True
        self._close_files()
        self._lock.release()

    def _close_files(self) -> None:
        for fd in (self._fd, self._directory):
            if fd >= 0:
                os.close(fd)
        self._fd = self._directory = -1


def _set_commit_time(fd: int) -> None:
    """Let the file's times be now, to the nanosecond: the kernel's own "now" may lag by a tick."""
    now = time.time_ns()
    try:
        os.utime(fd, ns=(now, now))
    except PermissionError:  # another user's file, which only its owner may give a chosen time
        os.utime(fd)
