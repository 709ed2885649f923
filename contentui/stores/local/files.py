"""File operations that neither follow links nor forget to sync, and their errors in our words."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import stat
import threading
from typing import Any

from contentui.content.errors import (
    ContentError,
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    ReadOnly,
    ResourceExhausted,
    Unavailable,
)
from contentui.text import visible

READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
"""Never follows a link, never waits for the other end of a FIFO."""
DIRECTORY = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY
CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

_REMOVAL_ROUNDS = 20
_RENAME_NOREPLACE = 1
_SYNC_FILE_RANGE_WRITE = 2

_ADVICE: dict[int, tuple[type[ContentError], str]] = {
    errno.ENOSPC: (ResourceExhausted, "free some space on that file system"),
    errno.EDQUOT: (ResourceExhausted, "free some space, or ask for a larger quota"),
    errno.EFBIG: (ResourceExhausted, "the file system or 'ulimit -f' limits the size of a file"),
    errno.EMFILE: (ResourceExhausted, "raise the limit on open files ('ulimit -n')"),
    errno.ENFILE: (ResourceExhausted, "the machine has too many open files"),
    errno.EACCES: (PermissionDenied, "run as the owner of the store, or with sudo"),
    errno.EPERM: (PermissionDenied, "run as the owner of the store, or with sudo"),
    errno.EROFS: (ReadOnly, "the file system is mounted read-only"),
    errno.ENOENT: (NotFound, ""),
    errno.ENOTDIR: (FailedPrecondition, "something else stands where a directory should be"),
    errno.EISDIR: (FailedPrecondition, "a directory stands where a file should be"),
    errno.ELOOP: (FailedPrecondition, "a symbolic link stands where none is allowed"),
    # Not DataLoss: a network's or a cable's error passes, and the bytes may be all right.
    errno.EIO: (Unavailable, "the disk reports errors: see 'dmesg'"),
    errno.ENAMETOOLONG: (FailedPrecondition, ""),
}


def content_error(error: OSError, doing: str) -> ContentError:
    """The error to raise for ``error``; ``doing`` says what failed, as in ``writing the blob``."""
    kind, advice = _ADVICE.get(error.errno or 0, (Unavailable, ""))
    return kind(f"{visible(doing)}: {error.strerror or error}", advice=advice)


class told:  # noqa: N801 - reads as the words of a sentence: with told("writing x")
    """Raise any OSError of the block as a ContentError. A class: it costs half a generator."""

    __slots__ = ("_doing",)

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: object
    ) -> None:
        if isinstance(error, OSError):
            raise content_error(error, self._doing) from error


def read_file(path: str, directory: int, limit: int) -> bytes:
    """At most ``limit`` bytes of a file below the descriptor ``directory``. Raises OSError."""
    fd = os.open(path, READ, dir_fd=directory)
    try:
        return os.read(fd, limit)
    finally:
        os.close(fd)


def write_file(name: str, data: bytes, directory: int, *, sync: bool = False) -> None:
    """Create or overwrite a small file. Raises OSError."""
    fd = os.open(name, CREATE, 0o644, dir_fd=directory)
    try:
        write_all(fd, data)
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def replace_file(name: str, data: bytes, directory: int) -> None:
    """Put a small file in place whole or not at all, its content synced. Raises OSError."""
    temporary = name + ".tmp"
    write_file(temporary, data, directory, sync=True)
    os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write everything at the descriptor's position. Raises OSError."""
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:])


def sync_path(name: str, directory: int) -> None:
    """Sync one file below ``directory``; one that isn't there has nothing to lose."""
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(name, READ, dir_fd=directory)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def start_writeback(fd: int, offset: int = 0, size: int = 0) -> None:
    """Let the kernel begin to write a range out; a hint that shortens the fsync to come."""
    import ctypes

    call = _libc_function("sync_file_range")
    if call is not None:
        call(fd, ctypes.c_int64(offset), ctypes.c_int64(size), _SYNC_FILE_RANGE_WRITE)


def rename_new(source: str, source_dir: int, target: str, target_dir: int) -> None:
    """Rename without ever replacing: FileExistsError when ``target`` is there. Raises OSError."""
    code = _rename_noreplace(source, source_dir, target, target_dir)
    if code == 0:
        return
    if code not in (errno.EINVAL, errno.ENOSYS):
        raise OSError(code, os.strerror(code), target)
    # A file system without RENAME_NOREPLACE: link(2) refuses an existing name as well.
    os.link(source, target, src_dir_fd=source_dir, dst_dir_fd=target_dir, follow_symlinks=False)
    os.unlink(source, dir_fd=source_dir)


def _rename_noreplace(source: str, source_dir: int, target: str, target_dir: int) -> int:
    """renameat2(2), which Python lacks; returns the errno, 0 when done."""
    call = _libc_function("renameat2")
    if call is None:
        return errno.ENOSYS
    if not call(source_dir, source.encode(), target_dir, target.encode(), _RENAME_NOREPLACE):
        return 0
    import ctypes

    return ctypes.get_errno()


@functools.cache
def _libc_function(name: str) -> Any:
    """A function of the C library; None where it lacks it."""
    import ctypes

    return getattr(ctypes.CDLL(None, use_errno=True), name, None)


def link_open_file(fd: int, target: str, target_dir: int) -> None:
    """Give an unnamed file its name; FileExistsError when it is taken. Raises OSError."""
    os.link(f"/proc/self/fd/{fd}", target, dst_dir_fd=target_dir, follow_symlinks=True)


def same_file(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether two looks were at one and the same file."""
    return one.st_ino == other.st_ino and one.st_dev == other.st_dev


class Directory:
    """A directory kept open, and checked to be still the one at its path at each use.

    ``parent`` None: ``name`` is a path that a person gave, whose links are followed. Below it
    no link is.
    """

    def __init__(self, parent: Directory | None, name: str) -> None:
        self.parent = parent
        self.name = name
        self.path: str = name if parent is None else f"{parent.path}/{name}"
        self._fd = -1
        self._identity = (0, 0)
        self._replaced: list[int] = []
        self._mutex = threading.Lock()

    def fd(self) -> int:
        """A descriptor of what stands at the path now. Raises OSError."""
        if self._is_current():
            return self._fd
        above = None if self.parent is None else self.parent.fd()
        with self._mutex:
            return self._reopen(above)

    def fd_or_make(self) -> int:
        """As `fd`; makes the directory, and durably so, where it is missing. Raises OSError."""
        if self._is_current():
            return self._fd
        above = None if self.parent is None else self.parent.fd_or_make()
        with self._mutex:
            try:
                return self._reopen(above)
            except FileNotFoundError:
                self._make(above)
                return self._reopen(above)

    def close(self) -> None:
        with self._mutex:
            for fd in (self._fd, *self._replaced):
                if fd >= 0:
                    os.close(fd)
            self._fd = -1
            self._replaced.clear()

    def _is_current(self) -> bool:
        """Whether our descriptor is what stands at the path. Whatever links that path has got
        since, we were opened without following any, and identity is all that is compared.
        """
        if self._fd < 0:
            return False
        try:
            now = os.stat(self.path)
        except OSError:
            return False
        return (now.st_ino, now.st_dev) == self._identity

    def _reopen(self, above: int | None) -> int:
        flags = DIRECTORY if above is not None else DIRECTORY & ~os.O_NOFOLLOW
        fd = os.open(self.name, flags, dir_fd=above)
        found = os.fstat(fd)
        if self._fd >= 0:
            # Another thread may be using it: closed now, its number could become another file.
            self._replaced.append(self._fd)
        self._fd, self._identity = fd, (found.st_ino, found.st_dev)
        return fd

    def _make(self, above: int | None) -> None:
        with contextlib.suppress(FileExistsError):
            if above is None:
                _make_path(self.path)
            else:
                os.mkdir(self.name, 0o755, dir_fd=above)
        if above is not None:
            os.fsync(above)


def _make_path(path: str) -> None:
    """``mkdir -p``, each new directory's entry synced."""
    parent = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(parent):
        with contextlib.suppress(FileExistsError):  # another process was quicker
            _make_path(parent)
    os.mkdir(path, 0o755)
    fd = os.open(parent, DIRECTORY & ~os.O_NOFOLLOW)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove_tree(name: str, directory: int) -> None:
    """Remove what stands at ``name``, a directory with all that is in it. Raises OSError.

    Others may be writing in it, or removing it too: what is gone is fine, what is new goes.
    """
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode):
        os.unlink(name, dir_fd=directory)
        return
    fd = _open_for_removal(name, directory)
    try:
        for _ in range(_REMOVAL_ROUNDS):
            _empty_directory(fd)
            if _removed(name, directory):
                return
        os.rmdir(name, dir_fd=directory)
    finally:
        os.close(fd)


def _removed(name: str, directory: int) -> bool:
    try:
        os.rmdir(name, dir_fd=directory)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        return False
    return True


def _empty_directory(fd: int) -> None:
    for entry in os.listdir(fd):
        with contextlib.suppress(FileNotFoundError):
            try:
                os.unlink(entry, dir_fd=fd)
            except IsADirectoryError:
                remove_tree(entry, fd)


def _open_for_removal(name: str, directory: int) -> int:
    """Open a directory, made ours to empty where its mode forbids that and we own it."""
    try:
        fd = os.open(name, DIRECTORY, dir_fd=directory)
    except PermissionError:
        # Only a descriptor that needs no permission names it for chmod without following links.
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY, dir_fd=directory)
        try:
            os.chmod(f"/proc/self/fd/{fd}", 0o700)
        finally:
            os.close(fd)
        return os.open(name, DIRECTORY, dir_fd=directory)
    mode = os.fstat(fd).st_mode
    if mode & 0o300 != 0o300:
        with contextlib.suppress(PermissionError):
            os.fchmod(fd, stat.S_IMODE(mode) | 0o700)
    return fd
