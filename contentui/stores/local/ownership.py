"""Whose directory this is: other people's are read-only (architecture, promise 6)."""

from __future__ import annotations

import fcntl
import os

from contentui.content.errors import FailedPrecondition
from contentui.stores.local import files
from contentui.text import visible

OURS = ".contentui"
"""Our own directory inside a store's root; containerd's store never looks at it."""
CONTAINERD_CONTENT = "io.containerd.content.v1.content"
"""The content store's directory inside a containerd's root."""
_META_DB = "io.containerd.metadata.v1.bolt/meta.db"
_ADOPTED = "adopted"
_OWNER = "owner"
_MOUNTED_ALONE = (
    "this is a containerd's directory, mounted without the database beside it: whether that "
    "daemon lives can't be seen; mount the directory above it"
)


def read_only_reason(root: str) -> str:
    """Why the directory ``root`` must not be changed from here; empty when it may be."""
    owner = _service_socket(root)
    if owner:
        return f"a contentui service owns this directory: change it through --store unix://{owner}"
    meta_db = _meta_db(root)
    if meta_db is None:
        return _MOUNTED_ALONE if _is_mounted_alone(root) else ""
    adopted = os.path.lexists(os.path.join(root, OURS, _ADOPTED))
    if _is_locked(meta_db) or (adopted and _is_locked_elsewhere(meta_db)):
        return (
            "a running containerd owns this directory: only it may change it (watching is safe); "
            "'ctr content' removes blobs through it"
        )
    if adopted:
        return ""
    return (
        "this directory belongs to a containerd, whose database would contradict any change: "
        f"when that daemon is gone for good, run 'contentui adopt {visible(root)}'"
    )


def is_containerds(root: str) -> bool:
    """Whether a containerd writes, or wrote, in this directory."""
    return _meta_db(root) is not None or _is_mounted_alone(root)


def adopt(root: str) -> None:
    """Make a dead containerd's directory writable here, for good.

    Raises:
        FailedPrecondition: nobody owns it, or the daemon lives.
        NotFound, PermissionDenied, ReadOnly: the mark can't be written.
    """
    meta_db = _meta_db(root)
    if meta_db is None:
        if _is_mounted_alone(root):
            raise FailedPrecondition(f"{visible(root)} can't be adopted", advice=_MOUNTED_ALONE)
        raise FailedPrecondition(
            f"{visible(root)} belongs to no containerd",
            advice="it needs no adoption: just use it",
        )
    if _is_locked(meta_db) or _is_locked_elsewhere(meta_db):
        raise FailedPrecondition(
            f"{visible(root)} is in use by a running containerd",
            advice="stop that containerd first; adopting is for the directory of a dead node",
        )
    with files.told(f"adopting {root}"):
        ours = files.Directory(files.Directory(None, root), OURS)
        try:
            directory = ours.fd_or_make()
            files.replace_file(_ADOPTED, b"adopted from a containerd\n", directory)
            os.fsync(directory)
        finally:
            ours.close()


def _meta_db(root: str) -> str | None:
    """The database of the containerd that owns ``root``, when there is one beside it."""
    path = os.path.join(os.path.dirname(os.path.realpath(root)), _META_DB)
    return path if os.path.lexists(path) else None


def _is_locked(path: str) -> bool:
    """Whether a process holds a lock on ``path``, told without taking one (/proc/locks)."""
    try:
        inode = os.stat(path).st_ino
        with open("/proc/locks", "rb") as file:
            return any(line.split()[-3].endswith(b":%d" % inode) for line in file)
    except (OSError, IndexError):
        return True  # can't be told: then it may be alive


def _is_locked_elsewhere(path: str) -> bool:
    """Whether a process that /proc/locks hides from us, one of another container, has ``path``.

    Told by a shared lock for an instant: a daemon that starts just then tries again.
    """
    try:
        fd = os.open(path, files.READ & ~os.O_NOFOLLOW)
    except OSError:
        return True  # can't be told: then it may be alive
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def _is_mounted_alone(root: str) -> bool:
    """Whether ``root`` is a containerd's content, mounted here without the database beside it."""
    real = os.path.realpath(root)
    mount = _mount_id(real)
    if mount == _mount_id(os.path.dirname(real)):
        return False
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            sources = {fields[0]: fields[3] for fields in map(str.split, file)}
    except (OSError, IndexError):
        return False
    return sources.get(mount, "").endswith("/" + CONTAINERD_CONTENT)


def _mount_id(path: str) -> str:
    """Which mount ``path`` lies in; empty when that can't be told."""
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        with open(f"/proc/self/fdinfo/{fd}", encoding="utf-8") as file:
            return next((line.split()[1] for line in file if line.startswith("mnt_id:")), "")
    except OSError:
        return ""
    finally:
        os.close(fd)


def _service_socket(root: str) -> str:
    """The socket of our service that owns ``root``, while it runs; else empty."""
    path = os.path.join(root, OURS, _OWNER)
    try:
        fd = os.open(path, files.READ)
    except OSError:
        return ""
    try:
        raw = os.read(fd, 4096)
    finally:
        os.close(fd)
    if not _is_locked(path):
        return ""
    import json

    try:
        return str(json.loads(raw)["socket"])
    except (ValueError, KeyError, TypeError):
        return "(its socket can't be read)"
