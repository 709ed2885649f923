"""The writer of an ingest: open or resume, append, commit or close (see `LocalWriter`)."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from typing import TYPE_CHECKING, BinaryIO, Self

from contentui.content.errors import (
    AlreadyExists,
    ContentError,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from contentui.content.model import Info, Status
from contentui.content.rules import checked_labels
from contentui.stores import files, forks
from contentui.stores.local import ingest_dir
from contentui.stores.local.blobs import already_exists
from contentui.stores.local.copier import SourceFailed
from contentui.stores.local.data import IngestData
from contentui.stores.local.ingest_dir import IngestDirectory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from contentui.content.digest import Digest
    from contentui.content.model import IngestId
    from contentui.content.streams import Progress
    from contentui.stores.local.blobs import Blobs
    from contentui.stores.local.locks import RefLock


class LocalWriter:
    """See `contentui.content.store.Writer`. Made by `LocalStore.writer` with its ref locked.

    It does what containerd's ``content/local/writer.go`` does, and syncs. Without `close`, garbage
    collection releases its ref and descriptors; its bytes stay. In a forked child only `close` may
    be called, which does not change the ingest.
    """

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
        """Raises OSError, FailedPrecondition, and releases the lock then."""
        self._closed = False
        self._generation = forks.generation
        self._resources = contextlib.ExitStack()
        self._resources.callback(lock.release)
        self._ref = ref
        self._id = ingest
        self._parent = parent
        self._blobs = blobs
        self._expected = expected
        self._declared = expected
        """The expected digest that status shows: an earlier session's, if this one has none."""
        self._labels = labels or {}
        self._algorithm = expected.algorithm if expected else "sha256"
        self._refused: Digest | None = None
        self._total = total
        self._started_ns = self._updated_ns = time.time_ns()
        try:
            self._open()
        except BaseException:
            self._end()
            raise

    @property
    def ref(self) -> str:
        return self._ref

    @property
    def offset(self) -> int:
        return self._data.offset

    def digest(self) -> Digest:
        return self._data.digest()

    def status(self) -> Status:
        return Status(
            self._ref,
            self.offset,
            self._total,
            self._started_ns,
            self._updated_ns,
            self._declared,
            self._id,
            refused=self._refused,
        )

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._check_open("write to")
        with files.map_errors(f"writing ingest {self._ref}"):
            self._forget_refusal()
            try:
                self._data.append(memoryview(data).cast("B"))
            finally:
                self._updated_ns = self._data.changed_ns

    def append_from(self, source: BinaryIO, progress: Progress | None = None) -> int:
        self._check_open("write to")
        self._forget_refusal()
        before = self.offset
        try:
            with files.map_errors(f"writing ingest {self._ref}"):
                self._data.append_from(source, progress)
        except SourceFailed as error:
            raise error.error from None
        finally:
            self._updated_ns = self._data.changed_ns
        return self.offset - before

    def truncate(self, size: int) -> None:
        self._check_open("truncate")
        if size != 0:
            raise InvalidArgument(f"an ingest can't be truncated to {size} bytes, only to 0")
        with files.map_errors(f"truncating ingest {self._ref}"):
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
            with files.map_errors(f"committing ingest {self._ref}"):
                return self._commit(size, expected or self._expected, labels)
        except (AlreadyExists, DataLoss, NotFound):
            raise
        except ContentError as error:
            try:
                self._sync()
            except (OSError, ContentError) as failure:
                why = getattr(failure, "strerror", None) or failure
                error.advice += f"; the ingest could not be synced ({why})"
            raise
        except BaseException:
            self._clean_up_after_interruption()
            raise
        finally:
            self._end()

    def close(self) -> None:
        if self._closed:
            return
        try:
            if self._generation == forks.generation:
                with files.map_errors(f"closing ingest {self._ref}"):
                    self._sync()
        finally:
            self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_resources"):
            self._end()

    # -- opening

    def _open(self) -> None:
        self._directory = IngestDirectory(self._id, self._parent)
        self._resources.callback(self._directory.close)
        if self._directory.is_new:
            self._use_data(self._directory.make(self._ref, self._started_ns, self._total))
            self._data.set_time(self._started_ns)
            self._write_expected()
        else:
            self._resume()

    def _use_data(self, fd: int) -> None:
        self._resources.callback(files.close, fd)
        self._data = IngestData(fd, self._algorithm)

    def _resume(self) -> None:
        found = ingest_dir.read_sound_status(self._id, self._parent.fd())
        if found is None:
            raise NotFound(f"ingest {self._ref} vanished while it was opened")
        if not found.damage:
            self._use_data(self._directory.open_data())
            self._started_ns = found.started_ns or self._started_ns
            self._updated_ns = found.updated_ns
            self._declared = self._expected or found.expected
            contradicted = bool(self._total and found.total and self._total != found.total)
            self._total = self._total or found.total
            self._refused = found.refused
            if contradicted:
                self._restart()  # another total: another content
            else:
                self._data.load(self._algorithm)
            if self._total != found.total:
                self._directory.write_total(self._total)
        else:
            self._repair(found)
        if self._declared != found.expected:
            self._write_expected()
            if found.expected is not None:  # `ingest_dir.refreshed` reads it again for the time
                self._data.set_time(time.time_ns())

    def _repair(self, found: Status) -> None:
        """Repair a damaged ingest. Its bytes are kept only if ``ref`` proves to be its own."""
        data = self._directory.open_data(create=True)
        self._use_data(data)
        self._directory.clear_files()
        if found.ref == self._ref:
            self._data.load(self._algorithm)
        else:
            self._restart()
        self._directory.write_files(self._ref, self._started_ns, self._total)

    def _restart(self) -> None:
        self._data.restart()
        self._updated_ns = self._data.changed_ns
        self._drop_refusal()

    def _forget_refusal(self) -> None:
        """Remove the mark: it is valid for the bytes before this change only."""
        if self._refused is not None:
            self._drop_refusal()

    def _drop_refusal(self) -> None:
        """Also a mark that was not read because it is for more bytes: they may be written again."""
        self._refused = None
        self._mark(ingest_dir.REFUSED, on=False)
        self._directory.remove_file("refused")

    def _write_expected(self) -> None:
        if self._expected is not None:
            self._directory.write_expected(self._expected, self._ref)
            self._mark(ingest_dir.EXPECTED, on=True)

    def _mark(self, bit: int, *, on: bool) -> None:
        mode = stat.S_IMODE(os.fstat(self._data.fd).st_mode)
        self._data.set_mode(mode | bit if on else mode & ~bit)

    # -- ending

    def _commit(self, size: int | None, expected: Digest | None, labels: Mapping[str, str]) -> Info:
        found = self._data.check()
        self._directory.check_place(found)
        offset = self._data.offset
        if size is not None and size != offset:
            raise FailedPrecondition(f"unexpected commit size {offset}, expected {size}")
        self._data.verify_if_doubted()
        digest = self._checked_digest(expected)
        mode = stat.S_IMODE(found.st_mode)
        try:
            self._data.finish(mode & 0o444, time.time_ns())
            committed_ns = os.fstat(self._data.fd).st_mtime_ns
            self._adopt(digest, labels, committed_ns)
        except (OSError, ContentError):
            with contextlib.suppress(OSError):
                self._data.set_mode(mode)
            raise
        with contextlib.suppress(OSError):  # the blob exists: leftover files are no failure
            self._remove(committed=True)
        return Info(digest, offset, committed_ns, committed_ns, dict(labels))

    def _adopt(self, digest: Digest, labels: Mapping[str, str], committed_ns: int) -> None:
        """Make ``data`` the blob. Raises AlreadyExists after removing the ingest."""
        while True:
            try:
                self._blobs.adopt_file(digest, "data", self._directory.fd, labels, committed_ns)
                return
            except FileExistsError:
                if self._blobs.exists(digest, self._data.offset):
                    break
                # deleted meanwhile: try again
        self._remove()
        raise already_exists(digest)

    def _checked_digest(self, expected: Digest | None) -> Digest:
        if expected is not None and expected.algorithm != self._data.digest().algorithm:
            self._data.rehash(expected.algorithm)
        digest = self._data.digest()
        if expected is not None and digest != expected:
            raise FailedPrecondition(
                f"unexpected commit digest {digest}, expected {expected}",
                advice=f"the ingest is kept{self._refuse(digest)}: abort or truncate it",
            )
        return digest

    def _refuse(self, digest: Digest) -> str:
        """Mark a complete ingest as refused; returns the result for the error message."""
        if self.offset < self._total:
            return ""  # incomplete: more bytes may lead to the expected digest
        try:
            self._data.sync()
            self._directory.mark_refused(self._data.fd, self.offset, digest)
        except OSError as error:
            return f", but could not be marked as poisoned ({error.strerror})"
        self._refused = digest
        return " and marked as poisoned"

    def _sync(self) -> None:
        """Sync the ingest, so that it can be resumed after a crash.

        ``updatedat`` is not changed: the mtime of ``data`` records when bytes arrived, and the
        later of both is the time of the update (containerd ``content/local/store.go``, status).
        """
        with contextlib.suppress(NotFound):  # aborted meanwhile: nothing to sync
            self._directory.check_place(self._data.check())
            self._data.sync()
            self._data.record_sync()
            self._directory.sync()

    def _clean_up_after_interruption(self) -> None:
        """Remove the ingest if the interrupted commit had created the blob."""
        with contextlib.suppress(OSError):
            if not self._directory.has_data():
                self._remove(committed=True)

    def _remove(self, *, committed: bool = False) -> None:
        names = ["ref", "startedat", "updatedat"]
        self._directory.remove(names + ["total"] * bool(self._total) + ["data"] * (not committed))

    def _check_open(self, doing: str) -> None:
        if self._closed:
            raise FailedPrecondition(f"can't {doing} a closed writer")
        if self._generation != forks.generation:
            raise FailedPrecondition(
                f"can't {doing} a writer of the parent process",
                advice="close it here, and open a writer in the process that writes",
            )

    def _end(self) -> None:
        self._closed = True  # first: after an interruption `__del__` closes what is still open
        self._resources.close()
