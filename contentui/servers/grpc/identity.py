"""Which service this is: what a client compares to see whether another one answers now."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from typing import NamedTuple

_OURS = ".contentui"
_FILE = "uuid"


class Identity(NamedTuple):
    """Who answers, and for which directory."""

    uuid: str
    """Another one for another directory."""
    pid: int
    pid_namespace: int
    """The inode of the pid namespace in which ``pid`` counts; 0 when unknown."""
    root: str
    """The store's directory, absolute; empty when it has none."""
    for_containerd: str = ""
    """The root of the containerd that alone may change this store; empty without one."""
    read_only: str = ""
    """Why nothing can be changed; empty when it can."""


def identify(root: str, *, for_containerd: str = "", read_only: str = "") -> Identity:
    """The identity of this process as the service of the directory ``root`` (empty: none).

    The uuid is made once and kept in the directory. Where it can't be kept it is the same for
    as long as the directory is.
    """
    absolute = os.path.realpath(root) if root else ""
    found = _uuid_of(absolute, may_write=not read_only) if absolute else str(uuid.uuid4())
    return Identity(found, os.getpid(), _pid_namespace(), absolute, for_containerd, read_only)


def _uuid_of(root: str, *, may_write: bool) -> str:
    path = os.path.join(root, _OURS, _FILE)
    kept = _read(path)
    if not kept and may_write:
        with suppress(OSError):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            _make(path)
            kept = _read(path)
    return kept or _derived(root)


def _read(path: str) -> str:
    """The uuid in a file; empty when there is none, or none that could be one."""
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


def _make(path: str) -> None:
    """Make the file, whole and durable; one that another process made first stays."""
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
        if not _read(path):  # what stands there is no uuid
            os.replace(unfinished, path)
    finally:
        os.close(fd)
        with suppress(FileNotFoundError):
            os.unlink(unfinished)


def _derived(root: str) -> str:
    """A uuid from where the directory lies: stays as long as the directory does."""
    try:
        status = os.stat(root)
    except OSError:
        return str(uuid.uuid4())
    place = f"{os.fsencode(root)!r}#{status.st_dev}.{status.st_ino}"
    return str(uuid.uuid5(uuid.NAMESPACE_URL, place))


def _pid_namespace() -> int:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0
