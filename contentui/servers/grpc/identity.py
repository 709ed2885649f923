"""The identity of a server: its uuid, process and directory, which Introspection reports."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from typing import NamedTuple

_OURS = ".contentui"
_FILE = "uuid"


class Identity(NamedTuple):
    """A server's uuid, process and directory."""

    uuid: str
    """Stored in the directory, so that clients detect another one."""
    pid: int
    pid_namespace: int
    """The inode of the pid namespace in which ``pid`` counts; 0 when unknown."""
    root: str
    """The store's directory, absolute; empty without one."""
    for_containerd: str = ""
    """The root of the containerd that alone may change this store; empty without one."""
    read_only: str = ""
    """Why the store is read-only; empty if it is not."""


def identify(root: str, *, for_containerd: str = "", read_only: str = "") -> Identity:
    """The identity of this process as the server of the directory ``root`` (empty: none).

    The uuid is created once and stored in ``.contentui/uuid``. Where it cannot be stored it is
    derived from the directory's path and inode.
    """
    absolute = os.path.realpath(root) if root else ""
    found = _uuid_of(absolute, may_write=not read_only) if absolute else str(uuid.uuid4())
    return Identity(found, os.getpid(), _pid_namespace(), absolute, for_containerd, read_only)


def _uuid_of(root: str, *, may_write: bool) -> str:
    path = os.path.join(root, _OURS, _FILE)
    stored = _read(path)
    if not stored and may_write:
        with suppress(OSError):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            _create(path)
            stored = _read(path)
    return stored or _derived(root)


def _read(path: str) -> str:
    """The uuid in a file; empty if there is no file or no valid uuid in it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return str(uuid.UUID(os.read(fd, 64).decode("ascii").strip()))
    except (OSError, ValueError):
        return ""
    finally:
        os.close(fd)


def _create(path: str) -> None:
    """Create the file atomically and durably, unless another process has created it."""
    unfinished = f"{path}.{os.getpid()}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(unfinished, flags, 0o644)
    try:
        os.write(fd, f"{uuid.uuid4()}\n".encode())
        os.fsync(fd)
        if _read(path):
            return
        with suppress(FileExistsError):
            os.link(unfinished, path)
            return
        if not _read(path):  # the file that exists has no valid uuid
            os.replace(unfinished, path)
    finally:
        os.close(fd)
        with suppress(FileNotFoundError):
            os.unlink(unfinished)


def _derived(root: str) -> str:
    """A uuid from the directory's path, device and inode."""
    try:
        status = os.stat(root)
    except OSError:
        return str(uuid.uuid4())
    key = f"{os.fsencode(root)!r}#{status.st_dev}.{status.st_ino}"
    return str(uuid.uuid5(uuid.NAMESPACE_URL, key))


def _pid_namespace() -> int:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0
