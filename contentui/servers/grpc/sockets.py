"""A Unix socket that appears under its name only with its final mode, owner and listener."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import tempfile
from typing import TYPE_CHECKING

from contentui.content.errors import (
    ContentError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from contentui.servers.grpc.address import MAX_PATH
from contentui.text import visible

if TYPE_CHECKING:
    from types import TracebackType


class UnixSocket:
    """A socket in a hidden directory, which `publish` moves to its name."""

    def __init__(self, path: str, mode: int, group: int | str | None) -> None:
        """Raises ContentError; see `Server.listen_unix`."""
        self._path = os.path.abspath(path)
        self._mode = mode
        self._group = -1 if group is None else _group_id(group)
        if len(os.fsencode(self._path)) > MAX_PATH:
            raise InvalidArgument(
                f"the path {visible(path)} is longer than {MAX_PATH} bytes, the limit for sockets",
                advice="choose a shorter path",
            )
        with _MappedErrors(self._path):
            _check_free(self._path)
            self._hidden = tempfile.mkdtemp(prefix=".", dir=os.path.dirname(self._path))
            self._directory = os.open(self._hidden, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._identity: tuple[int, int] | None = None

    @property
    def address(self) -> str:
        """The address to bind to: a short path into the hidden directory."""
        return f"unix:/proc/self/fd/{self._directory}/s"

    def bound(self) -> None:
        """Set the mode and group of the bound socket. Raises ContentError."""
        with _MappedErrors(self._path):
            if self._group != -1:
                os.chown("s", -1, self._group, dir_fd=self._directory)
            os.chmod("s", self._mode, dir_fd=self._directory)
            found = os.stat("s", dir_fd=self._directory)
            self._identity = found.st_ino, found.st_dev

    def publish(self) -> None:
        """Move the socket to its name, replacing one without a listener. Raises ContentError."""
        with _MappedErrors(self._path):
            _check_free(self._path)
            os.rename("s", self._path, src_dir_fd=self._directory)
            self._remove_hidden()

    def close(self) -> None:
        """Remove the socket, unless another one has its name by now."""
        with contextlib.suppress(OSError):
            found = os.stat(self._path, follow_symlinks=False)
            if (found.st_ino, found.st_dev) == self._identity:
                os.unlink(self._path)
        self._remove_hidden()

    def _remove_hidden(self) -> None:
        if self._directory < 0:
            return
        with contextlib.suppress(OSError):
            os.unlink("s", dir_fd=self._directory)
        os.close(self._directory)
        self._directory = -1
        with contextlib.suppress(OSError):
            os.rmdir(self._hidden)


def _check_free(path: str) -> None:
    """Raises FailedPrecondition if ``path`` is not a socket or has a listener; OSError."""
    try:
        found = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FailedPrecondition(
            f"{visible(path)} exists and is not a socket", advice="choose another path"
        )
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return  # left by a server that is gone
        except OSError as error:
            if error.errno == errno.ENOENT:
                return
    raise FailedPrecondition(
        f"another server listens at {visible(path)}", advice="stop it, or choose another path"
    )


def _group_id(group: int | str) -> int:
    if isinstance(group, int):
        return group
    import grp

    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise InvalidArgument(f"there is no group {visible(group)}") from None


class _MappedErrors:
    """Turns OSError into ContentError."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        if not isinstance(error, OSError):
            return
        text = f"cannot create a socket at {visible(self._path)}: {error.strerror}"
        kinds: dict[type[OSError], type[ContentError]] = {
            FileNotFoundError: NotFound,
            PermissionError: PermissionDenied,
        }
        raise kinds.get(type(error), Unavailable)(text) from error
