"""A Unix socket that is never there without its final mode, owner and listener."""

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
from contentui.text import visible

if TYPE_CHECKING:
    from types import TracebackType

MAX_PATH = 107
"""Bytes that a socket's path may have."""


class UnixSocket:
    """A place to bind to, hidden in a directory of its own until `publish` moves it to its name."""

    def __init__(self, path: str, mode: int, group: int | str | None) -> None:
        """Raises ContentError; see `Service.listen_unix`."""
        self._path = os.path.abspath(path)
        self._mode = mode
        self._group = -1 if group is None else _group_id(group)
        if len(os.fsencode(self._path)) > MAX_PATH:
            raise InvalidArgument(
                f"the path {visible(path)} is longer than {MAX_PATH} bytes, the limit of sockets",
                advice="choose a shorter one",
            )
        with _Told(self._path):
            _check_free(self._path)
            self._hidden = tempfile.mkdtemp(prefix=".", dir=os.path.dirname(self._path))
            self._directory = os.open(self._hidden, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._identity: tuple[int, int] | None = None

    @property
    def address(self) -> str:
        """Where to bind: a short way into the hidden directory."""
        return f"unix:/proc/self/fd/{self._directory}/s"

    def bound(self) -> None:
        """Give the socket that is there now its mode and group. Raises ContentError."""
        with _Told(self._path):
            if self._group != -1:
                os.chown("s", -1, self._group, dir_fd=self._directory)
            os.chmod("s", self._mode, dir_fd=self._directory)
            found = os.stat("s", dir_fd=self._directory)
            self._identity = found.st_ino, found.st_dev

    def publish(self) -> None:
        """Move the socket to its name, over one that nobody answers at. Raises ContentError."""
        with _Told(self._path):
            _check_free(self._path)
            os.rename("s", self._path, src_dir_fd=self._directory)
            self._remove_hidden()

    def close(self) -> None:
        """Remove the socket, if it is still ours."""
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
    """Raises FailedPrecondition when something lives at ``path``; OSError."""
    try:
        found = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FailedPrecondition(
            f"{visible(path)} is there and is no socket", advice="choose another path"
        )
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return  # left behind by a service that is gone
        except OSError as error:
            if error.errno == errno.ENOENT:
                return
    raise FailedPrecondition(
        f"another service answers at {visible(path)}", advice="stop it, or choose another path"
    )


def _group_id(group: int | str) -> int:
    if isinstance(group, int):
        return group
    import grp

    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise InvalidArgument(f"there is no group {visible(group)}") from None


class _Told:
    """What the operating system refuses, as errors for people."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        if not isinstance(error, OSError):
            return
        text = f"can't make a socket at {visible(self._path)}: {error.strerror}"
        kinds: dict[type[OSError], type[ContentError]] = {
            FileNotFoundError: NotFound,
            PermissionError: PermissionDenied,
        }
        raise kinds.get(type(error), Unavailable)(text) from error
