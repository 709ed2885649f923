"""Which process may change a directory: ours, a containerd, or a running ``contentui serve``.

A directory that another program owns is read-only (docs/internals/local-store.md, Directories of
others are read-only). Three ownership files in ``.contentui`` record that:

* ``owner``: a running service; it holds a lock on the file, and its socket is written in it.
* ``containerd``: the directory is bound to a containerd that stores its content through our
  service; the file contains the root of that daemon.
* ``adopted``: the containerd that made the directory is gone, and it may be changed here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING

from contentui.content.errors import FailedPrecondition, ReadOnly
from contentui.content.holder import Holder, Process
from contentui.stores import files, forks, procfs
from contentui.stores.files import STATE_DIR
from contentui.stores.local.locks import lock_range, locked_length, unlock_range
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

    from contentui.content.model import IngestId
    from contentui.stores.daemon import OpenIngests

CONTAINERD_CONTENT = "io.containerd.content.v1.content"
"""The directory of the content store below the root of a containerd."""
ADOPTED = "adopted"
OWNER = "owner"
BOUND = "containerd"
MAX_AGE_S = 1.0
"""How old the known owner may be, seconds: a daemon or a service may start at any time."""
_BIND_WAIT_S = 1.1
"""Seconds after which every process has read the owner again; more than `MAX_AGE_S`."""
_META_DB = "io.containerd.metadata.v1.bolt/meta.db"
_FILE_LIMIT = 16 * 1024
_SOCKET_UNREADABLE = "(its socket can't be read)"
_MOUNTED_ALONE = (
    "this is the content directory of a containerd, mounted without the metadata database beside "
    "it, so that it is unknown whether that daemon runs; mount the directory above it"
)


class ContainerdUse(Enum):
    """How a containerd uses a directory, which decides the form of the refs in it."""

    NONE = "no containerd uses it, or only as a client of this process"
    DIRECT = "a containerd reads and writes the files itself"
    SERVICE = "a containerd is bound to it and uses it through our service"


class OwnershipLock:
    """The lock of a running service on its directory. A context manager.

    The kernel releases it when the process ends.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        forks.reset_in_child(self)

    def after_fork(self) -> None:
        """In a forked child: drop the parent's descriptor, which would keep the lock."""
        fd, self._fd = self._fd, -1
        files.close(fd)

    @property
    def is_held(self) -> bool:
        return self._fd >= 0

    def close(self) -> None:
        """Release the lock; a second call has no effect."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
                # Explicit unlock: a forked child may share the descriptor.
                unlock_range(self._fd)
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


# -- what a store asks


class Ownership:
    """Who owns the directory of one store, read again each second."""

    def __init__(self, root: str, lock: OwnershipLock | None) -> None:
        """``lock``: makes the caller the owner while it is held."""
        self._root = root
        self._lock = lock
        self._last: _OwnershipStatus | None = None

    @property
    def read_only_reason(self) -> str:
        """Why the directory must not be changed from here; empty if it may be."""
        return self._status().reason

    def check(self) -> None:
        """Raises OSError if the owner of the directory is unknown."""
        failure = self._status().failure
        if failure is not None:
            self._last = None  # read it again next time
            raise failure

    @property
    def has_backend_refs(self) -> bool:
        """Whether refs are those that a containerd makes from its clients' refs."""
        return self._status().use is not ContainerdUse.NONE

    @property
    def is_containerds(self) -> bool:
        """Whether a containerd writes in the directory itself, without locks of ours."""
        return self._status().use is ContainerdUse.DIRECT

    def daemon_holders(self, ids: Iterable[IngestId]) -> dict[IngestId, Holder] | None:
        """Which ingests the containerd that writes here has open; None if that is unknown."""
        daemon = self._status().daemon
        if daemon is None:
            return None
        open_ingests, holder = daemon
        held = open_ingests.held()
        return None if held is None else {ident: holder for ident in ids if ident in held}

    def _status(self) -> _OwnershipStatus:
        last = self._last
        if last is None or time.monotonic() - last.at > MAX_AGE_S:
            is_owner = self._lock is not None and self._lock.is_held
            self._last = last = _OwnershipStatus(self._root, is_owner=is_owner)
        return last


class _OwnershipStatus:
    """The owner of a directory at one time."""

    def __init__(self, root: str, *, is_owner: bool) -> None:
        self._root = root
        self.at = time.monotonic()
        self.failure: OSError | None = None
        """Why the owner is unknown; the directory is read-only then."""
        try:
            self.reason = _read_only_reason(root, is_owner=is_owner)
        except OSError as error:
            self.failure, self.reason = error, _unknown_reason(root, error)
        self.use = ContainerdUse.NONE if is_owner else _containerd_use(root)

    @cached_property
    def daemon(self) -> tuple[OpenIngests, Holder] | None:
        """The open ingests of the containerd that runs here, and its process; None if unknown."""
        pid = daemon_pid(self._root)
        if not pid:
            return None
        from contentui.stores.daemon import OpenIngests

        daemon = Process(pid, procfs.process_name(pid))
        return OpenIngests(pid), Holder(0, 0, "", 0, daemon=daemon)


def read_only_reason(root: str, *, is_owner: bool = False) -> str:
    """Why the directory ``root`` must not be changed from here; empty if it may be.

    ``is_owner``: the caller is the service that holds the `OwnershipLock`.
    """
    try:
        return _read_only_reason(root, is_owner=is_owner)
    except OSError as error:
        return _unknown_reason(root, error)


def _unknown_reason(root: str, error: OSError) -> str:
    return (
        f"the owner of this directory is unknown, a containerd or a service may use it"
        f" ({error.strerror}: {visible(str(error.filename or root), 160)})"
    )


def _read_only_reason(root: str, *, is_owner: bool) -> str:
    """As `read_only_reason`. Raises OSError if the owner is unknown."""
    if not is_owner and (reason := _service_reason(root)):
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
        "this is the directory of a containerd, whose metadata database would not match after a "
        f"change; if that daemon is gone for good, run 'contentui adopt {visible(root)}'"
    )


def _service_reason(root: str) -> str:
    """Why only our service, or a containerd through it, may change ``root``; else empty."""
    daemon = bound_to(root)
    if daemon:
        return (
            f"the containerd at {visible(daemon, 160)} keeps its content here: change it through "
            f"that daemon; if it is gone for good, run 'contentui adopt {visible(root)}'"
        )
    owner = service_socket(root)
    if owner:
        way = f"--store {owner}" if owner.startswith("unix://") else f"that service {owner}"
        return f"a contentui service owns this directory: change it through {way}"
    return ""


# -- containerd


def daemon_pid(root: str) -> int:
    """The pid of the containerd that runs on ``root``; 0 if there is none or it is unknown."""
    try:
        meta_db = _meta_db(root)
    except OSError:
        return 0
    return procfs.pid_with_lock(meta_db) if meta_db is not None else 0


def is_containerds(root: str) -> bool:
    """Whether a containerd writes, or wrote, in this directory. Raises OSError if unknown."""
    return _meta_db(root) is not None or _is_mounted_alone(root)


def _containerd_use(root: str) -> ContainerdUse:
    try:
        if is_containerds(root):
            meta_db = _meta_db(root)
            is_gone = _is_adopted(root) and (meta_db is None or not _is_locked(meta_db))
            return ContainerdUse.NONE if is_gone else ContainerdUse.DIRECT
        return ContainerdUse.SERVICE if bound_to(root) else ContainerdUse.NONE
    except OSError:  # the directory is read-only then, and `read_only_reason` has the error
        return ContainerdUse.NONE


def _is_adopted(root: str) -> bool:
    return files.exists(os.path.join(root, STATE_DIR, ADOPTED))


def _meta_db(root: str) -> str | None:
    """The metadata database of the containerd that owns ``root``; None if there is none."""
    path = os.path.join(os.path.dirname(os.path.realpath(root)), _META_DB)
    return path if files.exists(path) else None


def _is_in_use(meta_db: str) -> bool:
    return _is_locked(meta_db) or _is_locked_elsewhere(meta_db)


def _is_locked(path: str) -> bool:
    """Whether a process holds a lock on ``path`` (/proc/locks); True if unknown."""
    try:
        return bool(procfs.locks_on(os.stat(path)))
    except OSError:
        return True


def _is_locked_elsewhere(path: str) -> bool:
    """Whether a process of another container, not listed in /proc/locks, has ``path`` locked.

    Tries a shared lock for an instant: a daemon that starts at that moment retries. True if
    unknown.
    """
    if not os.access(path, os.R_OK):
        return True
    try:
        return procfs.is_flocked(path, flags=files.READ & ~os.O_NOFOLLOW)
    except OSError:
        return True


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
    """The id of the mount that ``path`` is in (proc_pid_fdinfo(5)); empty if unknown."""
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


# -- ownership files


def lock_directory(root: str, socket: str) -> OwnershipLock:
    """Make this process, a service on ``socket`` (a path or a URL), the owner of ``root``.

    For all others, other stores of this process included, the directory is read-only until the
    lock is closed.

    Raises:
        FailedPrecondition: another service owns it.
        ReadOnly: a containerd owns it, or it can't be written.
        PermissionDenied, NotFound: it can't be written.
    """
    if reason := read_only_reason(root, is_owner=True):
        raise ReadOnly(f"{visible(root)} can't be served for writing", advice=reason)
    import json

    url = socket if "://" in socket else f"unix://{os.path.abspath(socket)}"
    content = json.dumps({"socket": url, "pid": os.getpid()}).encode()
    with files.map_errors(f"locking {root} for the service"):
        fd = _lock_owner_file(root)
        if fd < 0:
            raise FailedPrecondition(
                f"another contentui service has {visible(root)}: {service_socket(root)}",
                advice="use that one, or stop it first",
            )
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, content, 0)
        except BaseException:
            os.close(fd)
            raise
    return OwnershipLock(fd)


def _lock_owner_file(root: str) -> int:
    """The file ``owner``, open and locked; -1 if another process has it. Raises OSError."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    while True:
        with _state_directory(root) as directory:
            fd = files.open_private(OWNER, flags, directory)
            try:
                lock_range(fd)
                if files.same_file(os.stat(OWNER, dir_fd=directory), os.fstat(fd)):
                    return fd
            except (BlockingIOError, PermissionError):
                os.close(fd)
                return -1
            except FileNotFoundError:
                pass
            os.close(fd)  # it was replaced between opening and locking


def service_socket(root: str) -> str:
    """The URL of our service that owns ``root``, while it runs; else empty.

    Raises OSError if unknown.
    """
    try:
        fd = _open_ownership_file(root, OWNER)
    except PermissionError:
        locks = procfs.locks_on(os.stat(os.path.join(root, STATE_DIR, OWNER)))
        return _SOCKET_UNREADABLE if locks else ""
    if fd is None:
        return ""
    try:
        if locked_length(fd) is None:
            return ""
        content = os.pread(fd, _FILE_LIMIT, 0)
    except OSError:
        content = b""
    finally:
        files.close(fd)
    return socket_in(content) or _SOCKET_UNREADABLE


def socket_in(content: bytes) -> str:
    """The URL in the content of the file ``owner``; empty if there is none."""
    import json

    try:
        socket = json.loads(content)["socket"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return visible(socket) if isinstance(socket, str) else ""


def bound_to(root: str) -> str:
    """The root of the containerd whose content our service keeps in ``root``; else empty.

    Raises OSError if unknown.
    """
    fd = _open_ownership_file(root, BOUND)
    if fd is None:
        return ""
    try:
        content = os.read(fd, _FILE_LIMIT)
    except OSError:
        content = b""
    finally:
        files.close(fd)
    return content.removesuffix(b"\n").decode("utf-8", "surrogateescape") or "(can't be read)"


def _open_ownership_file(root: str, name: str) -> int | None:
    """None: it does not exist, or is a symbolic link, which is never ours. Raises OSError."""
    try:
        return os.open(os.path.join(root, STATE_DIR, name), files.READ)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            return None
        raise


def bind(root: str, daemon_root: str) -> None:
    """Bind ``root`` to the containerd with the root ``daemon_root``, for good.

    Raises:
        FailedPrecondition: it has content, or is bound to another containerd.
        NotFound, PermissionDenied, ReadOnly: the ownership file can't be written.
    """
    new = os.path.realpath(daemon_root)
    with files.map_errors(f"reading the owner of {root}"):
        known = bound_to(root)
    if known == new:
        return
    why = "its garbage collector deletes every blob that it doesn't know"
    if known:
        raise FailedPrecondition(
            f"{visible(root)} keeps the content of the containerd at {visible(known)}, not of the "
            f"one at {visible(new)}: {why}",
            advice="use a separate directory for each containerd",
        )
    _check_empty(root, why)
    with files.map_errors(f"binding {root} to a containerd"), _state_directory(root) as directory:
        files.replace_file(BOUND, os.fsencode(new) + b"\n", directory)
        os.fsync(directory)
        try:
            time.sleep(_BIND_WAIT_S)  # a process that read the owner before may still write
            _check_empty(root, why)
        except BaseException:
            os.unlink(BOUND, dir_fd=directory)
            raise


def _check_empty(root: str, why: str) -> None:
    with files.map_errors(f"listing {root}"):
        if is_containerds(root):
            raise FailedPrecondition(
                f"{visible(root)} is a containerd's own content directory",
                advice="name a new directory for the service",
            )
        for name in ("ingest", "blobs/sha256", "blobs/sha384", "blobs/sha512"):
            with contextlib.suppress(FileNotFoundError):
                if os.listdir(os.path.join(root, name)):
                    raise FailedPrecondition(
                        f"{visible(root)} has content already: {why}",
                        advice="name a new directory, and copy the content into that containerd",
                    )


def adopt(root: str) -> None:
    """Make the directory of a containerd that is gone writable here, for good.

    Also the directory in which our service kept the content of such a containerd.

    Raises:
        FailedPrecondition: no containerd owns it, or the daemon or our service runs.
        NotFound, PermissionDenied, ReadOnly: the ownership file can't be written.
    """
    with files.map_errors(f"reading the owner of {root}"):
        meta_db = _meta_db(root)
        if bound_to(root):
            _unbind(root)
            return
    if meta_db is None:
        if _is_mounted_alone(root):
            raise FailedPrecondition(f"{visible(root)} can't be adopted", advice=_MOUNTED_ALONE)
        raise FailedPrecondition(
            f"{visible(root)} belongs to no containerd",
            advice="it can be used without adopting it",
        )
    if _is_in_use(meta_db):
        raise FailedPrecondition(
            f"{visible(root)} is in use by a running containerd",
            advice="stop that containerd first; only the directory of a dead node can be adopted",
        )
    with files.map_errors(f"adopting {root}"), _state_directory(root) as directory:
        files.replace_file(ADOPTED, b"adopted from a containerd\n", directory)
        os.fsync(directory)


def _unbind(root: str) -> None:
    """Remove the binding to a containerd that is gone.

    Raises:
        FailedPrecondition: it, or our service, runs.
    """
    owner = service_socket(root)
    meta_db = os.path.join(bound_to(root), _META_DB)
    if owner or (files.exists(meta_db) and _is_in_use(meta_db)):
        raise FailedPrecondition(
            f"{visible(root)} is in use by {owner or 'a running containerd'}",
            advice="stop that first; only the directory of a dead node can be adopted",
        )
    with files.map_errors(f"adopting {root}"):
        os.unlink(os.path.join(root, STATE_DIR, BOUND))


@contextlib.contextmanager
def _state_directory(root: str) -> Iterator[int]:
    """A descriptor of ``.contentui``, which is made where it is missing. Raises OSError."""
    directory = files.Directory(files.Directory(None, root), STATE_DIR)
    try:
        yield directory.fd_or_make()
    finally:
        directory.close()
