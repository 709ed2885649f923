"""Whose directory this is: other people's are read-only (architecture, promise 6)."""

from __future__ import annotations

import contextlib
import os
import time
from enum import Enum

from contentui.content.errors import FailedPrecondition, ReadOnly
from contentui.stores.local import files, procfs
from contentui.stores.local.marks import (
    ADOPTED,
    DEDICATED,
    OURS,
    Claim,
    dedicated_to,
    lock_owner_mark,
    service_socket,
)
from contentui.text import visible

__all__ = ["OURS", "Claim", "adopt", "claim", "dedicate", "dedicated_to", "is_containerds"]

CONTAINERD_CONTENT = "io.containerd.content.v1.content"
"""The content store's directory inside a containerd's root."""
_META_DB = "io.containerd.metadata.v1.bolt/meta.db"
_UNSEEN_S = 1.1
"""By when everyone has looked at who keeps a directory (`keeping.FRESH_S`)."""
_MOUNTED_ALONE = (
    "this is a containerd's directory, mounted without the database beside it: whether that "
    "daemon lives can't be seen; mount the directory above it"
)


class Kept(Enum):
    """Whose refs are in a directory."""

    BY_NOBODY = "by nobody but those who use it"
    BY_CONTAINERD = "by a containerd, which writes in it itself"
    FOR_CONTAINERD = "by our service, for a containerd that has its content there"


def kept(root: str, *, claimed: bool = False) -> Kept:
    """Whose refs are in the directory ``root``.

    Our service, ``claimed``, hands them out as its clients gave them: there nobody's.
    """
    if claimed:
        return Kept.BY_NOBODY
    try:
        if is_containerds(root):
            meta_db = _meta_db(root)
            dead = _is_adopted(root) and (meta_db is None or not _is_locked(meta_db))
            return Kept.BY_NOBODY if dead else Kept.BY_CONTAINERD
        return Kept.FOR_CONTAINERD if dedicated_to(root) else Kept.BY_NOBODY
    except OSError:  # then it is read-only, and `read_only_reason` says why
        return Kept.BY_NOBODY


def daemon_pid(root: str) -> int:
    """The pid of the containerd that runs on ``root``; 0 when there is none that we see."""
    from contentui.stores.local.procfs import pid_with_lock

    try:
        meta_db = _meta_db(root)
    except OSError:
        return 0
    return pid_with_lock(meta_db) if meta_db is not None else 0


def read_only_reason(root: str, *, claimed: bool = False) -> str:
    """Why the directory ``root`` must not be changed from here; empty when it may be.

    ``claimed``: by our service that has the `Claim` on it.
    """
    try:
        return find_read_only_reason(root, claimed=claimed)
    except OSError as error:
        return unknown_reason(root, error)


def unknown_reason(root: str, error: OSError) -> str:
    """Why a directory is read-only whose owner is unknown."""
    return (
        f"the owner of this directory is unknown, a containerd or a service may use it"
        f" ({error.strerror}: {visible(str(error.filename or root), 160)})"
    )


def find_read_only_reason(root: str, *, claimed: bool = False) -> str:
    """As `read_only_reason`. Raises OSError when the owner is unknown."""
    if not claimed and (reason := _service_reason(root)):
        return reason
    meta_db = _meta_db(root)
    if meta_db is None:
        return _MOUNTED_ALONE if _is_mounted_alone(root) else ""
    adopted = _is_adopted(root)
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


def _is_adopted(root: str) -> bool:
    return files.exists(os.path.join(root, OURS, ADOPTED))


def is_containerds(root: str) -> bool:
    """Whether a containerd writes, or wrote, in this directory. Raises OSError if unknown."""
    return _meta_db(root) is not None or _is_mounted_alone(root)


def adopt(root: str) -> None:
    """Make a dead containerd's directory writable here, for good.

    So too the directory in which our service kept a containerd's content.

    Raises:
        FailedPrecondition: nobody owns it, or the daemon or the service lives.
        NotFound, PermissionDenied, ReadOnly: the mark can't be written.
    """
    with files.map_errors(f"looking who owns {root}"):
        meta_db = _meta_db(root)
        if dedicated_to(root):
            _undedicate(root)
            return
    if meta_db is None:
        if _is_mounted_alone(root):
            raise FailedPrecondition(f"{visible(root)} can't be adopted", advice=_MOUNTED_ALONE)
        raise FailedPrecondition(
            f"{visible(root)} belongs to no containerd",
            advice="it needs no adoption: just use it",
        )
    if _is_in_use(meta_db):
        raise FailedPrecondition(
            f"{visible(root)} is in use by a running containerd",
            advice="stop that containerd first; adopting is for the directory of a dead node",
        )
    with files.map_errors(f"adopting {root}"):
        ours = files.Directory(files.Directory(None, root), OURS)
        try:
            directory = ours.fd_or_make()
            files.replace_file(ADOPTED, b"adopted from a containerd\n", directory)
            os.fsync(directory)
        finally:
            ours.close()


def _meta_db(root: str) -> str | None:
    """The database of the containerd that owns ``root``, when there is one beside it."""
    path = os.path.join(os.path.dirname(os.path.realpath(root)), _META_DB)
    return path if files.exists(path) else None


def _is_in_use(meta_db: str) -> bool:
    return _is_locked(meta_db) or _is_locked_elsewhere(meta_db)


def _is_locked(path: str) -> bool:
    """Whether a process holds a lock on ``path``, told without taking one (/proc/locks)."""
    try:
        return bool(procfs.locks_on(os.stat(path)))
    except OSError:
        return True  # can't be told: then it may be alive


def _is_locked_elsewhere(path: str) -> bool:
    """Whether a process that /proc/locks hides from us, one of another container, has ``path``.

    Told by a shared lock for an instant: a daemon that starts just then tries again.
    """
    if not os.access(path, os.R_OK):
        return True
    try:
        return procfs.is_flocked(path, flags=files.READ & ~os.O_NOFOLLOW)
    except OSError:
        return True  # can't be told: then it may be alive


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


def _service_reason(root: str) -> str:
    """Why only a service of ours, or a containerd through it, may change ``root``; else empty."""
    daemon = dedicated_to(root)
    if daemon:
        return (
            f"the containerd at {visible(daemon, 160)} keeps its content here: change it through "
            f"that daemon; when it is gone for good, run 'contentui adopt {visible(root)}'"
        )
    owner = service_socket(root)
    if owner:
        way = f"--store {owner}" if owner.startswith("unix://") else f"that service {owner}"
        return f"a contentui service owns this directory: change it through {way}"
    return ""


def claim(root: str, socket: str) -> Claim:
    """Make ``root`` the directory of this process, a service on ``socket``: a path, or a URL.

    All others, this process's other stores included, find it read-only until that ends.

    Raises:
        FailedPrecondition: another service has it.
        ReadOnly: it is a containerd's own, or can't be written.
        PermissionDenied, NotFound: it can't be written.
    """
    if reason := read_only_reason(root, claimed=True):
        raise ReadOnly(f"{visible(root)} can't be served for writing", advice=reason)
    import json

    mark = json.dumps({"socket": _url(socket), "pid": os.getpid()}).encode()
    with files.map_errors(f"marking {root} as the service's"):
        fd = lock_owner_mark(root)
        if fd < 0:
            raise FailedPrecondition(
                f"another contentui service has {visible(root)}: {service_socket(root)}",
                advice="use that one, or stop it first",
            )
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, mark, 0)
        except BaseException:
            os.close(fd)
            raise
    return Claim(fd)


def _url(socket: str) -> str:
    return socket if "://" in socket else f"unix://{os.path.abspath(socket)}"


def dedicate(root: str, daemon_root: str) -> None:
    """Let ``root`` keep the content of the containerd with the root ``daemon_root``, for good.

    Raises:
        FailedPrecondition: it has content, or keeps that of another containerd.
        NotFound, PermissionDenied, ReadOnly: the mark can't be written.
    """
    wanted = os.path.realpath(daemon_root)
    with files.map_errors(f"looking who owns {root}"):
        known = dedicated_to(root)
    if known == wanted:
        return
    why = "its collector deletes every blob that it doesn't know"
    if known:
        raise FailedPrecondition(
            f"{visible(root)} keeps the content of the containerd at {visible(known)}, not of the "
            f"one at {visible(wanted)}: {why}",
            advice="give each containerd a directory of its own",
        )
    _check_empty(root, why)
    with files.map_errors(f"dedicating {root}"):
        ours = files.Directory(files.Directory(None, root), OURS)
        try:
            directory = ours.fd_or_make()
            files.replace_file(DEDICATED, os.fsencode(wanted) + b"\n", directory)
            os.fsync(directory)
            try:
                time.sleep(_UNSEEN_S)  # whoever looked before the mark was there may write yet
                _check_empty(root, why)
            except BaseException:
                os.unlink(DEDICATED, dir_fd=directory)
                raise
        finally:
            ours.close()


def _check_empty(root: str, why: str) -> None:
    with files.map_errors(f"looking into {root}"):
        if is_containerds(root):
            raise FailedPrecondition(
                f"{visible(root)} is a containerd's own content",
                advice="name a new directory for the service",
            )
        for name in ("ingest", "blobs/sha256", "blobs/sha384", "blobs/sha512"):
            with contextlib.suppress(FileNotFoundError):
                if os.listdir(os.path.join(root, name)):
                    raise FailedPrecondition(
                        f"{visible(root)} has content already: {why}",
                        advice="name a new directory, and copy the content into that containerd",
                    )


def _undedicate(root: str) -> None:
    """Forget a containerd that is gone.

    Raises:
        FailedPrecondition: it, or our service, lives.
    """
    owner = service_socket(root)
    meta_db = os.path.join(dedicated_to(root), _META_DB)
    if owner or (files.exists(meta_db) and _is_in_use(meta_db)):
        raise FailedPrecondition(
            f"{visible(root)} is in use by {owner or 'a running containerd'}",
            advice="stop that first; adopting is for the directory of a dead node",
        )
    with files.map_errors(f"adopting {root}"):
        os.unlink(os.path.join(root, OURS, DEDICATED))
