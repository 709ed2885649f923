"""The locks of a store: one for each ref, and one for the names of blobs.

All are advisory locks of the kernel, so they exclude threads and processes, and end when the
process that holds them dies (docs/internals/local-store.md, Locks).

``RefLocks`` uses one file, ``.contentui/locks``, which is never unlinked. A ref's lock is a byte
range of it, taken with ``F_OFD_SETLK`` (fcntl(2)). The range starts at 40 bits of the ingest's id,
and its length is the pid of the holder: ``F_OFD_GETLK`` and /proc/locks report the range, and so
the pid, without taking a lock. What the kernel does not record (time of locking, command) is in a
slot of ``.contentui/holders``, which counts only if its id and pid match the lock.

``NamingLock`` is the file ``.contentui/naming``, locked with flock(2) while a labelled blob gets or
loses its name. The kernel grants it to waiting processes in order. contentui never breaks it; the
error names a holder that is stopped.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import struct
import threading
import time
from typing import TYPE_CHECKING

from contentui.content.errors import Locked, Unavailable
from contentui.content.model import Holder
from contentui.stores import files, forks, procfs
from contentui.text import human_duration, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from contentui.content.model import IngestId

WAIT_S = 30.0
"""How long to wait for the naming lock while its holder runs, seconds."""
STOPPED_S = 2.0
"""How long to wait for a holder that is stopped, seconds."""
_LOOK_S = 0.25
"""Seconds between two looks at the holder."""
_NAMING = "naming"
_PID_BITS = 22  # Linux's largest pid_max is 2**22
_FLOCK = struct.Struct("@hhqqi4x")
_RECORD = struct.Struct("@16siqqQH")
_SLOT_SIZE = 256
_SLOTS = 4096
_COMMAND_LIMIT = _SLOT_SIZE - _RECORD.size


def lock_range(fd: int, start: int = 0, length: int = 0) -> None:
    """Write-lock bytes of a file for its open file description; ``length`` 0: to its end.

    Raises:
        BlockingIOError, PermissionError: another open file description has a lock on them.
        OSError: the file system cannot lock.
    """
    request = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, request)


def unlock_range(fd: int, start: int = 0, length: int = 0) -> None:
    """Release the locks of `lock_range` within a range. Raises OSError."""
    request = _FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, start, length, 0)
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, request)


def locked_length(fd: int, start: int = 0, length: int = 0) -> int | None:
    """The length of a lock of others on a range, None if there is none. Takes no lock.

    Raises OSError.
    """
    request = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
    kind, _, _, found, _ = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_OFD_GETLK, request))
    return None if kind == fcntl.F_UNLCK else int(found)


def _base(ingest: IngestId) -> int:
    """The start of a ref's range. Two refs with the same 40 bits would exclude each other."""
    try:
        prefix = int(ingest[:10], 16) if len(ingest) == 64 else -1
    except ValueError:
        prefix = -1
    if prefix < 0:
        encoded = ingest.encode("utf-8", "surrogateescape")
        prefix = int.from_bytes(hashlib.sha256(encoded).digest()[:5], "big")
    return prefix << _PID_BITS


def _slot(base: int) -> int:
    return (base >> _PID_BITS) % _SLOTS * _SLOT_SIZE


class _Self:
    """What a holder records about itself; the same for all its locks."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.started_ns = procfs.process_started_ns(self.pid)
        self.command = procfs.process_command(self.pid)
        self.encoded_command = self.command.encode("utf-8", "surrogateescape")[:_COMMAND_LIMIT]
        self.namespace = _pid_namespace()


def _pid_namespace() -> int:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


class RefLocks:
    """The lock table of one store, shared by all processes that open it."""

    def __init__(self, directory: files.Directory) -> None:
        self._directory = directory
        # Reentrant: garbage collection may release a `RefLock` within a call here.
        self._mutex = threading.RLock()
        self._held: dict[int, int] = {}  # base of each range this object holds -> since, ns
        self._fd = -1
        self._identity = (0, 0)
        self._path = directory.path + "/locks"
        self._writable = False
        self._records = -1
        self._records_writable = False
        self._self: _Self | None = None
        forks.reset_in_child(self)

    def acquire(self, ingest: IngestId) -> RefLock:
        """Take the ref's lock without waiting.

        Raises:
            Locked: another writer has it; the error has the holder.
            OSError: the lock file can't be made or opened.
        """
        base = _base(ingest)
        with self._mutex:
            if base in self._held:
                raise _locked(self._own_holder(base))
            if self._fd < 0 or not self._writable:
                self._open(for_writing=True)
            # Made before the kernel's lock is taken, so that it is released after an interruption.
            lock = RefLock(self, base)
            self._held[base] = time.time_ns()
            try:
                self._lock(base)
            except BaseException:
                lock.release()
                raise
            self._record(base, self._me(), self._held[base])
        return lock

    def _lock(self, base: int) -> None:
        pid = self._me().pid
        while True:
            try:
                lock_range(self._fd, base, pid)
            except (BlockingIOError, PermissionError):
                raise _locked(self._look(base)) from None
            if self._is_current():
                return
            self._open(for_writing=True)  # the file was replaced between opening and locking

    def unlocked(self) -> RefLock:
        """A `RefLock` that locks nothing, for a full disk, where the lock file can't be made."""
        return RefLock(self, -1)

    def release(self, base: int) -> None:
        with self._mutex:
            if base not in self._held:
                return
            if self._fd >= 0:
                try:
                    unlock_range(self._fd, base, 1 << _PID_BITS)
                except OSError:
                    if len(self._held) == 1:
                        self._close_locks()  # which releases it as well
                except BaseException:  # interrupted, possibly before the call
                    unlock_range(self._fd, base, 1 << _PID_BITS)
                    self._held.pop(base, None)
                    raise
            self._held.pop(base, None)

    def holders(self, ids: Iterable[IngestId]) -> dict[IngestId, Holder] | None:
        """The holders of those that are held. Takes no lock. None if there is no lock file yet."""
        with self._mutex:
            look: Callable[[int], Holder | None] = self._look
            try:
                if self._open(for_writing=False) < 0:
                    return None
            except PermissionError:
                listed = self._listed()
                if listed is None:
                    return None
                look = listed.get
            except OSError:
                return None
            found = {}
            for ingest in ids:
                base = _base(ingest)
                holder = self._own_holder(base) if base in self._held else look(base)
                if holder is not None:
                    found[ingest] = holder
            return found

    def _listed(self) -> dict[int, Holder] | None:
        """All holders in /proc/locks, for users who may not open the lock file."""
        try:
            locks = procfs.locks_on(os.stat(self._path))
        except OSError:
            return None
        return {lock.start: self._holder(lock.start, lock.length) for lock in locks if lock.writes}

    def close(self) -> None:
        with self._mutex:
            self._held.clear()
            self._close_locks()
            records, self._records = self._records, -1
            files.close(records)

    def __del__(self) -> None:
        if hasattr(self, "_records"):
            self.close()

    def after_fork(self) -> None:
        """In a forked child: drop the parent's descriptor, which would keep its locks."""
        self._mutex = threading.RLock()
        self._self = None
        self._held = {}
        self._close_locks()

    def _me(self) -> _Self:
        if self._self is None:
            self._self = _Self()
        return self._self

    def _open(self, *, for_writing: bool) -> int:
        """The descriptor of the lock file; -1 if it does not exist and is only read."""
        if self._fd >= 0 and (self._writable or not for_writing) and self._is_current():
            return self._fd
        if for_writing:
            flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            fd = files.open_private("locks", flags, self._directory.fd_or_make())
        else:
            try:
                fd = os.open("locks", files.READ, dir_fd=self._directory.fd())
            except FileNotFoundError:
                return -1
        try:
            found = os.fstat(fd)
        except BaseException:
            os.close(fd)
            raise
        if self._held and self._fd >= 0:
            # Our locks are on the old open file description, which must stay open.
            _orphans.append(self._fd)
            self._fd = -1
        self._close_locks()
        self._fd, self._writable = fd, for_writing
        self._identity = (found.st_ino, found.st_dev)
        return fd

    def _is_current(self) -> bool:
        try:
            now = os.stat(self._path)
        except OSError:
            return False
        return (now.st_ino, now.st_dev) == self._identity

    def _close_locks(self) -> None:
        fd, self._fd = self._fd, -1
        files.close(fd)

    def _look(self, base: int) -> Holder | None:
        pid = locked_length(self._fd, base, 1 << _PID_BITS)
        return None if pid is None else self._holder(base, pid)

    def _holder(self, base: int, pid: int) -> Holder:
        record = self._read_record(base)
        if record is not None and record.pid == pid:
            return record
        return Holder(pid, procfs.process_started_ns(pid), procfs.process_command(pid), 0)

    def _own_holder(self, base: int) -> Holder:
        me = self._me()
        return Holder(me.pid, me.started_ns, me.command, self._held[base])

    def _open_records(self, *, for_writing: bool) -> int:
        if self._records < 0 or (for_writing and not self._records_writable):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            with contextlib.suppress(OSError):
                fd = os.open(
                    "holders",
                    flags if for_writing else files.READ,
                    0o644,
                    dir_fd=self._directory.fd(),
                )
                if for_writing and self._directory.shared:
                    files.share_file(fd)
                files.close(self._records)
                self._records, self._records_writable = fd, for_writing
        return self._records

    def _record(self, base: int, me: _Self, since_ns: int) -> None:
        """Record the holder for messages; the lock does not depend on it."""
        fd = self._open_records(for_writing=True)
        identity = base.to_bytes(16, "big")
        head = _RECORD.pack(
            identity, me.pid, me.started_ns, since_ns, me.namespace, len(me.encoded_command)
        )
        with contextlib.suppress(OSError):
            os.pwrite(fd, head + me.encoded_command, _slot(base))

    def _read_record(self, base: int) -> Holder | None:
        fd = self._open_records(for_writing=False)
        if fd < 0:
            return None
        try:
            raw = os.pread(fd, _SLOT_SIZE, _slot(base))
        except OSError:
            return None
        if len(raw) < _RECORD.size or raw[:16] != base.to_bytes(16, "big"):
            return None
        _, pid, started_ns, since_ns, namespace, length = _RECORD.unpack_from(raw)
        command = raw[_RECORD.size : _RECORD.size + min(length, _COMMAND_LIMIT)]
        return Holder(
            pid,
            started_ns,
            command.decode("utf-8", "surrogateescape"),
            since_ns,
            foreign=0 not in (namespace, here := _pid_namespace()) and namespace != here,
        )


class RefLock:
    """A lock that is held until `release` or garbage collection."""

    def __init__(self, locks: RefLocks, base: int) -> None:
        self._locks: RefLocks | None = locks
        self._base = base

    def release(self) -> None:
        locks = self._locks
        if locks is not None:
            locks.release(self._base)
            self._locks = None

    def __del__(self) -> None:
        self.release()

    def __enter__(self) -> RefLock:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()


def describe(holder: Holder, now_ns: int) -> str:
    """A holder for messages: ``pid 12 (contentui ingest x), for 3m``."""
    text = f"pid {holder.pid}" if holder.pid else "another process"
    if holder.foreign:
        text += " of another pid namespace"
    if holder.command:
        text += f" ({visible(holder.command, 120)})"
    if holder.since_ns and now_ns >= holder.since_ns:
        text += f", for {human_duration((now_ns - holder.since_ns) / 1e9)}"
    return text


def _locked(holder: Holder | None) -> Locked:
    if holder is None:  # it was released before it could be read
        return Locked("the ref was locked by a writer that has just ended", advice="try again")
    return Locked(f"the ref is locked by {describe(holder, time.time_ns())}", holder=holder)


_orphans: list[int] = []
"""Descriptors of replaced lock files on which locks are held; never closed."""


# -- the naming lock


class HolderStopped(Unavailable):
    """The process that holds the lock is stopped (SIGSTOP, a debugger)."""


class NamingLock:
    """The lock of one store, for all its processes and threads."""

    def __init__(self, directory: files.Directory) -> None:
        self._directory = directory

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock. Not reentrant.

        Raises:
            Unavailable: another process held it for 30 s, or is stopped; the message names it.
            OSError: the file cannot be created or locked.
        """
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        while True:
            directory = self._directory.fd_or_make()
            fd = files.open_private(_NAMING, flags, directory)
            try:
                self._take(fd)
                if not self._is_current(fd, directory):
                    continue  # the file was replaced between opening and locking
                yield
                return
            finally:
                # Explicit, before closing: a forked child may have a copy of the descriptor.
                try:
                    with contextlib.suppress(OSError):
                        fcntl.flock(fd, fcntl.LOCK_UN)
                finally:
                    files.close(fd)

    @staticmethod
    def _is_current(fd: int, directory: int) -> bool:
        try:
            now = os.stat(_NAMING, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return files.same_file(now, os.fstat(fd))

    def _take(self, fd: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiter = _Waiter(fd)
            wait = LockWait(os.fstat(fd), f"{self._directory.path}/{_NAMING}")
            try:
                while not waiter.done.wait(_LOOK_S):
                    wait.check()
            except BaseException:
                waiter.abandon()
                raise
            waiter.check()


class _Waiter:
    """A thread that waits for the lock in the kernel's queue; polling would not be queued."""

    def __init__(self, fd: int) -> None:
        self.done = threading.Event()
        self._abandoned = False
        self._error: OSError | None = None
        self._mutex = threading.Lock()
        self._fd = os.dup(fd)
        try:
            threading.Thread(target=self._wait, name="naming lock", daemon=True).start()
        except BaseException:
            os.close(self._fd)
            raise

    def abandon(self) -> None:
        """Release the lock if it is granted later; the caller releases one that it has already.

        Both descriptors are of the same open file description, so either can release it.
        """
        with self._mutex:
            self._abandoned = True

    def check(self) -> None:
        """Raises the error of flock(2), if there was one."""
        if self._error is not None:
            raise self._error

    def _wait(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        except OSError as error:
            self._error = error
        with self._mutex:
            if self._abandoned:
                with contextlib.suppress(OSError):
                    fcntl.flock(self._fd, fcntl.LOCK_UN)
            self.done.set()
        os.close(self._fd)


class LockWait:
    """Time limits for waiting for a locked file, and the error that names the holder."""

    def __init__(self, found: os.stat_result, path: str, stopped_s: float | None = None) -> None:
        """``stopped_s``: how long to wait for a stopped holder, seconds; None: `STOPPED_S`."""
        self._found = found
        self._path = path
        self._stopped_s = STOPPED_S if stopped_s is None else stopped_s
        self._begun = time.monotonic()
        self._stopped_since: float | None = None

    def check(self) -> None:
        """Raises Unavailable, which names the holder, when the limit is reached."""
        now = time.monotonic()
        pid = self._holder()
        stopped = pid > 0 and procfs.is_stopped(pid)
        if not stopped:
            self._stopped_since = None
        elif self._stopped_since is None:
            self._stopped_since = now
        if self._stopped_since is not None and now - self._stopped_since >= self._stopped_s:
            raise self.error(pid, stopped=True)
        if now - self._begun > WAIT_S:
            raise self.error(pid, stopped=False)

    def error(self, pid: int, *, stopped: bool) -> Unavailable:
        """The error for a holder; ``pid`` 0: unknown."""
        path = visible(self._path)
        if not pid:
            return Unavailable(
                f"another process, possibly in another container, has {path} locked",
                advice=f"run 'fuser -v {path}' on that machine, and end or continue that process",
            )
        command = visible(procfs.process_command(pid), 120)
        who = f"pid {pid} ({command})" if command else f"pid {pid}"
        if stopped:
            return HolderStopped(
                f"{who} has {path} locked and is stopped",
                advice=f"continue it with 'kill -CONT {pid}', or end it with 'kill -KILL {pid}'",
            )
        return Unavailable(
            f"{who} has kept {path} locked for {WAIT_S:.0f}s",
            advice="wait until it ends, or end that process",
        )

    def _holder(self) -> int:
        """The pid of a process that has a lock on the file, preferably another one; 0: unknown."""
        pids: set[int] = set()
        with contextlib.suppress(OSError):
            pids = {lock.pid for lock in procfs.locks_on(self._found)} - {0}
        return next(iter(pids - {os.getpid()} or pids), 0)
