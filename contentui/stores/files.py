"""File operations that follow no links and sync what they must, and the errors they raise."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import stat
import threading
import time
from typing import TYPE_CHECKING, Any

from contentui.content.errors import (
    ContentError,
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    ReadOnly,
    ResourceExhausted,
    Unavailable,
)
from contentui.stores import forks
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

STATE_DIR = ".contentui"
"""The directory of contentui inside a store's root; containerd ignores it."""

READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
"""Never follows a link, never waits for the other end of a FIFO."""
DIRECTORY = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY
CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What a disk without a free block or inode answers."""
_COPY_PIECE = 1 << 20
_REMOVAL_ROUNDS = 20
_RENAME_NOREPLACE = 1
_SYNC_FILE_RANGE_WRITE = 2
_NOT_A_WRITEBACK_ERROR = frozenset({errno.EINVAL, errno.ENOSYS, errno.ESPIPE, errno.EBADF})
"""What sync_file_range answers where it isn't implemented: nothing failed to reach the disk."""
_RECENT_NS = 120 * 10**9
"""A directory entry younger than this may not be durable: its creator may not have synced it."""
_SHARED = stat.S_ISGID | stat.S_IWGRP

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
    errno.ENOLCK: (
        Unavailable,
        "the file system can't lock files: on NFS start its lock service, or use another directory",
    ),
}


def content_error(error: OSError, doing: str) -> ContentError:
    """The error to raise for ``error``; ``doing`` is the action that failed: "writing the blob"."""
    kind, advice = _ADVICE.get(error.errno or 0, (Unavailable, ""))
    return kind(f"{visible(doing)}: {error.strerror or error}", advice=advice)


class map_errors:  # noqa: N801 - used like a function
    """Raise an OSError of the block as a ContentError: ``with map_errors("writing the blob"):``.

    A class, since entering one takes half the time of a ``contextmanager`` generator.
    """

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


def exists(path: str, directory: int | None = None) -> bool:
    """Whether something has this name, links included.

    Only ENOENT and ENOTDIR mean that it is missing. Raises any other OSError: treating it as
    "missing" would overwrite what is there.
    """
    try:
        os.stat(path, dir_fd=directory, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def is_recent(found: os.stat_result) -> bool:
    """Whether a file was created within the last two minutes, and may not be durable yet."""
    return abs(time.time_ns() - found.st_ctime_ns) < _RECENT_NS


def is_shared(found: os.stat_result) -> bool:
    """Whether a store's directory is shared in its group: setgid and writable for the group."""
    return found.st_mode & _SHARED == _SHARED


def open_private(name: str, flags: int, directory: int) -> int:
    """Open a file of ours that is locked, made where it is missing; see `private_mode`.

    The mode of an existing file is corrected: a user who can read it can hold a read lock, which
    blocks every writer. Raises OSError.
    """
    mode = private_mode(directory)
    fd = os.open(name, flags | os.O_CREAT, mode, dir_fd=directory)
    try:
        found = os.fstat(fd)
        if stat.S_IMODE(found.st_mode) != mode and os.geteuid() in {0, found.st_uid}:
            os.fchmod(fd, mode)
    except BaseException:
        os.close(fd)
        raise
    return fd


def private_mode(directory: int) -> int:
    """The mode of files that are locked: 0600, or 0660 in a store that is shared in its group."""
    return 0o660 if is_shared(os.fstat(directory)) else 0o600


def read_file(path: str, directory: int, limit: int) -> bytes:
    """At most ``limit`` bytes of a file below the descriptor ``directory``. Raises OSError."""
    fd = os.open(path, READ, dir_fd=directory)
    try:
        return os.read(fd, limit)
    finally:
        os.close(fd)


def write_file(
    name: str, data: bytes, directory: int, *, sync: bool = False, shared: bool = False
) -> None:
    """Create or overwrite a small file, ``shared``: for the group too. Raises OSError."""
    fd = os.open(name, CREATE, 0o644, dir_fd=directory)
    try:
        if shared:
            share_file(fd)
        write_all(fd, data)
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def close(fd: int) -> None:
    """Close a descriptor of which nothing unsynced counts; -1 is none."""
    if fd >= 0:
        with contextlib.suppress(OSError):
            os.close(fd)


def share_file(fd: int, mode: int = 0o664) -> None:
    """Open a file that we own to the group, whatever the umask is. Raises OSError."""
    found = os.fstat(fd)
    if stat.S_IMODE(found.st_mode) != mode and os.geteuid() in {0, found.st_uid}:
        os.fchmod(fd, mode)


def change_mode(
    name: str,
    mode: int,
    directory: int | None = None,
    *,
    kind: int = stat.S_IFREG,
    expected: os.stat_result | None = None,
) -> None:
    """Chmod without following a link, which another user may just have put there.

    Nor is the file opened: closing it would drop SQLite's locks on a database. ``expected``: the
    file that is meant; else any of this ``kind``.

    Raises:
        OSError: ENOENT when another file, or one of another kind, has the name.
    """
    with _named_file(name, directory) as (path, found):
        if stat.S_IFMT(found.st_mode) != kind or (expected and not same_file(found, expected)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        os.chmod(path, mode)


def change_group(name: str, group: int, directory: int, expected: os.stat_result) -> None:
    """Chgrp of the file that is meant, as `change_mode`. Raises OSError."""
    with _named_file(name, directory) as (path, found):
        if not same_file(found, expected):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        os.chown(path, -1, group)


@contextlib.contextmanager
def _named_file(name: str, directory: int | None) -> Iterator[tuple[str, os.stat_result]]:
    """A path that stays this very file's, and the look at it. No link is followed."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        yield f"/proc/self/fd/{fd}", os.fstat(fd)
    finally:
        close(fd)


def share_as_parent(path: str) -> None:
    """Open a directory of ours to the group where the one above is. Raises OSError."""
    found = os.stat(path)
    is_ours = os.geteuid() in {0, found.st_uid}
    if is_ours and is_shared(os.stat(os.path.dirname(path))) and not is_shared(found):
        change_mode(path, 0o2775, kind=stat.S_IFDIR, expected=found)


def make_directory(name: str, directory: int, *, shared: bool = False) -> None:
    """mkdir, ``shared``: for the group too. Raises OSError."""
    os.mkdir(name, 0o775 if shared else 0o755, dir_fd=directory)
    if shared:
        with contextlib.suppress(FileNotFoundError):
            change_mode(name, 0o2775, directory, kind=stat.S_IFDIR)


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


def copy_bytes(source: int, target: int, size: int) -> None:
    """Copy the first ``size`` bytes from one open file to another, empty one. Raises OSError."""
    offset = 0
    while offset < size:
        piece = os.pread(source, min(size - offset, _COPY_PIECE), offset)
        if not piece:
            raise OSError(errno.EIO, "the file became shorter while it was copied")
        write_all(target, piece)
        offset += len(piece)


def sync_path(name: str, directory: int) -> None:
    """Sync one file below ``directory``; one that isn't there has nothing to lose."""
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(name, READ, dir_fd=directory)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def start_writeback(fd: int, offset: int = 0, size: int = 0) -> None:
    """Let the kernel begin to write a range out, which shortens the fsync to come.

    Raises:
        OSError: some of it could not be written: what was not synced before is not to be trusted.
    """
    import ctypes

    call = _libc_function("sync_file_range")
    if call is None:
        return
    if call(fd, ctypes.c_int64(offset), ctypes.c_int64(size), _SYNC_FILE_RANGE_WRITE):
        code = ctypes.get_errno()
        if code not in _NOT_A_WRITEBACK_ERROR:
            raise OSError(code, os.strerror(code))


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
        self.shared = False
        """Whether what is made here is for the group too; known once it was opened."""
        self._fd = -1
        self._identity = (0, 0)
        self._durable = False
        self._is_pinned = False
        self._replaced: list[int] = []
        self._mutex = threading.Lock()
        forks.reset_in_child(self)

    def after_fork(self) -> None:
        """In a forked child: a thread of the parent may have had the mutex."""
        self._mutex = threading.Lock()

    def pin(self) -> None:
        """From now on only the directory that is here now will do. Raises OSError."""
        self.fd_or_make()
        self._is_pinned = True

    def fd(self) -> int:
        """A descriptor of what stands at the path now. Raises OSError."""
        if self._is_current():
            return self._fd
        above = None if self.parent is None else self.parent.fd()
        with self._mutex:
            return self._reopen(above)

    def fd_or_make(self) -> int:
        """As `fd`; makes the directory, and durably so, where it is missing. Raises OSError."""
        if self._is_current() and self._durable:
            return self._fd
        above = None if self.parent is None else self.parent.fd_or_make()
        with self._mutex:
            try:
                fd = self._fd if self._is_current() else self._reopen(above)
            except FileNotFoundError:
                self._make(above)
                fd = self._reopen(above)
            # Its creator may have been killed before the sync.
            if is_recent(os.fstat(fd)):
                _sync_parent(self.path, above)
            self._durable = True
            return fd

    def close(self) -> None:
        with self._mutex:
            fds, self._fd, self._replaced = [self._fd, *self._replaced], -1, []
            for fd in fds:
                close(fd)

    def __del__(self) -> None:
        if hasattr(self, "_mutex"):
            self.close()

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
        self.shared = is_shared(now)  # it may have become so since
        return (now.st_ino, now.st_dev) == self._identity

    def _reopen(self, above: int | None) -> int:
        if self._is_pinned:
            raise Unavailable(
                f"{visible(self.path)} was moved, removed or unmounted while it was in use",
                advice="put it back, or start the service anew",
            )
        flags = DIRECTORY if above is not None else DIRECTORY & ~os.O_NOFOLLOW
        fd = os.open(self.name, flags, dir_fd=above)
        try:
            found = os.fstat(fd)
        except BaseException:
            os.close(fd)
            raise
        if self._fd >= 0:
            # Another thread may be using it: closed now, its number could become another file.
            self._replaced.append(self._fd)
        self._fd, self._identity = fd, (found.st_ino, found.st_dev)
        self._durable = False
        self.shared = is_shared(found)
        return fd

    def _make(self, above: int | None) -> None:
        """Make the directory and sync its name; without the sync it is not made."""
        if above is None or self.parent is None:
            _make_path(self.path)
            return
        with contextlib.suppress(FileExistsError):
            make_directory(self.name, above, shared=self.parent.shared)
        try:
            os.fsync(above)
        except OSError:
            # The error is reported once: a later sync would succeed, and prove nothing.
            with contextlib.suppress(OSError):
                os.rmdir(self.name, dir_fd=above)
            raise


def _sync_parent(path: str, above: int | None) -> None:
    """Sync the directory that ``path`` is in; ``above`` is its descriptor, if there is one."""
    if above is not None:
        os.fsync(above)
        return
    with contextlib.suppress(PermissionError):  # another user's directory
        fd = os.open(os.path.dirname(os.path.abspath(path)), DIRECTORY & ~os.O_NOFOLLOW)
        try:
            os.fsync(fd)
        finally:
            close(fd)


def _make_path(path: str) -> None:
    """``mkdir -p``, each new directory's name synced, or it is removed again."""
    parent = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(parent):
        _make_path(parent)
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:  # another process was quicker
        if not os.path.isdir(path):
            raise
    try:
        fd = os.open(parent, DIRECTORY & ~os.O_NOFOLLOW)
        try:
            os.fsync(fd)
        finally:
            close(fd)
    except OSError:
        with contextlib.suppress(OSError):
            os.rmdir(path)
        raise


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
        change_mode(name, 0o700, directory, kind=stat.S_IFDIR)
        return os.open(name, DIRECTORY, dir_fd=directory)
    try:
        mode = os.fstat(fd).st_mode
        if mode & 0o300 != 0o300:
            with contextlib.suppress(PermissionError):
                os.fchmod(fd, stat.S_IMODE(mode) | 0o700)
    except BaseException:
        close(fd)
        raise
    return fd
