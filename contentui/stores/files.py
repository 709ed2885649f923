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
"""Follows no symbolic link, and does not block on a FIFO."""
DIRECTORY = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY
CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
"""The errors of a disk without a free block or inode."""
_COPY_PIECE = 1 << 20
_REMOVAL_ROUNDS = 20
_RENAME_NOREPLACE = 1
_SYNC_FILE_RANGE_WRITE = 2
_NOT_A_WRITEBACK_ERROR = frozenset({errno.EINVAL, errno.ENOSYS, errno.ESPIPE, errno.EBADF})
"""Errors of sync_file_range(2) that do not mean that a write failed."""
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
    errno.ENOTDIR: (FailedPrecondition, "remove what is in the place of a directory"),
    errno.EISDIR: (FailedPrecondition, "remove the directory that is in the place of a file"),
    errno.ELOOP: (FailedPrecondition, "remove the symbolic link: none is followed here"),
    # Not DataLoss: an error of a network or a cable is temporary, and the bytes may be intact.
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
    """Open a file that is used for locks, and make it if missing; see `private_mode`.

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
    """Create or overwrite a small file. ``shared``: writable for the group. Raises OSError."""
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
    """Close a descriptor, and ignore errors of unsynced writes; -1: none."""
    if fd >= 0:
        with contextlib.suppress(OSError):
            os.close(fd)


def share_file(fd: int, mode: int = 0o664) -> None:
    """Set the mode of a file that we own, whatever the umask is. Raises OSError."""
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
    """chmod(2) that follows no symbolic link, which another user may have put there.

    The file is not opened: closing it would drop SQLite's locks on a database. ``expected``: the
    file that is changed; None: any of this ``kind``.

    Raises:
        OSError: ENOENT when another file, or one of another kind, has the name.
    """
    with _named_file(name, directory) as (path, found):
        if stat.S_IFMT(found.st_mode) != kind or (expected and not same_file(found, expected)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        os.chmod(path, mode)


def change_group(name: str, group: int, directory: int, expected: os.stat_result) -> None:
    """Chgrp of the ``expected`` file, as `change_mode`. Raises OSError."""
    with _named_file(name, directory) as (path, found):
        if not same_file(found, expected):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        os.chown(path, -1, group)


@contextlib.contextmanager
def _named_file(name: str, directory: int | None) -> Iterator[tuple[str, os.stat_result]]:
    """A path that refers to this file even if it is renamed, and its stat result."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        yield f"/proc/self/fd/{fd}", os.fstat(fd)
    finally:
        close(fd)


def share_as_parent(path: str) -> None:
    """Share a directory that we own if its parent is shared. Raises OSError."""
    found = os.stat(path)
    is_ours = os.geteuid() in {0, found.st_uid}
    if is_ours and is_shared(os.stat(os.path.dirname(path))) and not is_shared(found):
        change_mode(path, 0o2775, kind=stat.S_IFDIR, expected=found)


def make_directory(name: str, directory: int, *, shared: bool = False) -> None:
    """mkdir(2). ``shared``: writable for the group. Raises OSError."""
    os.mkdir(name, 0o775 if shared else 0o755, dir_fd=directory)
    if shared:
        with contextlib.suppress(FileNotFoundError):
            change_mode(name, 0o2775, directory, kind=stat.S_IFDIR)


def replace_file(name: str, data: bytes, directory: int) -> None:
    """Replace a small file atomically, its content synced. Raises OSError."""
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
    """Fsync a file below ``directory``, if it exists. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(name, READ, dir_fd=directory)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def start_writeback(fd: int, offset: int = 0, size: int = 0) -> None:
    """Start writeback of a range, which shortens the next fsync (sync_file_range(2)).

    Raises:
        OSError: some of it could not be written; what was not synced before must be dropped.
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
    """Rename without replacing. Raises FileExistsError if ``target`` exists, OSError."""
    code = _rename_noreplace(source, source_dir, target, target_dir)
    if code == 0:
        return
    if code not in (errno.EINVAL, errno.ENOSYS):
        raise OSError(code, os.strerror(code), target)
    # A file system without RENAME_NOREPLACE: link(2) refuses an existing name as well.
    os.link(source, target, src_dir_fd=source_dir, dst_dir_fd=target_dir, follow_symlinks=False)
    os.unlink(source, dir_fd=source_dir)


def _rename_noreplace(source: str, source_dir: int, target: str, target_dir: int) -> int:
    """renameat2(2), which Python lacks; returns the errno, 0 for success."""
    call = _libc_function("renameat2")
    if call is None:
        return errno.ENOSYS
    if not call(source_dir, source.encode(), target_dir, target.encode(), _RENAME_NOREPLACE):
        return 0
    import ctypes

    return ctypes.get_errno()


@functools.cache
def _libc_function(name: str) -> Any:
    """A function of the C library; None if it does not exist."""
    import ctypes

    return getattr(ctypes.CDLL(None, use_errno=True), name, None)


def link_open_file(fd: int, target: str, target_dir: int) -> None:
    """Link a file without a name (O_TMPFILE). Raises FileExistsError if it exists, OSError."""
    os.link(f"/proc/self/fd/{fd}", target, dst_dir_fd=target_dir, follow_symlinks=True)


def same_file(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether two stat results are of the same file."""
    return one.st_ino == other.st_ino and one.st_dev == other.st_dev


class Directory:
    """An open directory; each use checks that it is still the one at its path.

    ``parent`` None: ``name`` is the path of the store, whose symbolic links are followed. Below it
    none are.
    """

    def __init__(self, parent: Directory | None, name: str) -> None:
        self.parent = parent
        self.name = name
        self.path: str = name if parent is None else f"{parent.path}/{name}"
        self.shared = False
        """Whether it is shared in its group; known after it was opened."""
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
        """Fail from now on if another directory is at the path. Raises OSError."""
        self.fd_or_make()
        self._is_pinned = True

    def fd(self) -> int:
        """A descriptor of the directory that is at the path now. Raises OSError."""
        if self._is_current():
            return self._fd
        above = None if self.parent is None else self.parent.fd()
        with self._mutex:
            return self._reopen(above)

    def fd_or_make(self) -> int:
        """As `fd`; makes the directory, and syncs its name, if it is missing. Raises OSError."""
        if self._is_current() and self._durable:
            return self._fd
        above = None if self.parent is None else self.parent.fd_or_make()
        with self._mutex:
            try:
                fd = self._fd if self._is_current() else self._reopen(above)
            except FileNotFoundError:
                self._make(above)
                fd = self._reopen(above)
            # The process that made it may have been killed before the sync.
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
        """Whether the descriptor is of the directory at the path.

        It was opened without following links; comparing inode and device is enough here.
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
                advice="put it back, or restart the service",
            )
        flags = DIRECTORY if above is not None else DIRECTORY & ~os.O_NOFOLLOW
        fd = os.open(self.name, flags, dir_fd=above)
        try:
            found = os.fstat(fd)
        except BaseException:
            os.close(fd)
            raise
        if self._fd >= 0:
            # Another thread may be using it: if closed now, its number could become another file.
            self._replaced.append(self._fd)
        self._fd, self._identity = fd, (found.st_ino, found.st_dev)
        self._durable = False
        self.shared = is_shared(found)
        return fd

    def _make(self, above: int | None) -> None:
        """Make the directory and sync its name; if the sync fails, remove it again."""
        if above is None or self.parent is None:
            _make_path(self.path)
            return
        with contextlib.suppress(FileExistsError):
            make_directory(self.name, above, shared=self.parent.shared)
        try:
            os.fsync(above)
        except OSError:
            # The kernel reports an error once: a later fsync would succeed without this entry.
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
    """``mkdir -p`` that syncs the name of each new directory, or removes it again."""
    parent = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(parent):
        _make_path(parent)
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:  # made by another process meanwhile
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
    """Remove a file, or a directory with its content. Raises OSError.

    Other processes may write to it or remove it at the same time.
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
    """Open a directory; change its mode if that forbids to empty it and we own it."""
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
