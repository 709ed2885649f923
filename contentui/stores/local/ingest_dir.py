"""The directory of one ingest, as its writer makes, resumes, keeps and removes it."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from contentui.content.digest import Digest
from contentui.content.errors import DataLoss, FailedPrecondition, NotFound
from contentui.content.model import ref_bytes
from contentui.stores import files
from contentui.stores.local import ingests
from contentui.stores.local.timestamps import format_timestamp

if TYPE_CHECKING:
    from contentui.content.model import IngestId

_FACTS = ("ref", "startedat", "updatedat", "total", "expected", "refused")
"""All that a sound ingest can hold beside ``data``."""
_DATA = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class IngestDirectory:
    """An open ingest directory; the caller holds the ref's lock."""

    def __init__(self, ingest: IngestId, parent: files.Directory) -> None:
        """Open or make it. Raises OSError."""
        self._id = ingest
        self._parent = parent
        self._above = parent.fd_or_make()
        self.fd = -1
        self.is_new = True
        """Whether it was made just now and holds nothing yet."""
        try:
            files.make_directory(ingest, self._above, shared=parent.shared)
        except FileExistsError:
            self.is_new = False
        try:
            self.fd = os.open(ingest, files.DIRECTORY, dir_fd=self._above)
            found = os.fstat(self.fd)
        except BaseException:
            self.close()
            if self.is_new:
                self.discard()
            raise
        self._place = (found.st_ino, found.st_dev)

    # -- making

    def make(self, ref: str, started_ns: int, total: int) -> int:
        """Write a new ingest, in containerd's order: ``data`` comes last, and is returned open.

        A disk that fills up meanwhile leaves nothing of it. Raises OSError.
        """
        try:
            self.write_facts(ref, started_ns, total)
            return self._open_data(os.O_CREAT | os.O_EXCL)
        except BaseException:
            self.discard()
            raise

    def write_facts(self, ref: str, started_ns: int, total: int) -> None:
        """Write down all that doesn't change. Raises OSError."""
        self._write("ref", ref_bytes(ref))
        # One inode under both names; containerd parts them when it replaces one.
        now = format_timestamp(started_ns)
        self._write("startedat", now)
        try:
            os.link("startedat", "updatedat", src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except OSError:
            self._write("updatedat", now)
        self.write_total(total)

    def write_total(self, total: int) -> None:
        """Raises OSError."""
        if total:
            self._write("total", b"%d" % total)

    def write_expected(self, expected: Digest, ref: str) -> None:
        """Keep the wanted digest; a file of its own is made where the ref doesn't name it."""
        if expected != Digest.found_in(ref):
            self._write("expected", expected.encode())
        else:
            self.remove_fact("expected")  # what an earlier session wanted

    def remove_fact(self, name: str) -> None:
        """Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)

    def clear_facts(self) -> None:
        """Remove everything but ``data``, whatever it is. Raises OSError."""
        for name in _FACTS:
            with contextlib.suppress(FileNotFoundError):
                files.remove_tree(name, self.fd)

    # -- data

    def open_data(self, *, makes: bool = False) -> int:
        """``data``, to be read and written. Raises OSError, FailedPrecondition."""
        try:
            if not stat.S_ISREG(self.look("data").st_mode):
                raise _no_file(self._id)
        except FileNotFoundError:
            if not makes:
                raise
        fd = self._open_data(os.O_CREAT if makes else 0)
        try:
            return self._writable(fd)
        except BaseException:
            os.close(fd)
            raise

    def _open_data(self, flags: int) -> int:
        try:
            fd = os.open("data", flags | _DATA, 0o644, dir_fd=self.fd)
        except PermissionError:
            if not files.exists("data", self.fd):
                raise
            # A commit that was cut short had made it read-only already.
            files.change_mode("data", 0o644, self.fd)
            fd = os.open("data", flags | _DATA, 0o644, dir_fd=self.fd)
        if flags & os.O_CREAT and self._parent.shared:
            files.share_file(fd)
        return fd

    def _writable(self, fd: int) -> int:
        """See that data which was there can be written into, and is ours alone."""
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise _no_file(self._id)
        if found.st_nlink > 1:
            # The same file has another name, perhaps a blob's: never write into that.
            os.unlink("data", dir_fd=self.fd)
            os.close(fd)
            return self._open_data(os.O_CREAT | os.O_EXCL)
        if os.geteuid() not in {0, found.st_uid}:
            return self._own_copy(fd, found)
        if not found.st_mode & stat.S_IWUSR:
            os.fchmod(fd, found.st_mode | stat.S_IWUSR)
        return fd

    def _own_copy(self, fd: int, found: os.stat_result) -> int:
        """Another user's bytes in a file of ours: only a file's owner may make it read-only."""
        self.remove_fact("data.tmp")
        own = os.open("data.tmp", _DATA | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=self.fd)
        try:
            files.share_file(own, stat.S_IMODE(found.st_mode) | stat.S_IWUSR)
            files.copy_bytes(fd, own, found.st_size)
            os.utime(own, ns=(found.st_mtime_ns, found.st_mtime_ns))
            os.rename("data.tmp", "data", src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except BaseException:
            os.close(own)
            raise
        os.close(fd)
        return own

    def look(self, name: str) -> os.stat_result:
        """Raises OSError."""
        return os.stat(name, dir_fd=self.fd, follow_symlinks=False)

    # -- keeping and removing

    def check_place(self, data: os.stat_result) -> None:
        """The open files must be the ones at their paths. Raises NotFound, DataLoss."""
        try:
            place = os.stat(self._id, dir_fd=self._parent.fd(), follow_symlinks=False)
            now = self.look("data")
        except FileNotFoundError:
            raise NotFound(
                "the ingest was removed while it was written: its bytes are gone",
                advice="start the ingest again",
            ) from None
        if (place.st_ino, place.st_dev) != self._place or not files.same_file(now, data):
            raise DataLoss(
                "the ingest's files were replaced by others while it was written",
                advice="abort the ingest and start over",
            )

    def sync(self) -> None:
        """Make all but the bytes durable. Raises OSError."""
        for name in _FACTS:
            files.sync_path(name, self.fd)
        os.fsync(self.fd)
        os.fsync(self._parent.fd())

    def mark_refused(self, data: int, size: int, digest: Digest) -> None:
        """See `ingests.mark_refused`. Raises OSError."""
        ingests.mark_refused(data, self.fd, size, digest, shared=self._parent.shared)

    def has_data(self) -> bool:
        """Raises OSError."""
        return files.exists("data", self.fd)

    def remove(self, names: list[str]) -> None:
        """Remove the directory, the way that costs least when it holds just these."""
        parent = self._parent.fd()
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self.fd)
        try:
            os.rmdir(self._id, dir_fd=parent)
        except OSError:  # a rarer file of ours, or something foreign
            files.remove_tree(self._id, parent)

    def discard(self) -> None:
        """Remove the directory, as far as that goes."""
        with contextlib.suppress(OSError):
            files.remove_tree(self._id, self._above)

    def close(self) -> None:
        """Twice is fine."""
        fd, self.fd = self.fd, -1
        files.close(fd)

    def _write(self, name: str, data: bytes) -> None:
        files.write_file(name, data, self.fd, shared=self._parent.shared)


def _no_file(ingest: IngestId) -> FailedPrecondition:
    return FailedPrecondition(
        "the ingest's 'data' is not a file", advice=f"run 'contentui abort id:{ingest}'"
    )
