"""Whose directory this is: other people's are read-only (architecture, promise 6)."""

from __future__ import annotations

import os

from contentui.content.errors import FailedPrecondition
from contentui.stores.local import files
from contentui.text import visible

OURS = ".contentui"
"""Our own directory inside a store's root; containerd's store never looks at it."""
_META_DB = "io.containerd.metadata.v1.bolt/meta.db"
_ADOPTED = "adopted"
_OWNER = "owner"


def read_only_reason(root: str) -> str:
    """Why the directory ``root`` must not be changed from here; empty when it may be."""
    owner = _service_socket(root)
    if owner:
        return f"a contentui service owns this directory: change it through --store unix://{owner}"
    meta_db = _meta_db(root)
    if meta_db is None:
        return ""
    if _is_locked(meta_db):
        return (
            "a running containerd owns this directory: only it may change it (watching is safe); "
            "'ctr content' removes blobs through it"
        )
    if os.path.lexists(os.path.join(root, OURS, _ADOPTED)):
        return ""
    return (
        "this directory belongs to a containerd, whose database would contradict any change: "
        f"when that daemon is gone for good, run 'contentui adopt {visible(root)}'"
    )


def adopt(root: str) -> None:
    """Make a dead containerd's directory writable here, for good.

    Raises:
        FailedPrecondition: nobody owns it, or the daemon lives.
        NotFound, PermissionDenied, ReadOnly: the mark can't be written.
    """
    meta_db = _meta_db(root)
    if meta_db is None:
        raise FailedPrecondition(
            f"{visible(root)} belongs to no containerd",
            advice="it needs no adoption: just use it",
        )
    if _is_locked(meta_db):
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
