"""The marks in ``.contentui`` that tell who keeps a directory."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from typing import TYPE_CHECKING

from contentui.stores.local import files, forks, procfs
from contentui.text import visible

if TYPE_CHECKING:
    from typing import Self

OURS = ".contentui"
"""Our own directory inside a store's root; containerd's store never looks at it."""
ADOPTED = "adopted"
OWNER = "owner"
DEDICATED = "containerd"
_LIMIT = 16 * 1024
_UNREADABLE = "(its socket can't be read)"
_FLOCK = struct.Struct("@hhqqi4x")
_WHOLE = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


class Claim:
    """A running service's hold on a directory; close it, or leave its ``with`` block.

    The kernel lets go of it when the process dies, however it dies.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        forks.reset_in_child(self)

    def after_fork(self) -> None:
        """In a forked child: the claim is the parent's, and must not outlive it in us."""
        fd, self._fd = self._fd, -1
        files.close(fd)

    @property
    def is_held(self) -> bool:
        return self._fd >= 0

    def close(self) -> None:
        """Let go. Twice is fine."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
                # Said aloud: a forked child may hold a copy.
                request = _FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0)
                fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, request)
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def lock_owner_mark(root: str) -> int:
    """The owner's mark, open and locked; -1 when somebody has it. Raises OSError."""
    ours = files.Directory(files.Directory(None, root), OURS)
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        while True:
            directory = ours.fd_or_make()
            fd = files.open_private(OWNER, flags, directory)
            try:
                fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _WHOLE)
                if files.same_file(os.stat(OWNER, dir_fd=directory), os.fstat(fd)):
                    return fd
            except (BlockingIOError, PermissionError):
                os.close(fd)
                return -1
            except FileNotFoundError:
                pass
            os.close(fd)  # it was replaced between opening and locking
    finally:
        ours.close()


def service_socket(root: str) -> str:
    """The URL of our service that owns ``root``, while it runs; else empty.

    Raises OSError if unknown.
    """
    try:
        fd = _open_mark(root, OWNER)
    except PermissionError:
        locks = procfs.locks_on(os.stat(os.path.join(root, OURS, OWNER)))
        return _UNREADABLE if locks else ""
    if fd is None:
        return ""
    try:
        if not _is_owned(fd):
            return ""
        raw = os.pread(fd, _LIMIT, 0)
    except OSError:
        raw = b""
    finally:
        files.close(fd)
    import json

    try:
        return visible(str(json.loads(raw)["socket"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return _UNREADABLE


def dedicated_to(root: str) -> str:
    """The root of the containerd whose content our service keeps in ``root``; else empty.

    Raises OSError if unknown.
    """
    fd = _open_mark(root, DEDICATED)
    if fd is None:
        return ""
    try:
        raw = os.read(fd, _LIMIT)
    except OSError:
        raw = b""
    finally:
        files.close(fd)
    return raw.removesuffix(b"\n").decode("utf-8", "surrogateescape") or "(can't be read)"


def _open_mark(root: str, name: str) -> int | None:
    """None: there is none, or a symbolic link, which is never ours. Raises OSError."""
    try:
        return os.open(os.path.join(root, OURS, name), files.READ)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            return None
        raise


def _is_owned(fd: int) -> bool:
    """Whether somebody holds the mark: a look, which takes nothing."""
    kind: int = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _WHOLE))[0]
    return kind != fcntl.F_UNLCK
