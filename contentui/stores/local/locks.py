"""Locks on refs that exclude processes, die with their holder, and can be looked at.

One file, ``.contentui/locks``, never unlinked. A ref's lock is a byte range in it, taken with
an open file description's lock (``F_OFD_SETLK``): the range starts at 40 bits of the ingest's
id and is as long as the holder's pid, so that whoever looks (``F_OFD_GETLK``, or one read of
/proc/locks) learns the pid from the kernel, which frees the range when the holder dies. What
the kernel doesn't keep (since when, which command) stands in a slot of ``.contentui/holders``
and counts only where id and pid agree with the lock.
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

from contentui.content.errors import Locked
from contentui.content.model import Holder
from contentui.stores.local import files, forks, proc_locks
from contentui.text import human_duration, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from contentui.content.model import IngestId

_PID_BITS = 22  # Linux's largest pid_max is 2**22
_FLOCK = struct.Struct("@hhqqi4x")
_RECORD = struct.Struct("@16siqqQH")
_SLOT_SIZE = 256
_SLOTS = 4096
_COMMAND_LIMIT = _SLOT_SIZE - _RECORD.size


def _base(ingest: IngestId) -> int:
    """Where the ref's range starts. Two refs that shared 40 bits would only lock each other out."""
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


def process_started_ns(pid: int) -> int:
    """When a process of this pid namespace started, nanoseconds since 1970; 0 when unknown."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            ticks = int(file.read(4096).rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0
    boot_ns = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return boot_ns + ticks * 10**9 // os.sysconf("SC_CLK_TCK")


def process_command(pid: int) -> str:
    """A process's command line, hostile text; empty when unknown."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            raw = file.read(4096)
    except OSError:
        return ""
    return raw.rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "surrogateescape")


class _Self:
    """What a holder writes down about itself; the same for all its locks."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.started_ns = process_started_ns(self.pid)
        self.command = process_command(self.pid)
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
        """Take the ref's lock, now or not at all.

        Raises:
            Locked: with the holder.
            OSError: the lock file can't be made or opened.
        """
        base = _base(ingest)
        with self._mutex:
            if base in self._held:
                raise _locked(self._own_holder(base))
            if self._fd < 0 or not self._writable:
                self._open(for_writing=True)
            # Both exist before the kernel's lock, so that it is released after an interruption.
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
        request = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, base, self._me().pid, 0)
        while True:
            try:
                fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, request)
            except (BlockingIOError, PermissionError):
                raise _locked(self._look(base)) from None
            if self._is_current():
                return
            self._open(for_writing=True)  # it was replaced between opening and locking

    def unlocked(self) -> RefLock:
        """No lock, where none can be made."""
        return RefLock(self, -1)

    def release(self, base: int) -> None:
        with self._mutex:
            if base not in self._held:
                return
            if self._fd >= 0:
                request = _FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, base, 1 << _PID_BITS, 0)
                try:
                    fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, request)
                except OSError:
                    if len(self._held) == 1:
                        self._close_locks()  # which frees it as well
                except BaseException:  # interrupted, perhaps before it was done
                    fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, request)
                    self._held.pop(base, None)
                    raise
            self._held.pop(base, None)

    def holders(self, ids: Iterable[IngestId]) -> dict[IngestId, Holder] | None:
        """Who holds which; looking never takes a lock. None where no lock table was ever made."""
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
        """All holders as /proc/locks lists them, for those who may not open the lock file."""
        try:
            locks = proc_locks.locks_on(os.stat(self._path))
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
        """In a forked child: the parent's locks must not outlive the parent in us."""
        self._mutex = threading.RLock()
        self._self = None
        self._held = {}
        self._close_locks()

    def _me(self) -> _Self:
        if self._self is None:
            self._self = _Self()
        return self._self

    def _open(self, *, for_writing: bool) -> int:
        """The lock file's descriptor, -1 when it isn't there and nothing is to be written."""
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
            # Locks we hold live on the old description: it must stay open until we end.
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
        request = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, base, 1 << _PID_BITS, 0)
        answer = fcntl.fcntl(self._fd, fcntl.F_OFD_GETLK, request)
        kind, _, _, length, _ = _FLOCK.unpack(answer)
        if kind == fcntl.F_UNLCK:
            return None
        return self._holder(base, length)

    def _holder(self, base: int, pid: int) -> Holder:
        record = self._read_record(base)
        if record is not None and record.pid == pid:
            return record
        return Holder(pid, process_started_ns(pid), process_command(pid), 0)

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
        """Write down who we are. Only an explanation: the lock holds without it."""
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
            foreign=namespace not in (0, _pid_namespace()),
        )


class RefLock:
    """A held lock; releasing twice is fine, and dropping it releases it."""

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
    """A holder in words: ``pid 12 (contentui ingest x), for 3m``."""
    words = f"pid {holder.pid}" if holder.pid else "another process"
    if holder.foreign:
        words += " of another container"
    if holder.command:
        words += f" ({visible(holder.command, 120)})"
    if holder.since_ns and now_ns >= holder.since_ns:
        words += f", for {human_duration((now_ns - holder.since_ns) / 1e9)}"
    return words


def _locked(holder: Holder | None) -> Locked:
    if holder is None:  # it was freed between the refusal and the look
        return Locked("the ref was locked by a writer that has just ended", advice="try again")
    return Locked(f"the ref is locked by {describe(holder, time.time_ns())}", holder=holder)


_orphans: list[int] = []
