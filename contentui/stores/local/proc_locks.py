"""Who has a file locked, mostly as the kernel lists it in /proc/locks (proc_locks(5)).

Looking takes no lock and needs no permission on the file. Locks of processes in a pid namespace
that is not ours or below it are not listed, except those of open file descriptions, which the
kernel lists without a pid.
"""

from __future__ import annotations

import fcntl
import os
from typing import NamedTuple

from contentui.stores.local import files


class KernelLock(NamedTuple):
    """One lock that is held; those that wait for it are left out."""

    pid: int
    """Who took it; 0 for a lock of an open file description, which belongs to no process."""
    writes: bool
    start: int
    """First byte."""
    length: int
    """Bytes; 0 to the end of the file, however long it grows."""


def locks_on(found: os.stat_result) -> list[KernelLock]:
    """The locks on a file. Raises OSError when /proc/locks can't be read."""
    inode = b"%d" % found.st_ino
    with open("/proc/locks", "rb") as file:
        return [lock for line in file if (lock := _parsed(line, inode)) is not None]


def _parsed(line: bytes, inode: bytes) -> KernelLock | None:
    # "1: OFDLCK ADVISORY  WRITE -1 08:01:1234 0 EOF"; "1: -> ..." waits for the one before it.
    fields = line.split()
    if len(fields) != 8 or fields[5].rpartition(b":")[2] != inode:
        return None
    try:
        start = int(fields[6])
        length = 0 if fields[7] == b"EOF" else int(fields[7]) - start + 1
        return KernelLock(max(int(fields[4]), 0), fields[3] == b"WRITE", start, length)
    except ValueError:
        return None


def is_flocked(path: str, directory: int | None = None, flags: int = files.READ) -> bool:
    """Whether a process has a file locked with flock(2), by trying a shared lock.

    This detects processes of other containers, too, which /proc/locks does not list. A file that
    cannot be opened counts as locked. Raises FileNotFoundError.
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
