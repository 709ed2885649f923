"""What /proc reports about locks and processes (proc_locks(5), proc_pid_stat(5)).

Reading /proc/locks takes no lock and needs no permission on the locked file. It does not list locks
of processes in a pid namespace that is neither ours nor below it, except locks of open file
descriptions (F_OFD_SETLK), which it lists without a pid.
"""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from contentui.stores import files

if TYPE_CHECKING:
    from collections.abc import Iterable


class KernelLock(NamedTuple):
    """A lock that is held; waiting requests are left out."""

    pid: int
    """The process that took it; 0 for a lock of an open file description."""
    writes: bool
    """Whether it is a write lock."""
    start: int
    """First byte."""
    length: int
    """Bytes; 0: to the end of the file, however long it grows."""
    device: tuple[int, int]
    """Major and minor number of the file's device."""


def locks_on(found: os.stat_result) -> list[KernelLock]:
    """The locks on a file. Raises OSError when /proc/locks can't be read."""
    with open("/proc/locks", "rb") as file:
        return parse_locks(file, found.st_ino)


def parse_locks(lines: Iterable[bytes], inode: int) -> list[KernelLock]:
    """The locks on files with this inode number, whatever their device."""
    ending = b":%d" % inode
    return [lock for line in lines if (lock := _parse_lock(line, ending)) is not None]


def pid_with_lock(path: str) -> int:
    """The pid of the process that holds a lock on a file; 0 if there is none or it is unknown.

    Inode numbers are unique per device only. On btrfs and overlayfs stat(2) and /proc/locks report
    different devices for a file: there only a single candidate counts.
    """
    try:
        found = os.stat(path)
        locks = [lock for lock in locks_on(found) if lock.pid]
    except OSError:
        return 0
    device = os.major(found.st_dev), os.minor(found.st_dev)
    pids = {lock.pid for lock in locks if lock.device == device} or {lock.pid for lock in locks}
    return pids.pop() if len(pids) == 1 else 0


def _parse_lock(line: bytes, ending: bytes) -> KernelLock | None:
    # "1: OFDLCK ADVISORY  WRITE -1 08:01:1234 0 EOF"; "1: -> ..." waits for the one before it.
    fields = line.split()
    if len(fields) != 8 or not fields[5].endswith(ending):
        return None
    try:
        major, minor, _ = fields[5].split(b":")
        start = int(fields[6])
        length = 0 if fields[7] == b"EOF" else int(fields[7]) - start + 1
        return KernelLock(
            max(int(fields[4]), 0),
            fields[3] == b"WRITE",
            start,
            length,
            (int(major, 16), int(minor, 16)),
        )
    except ValueError:
        return None


def is_flocked(path: str, directory: int | None = None, flags: int = files.READ) -> bool:
    """Whether a process has a file locked with flock(2); tries a shared lock for an instant.

    This detects locks of processes in other containers, too, which /proc/locks does not list. A
    file that cannot be opened counts as locked. Raises FileNotFoundError.
    """
    try:
        fd = os.open(path, flags, dir_fd=directory)
    except FileNotFoundError:
        raise
    except PermissionError:  # another user's: only its owner may open what is locked
        try:
            return bool(locks_on(os.stat(path, dir_fd=directory)))
        except OSError:
            return True
    except OSError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        files.close(fd)
    return False


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped: by SIGSTOP, a terminal or a debugger."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read(4096).rpartition(b")")[2].split()[0] in {b"T", b"t"}
    except (OSError, IndexError):
        return False


class ProcessIdentity(NamedTuple):
    """A process, which no later process equals (proc_pid_stat(5), field 22)."""

    pid: int
    started_ticks: int
    """Clock ticks between the machine's start and the process's."""
    boot_id: str
    pid_namespace: int


def process_identity(pid: int) -> ProcessIdentity | None:
    """A process of this pid namespace; None: it can't be known."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot_id = file.read(64).strip()
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except (OSError, UnicodeError):
        return None
    ticks = _started_ticks(pid)
    return ProcessIdentity(pid, ticks, boot_id, namespace) if ticks else None


def is_proven_dead(process: ProcessIdentity) -> bool:
    """Whether a process certainly has ended.

    False for one of another pid namespace, machine or boot, where nothing is known, and where
    ``/proc`` hides it.
    """
    own = process_identity(os.getpid())
    if own is None or own[2:] != process[2:] or process.pid <= 0:
        return False
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass
    ticks = _started_ticks(process.pid)
    return bool(ticks) and ticks != process.started_ticks


def _started_ticks(pid: int) -> int:
    """0 when unknown."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read(4096).rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def process_started_ns(pid: int) -> int:
    """When a process of this pid namespace started, nanoseconds since 1970; 0 when unknown."""
    ticks = _started_ticks(pid)
    if not ticks:
        return 0
    boot_ns = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return boot_ns + ticks * 10**9 // os.sysconf("SC_CLK_TCK")


def process_name(pid: int) -> str:
    """The name of a process's executable, at most 15 bytes, hostile text; empty when unknown."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read(64).rstrip(b"\n").decode("utf-8", "surrogateescape")
    except OSError:
        return ""


def process_command(pid: int) -> str:
    """A process's command line, hostile text; empty when unknown."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            raw = file.read(4096)
    except OSError:
        return ""
    return raw.rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "surrogateescape")
