"""What the kernel tells about a daemon: its pid, and which ingests it has open."""

from __future__ import annotations

import os
import re
from itertools import islice
from typing import TYPE_CHECKING

from contentui.content.model import IngestId

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_DESCRIPTORS = 65_536
"""Open files of a daemon that are looked at; with more of them nothing is told."""
_CONNECT_S = 1.0
_DATA = re.compile(r"/ingest/([0-9a-f]{64})/data(?: \(deleted\))?")


def peer_pid(socket_path: str) -> int:
    """The pid of the process that listens on a unix socket; 0 when it can't be told.

    It is who called listen(2): where systemd opened the socket, that is pid 1, and its open files
    say nothing about the daemon's.
    """
    import socket
    import struct

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_CONNECT_S)
        try:
            connection.connect(os.fsencode(socket_path))
            raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        except (OSError, ValueError):
            return 0
    pid: int = struct.unpack("=iII", raw)[0]
    return max(pid, 0)


def process_holding(path: str) -> int:
    """The pid of the process that holds a lock on a file; 0 when none does, or none that we see.

    The file's device tells two files of one number apart, where the file system says the same
    device to everyone; where it doesn't (btrfs, overlay) only a single candidate counts.
    """
    try:
        found = os.stat(path)
        with open("/proc/locks", "rb") as file:
            held = list(_locks_on(found.st_ino, file.read().splitlines()))
    except (OSError, ValueError, IndexError):
        return 0
    device = os.major(found.st_dev), os.minor(found.st_dev)
    pids = {pid for pid, where in held if where == device} or {pid for pid, _ in held}
    return pids.pop() if len(pids) == 1 else 0


def _locks_on(inode: int, lines: list[bytes]) -> Iterator[tuple[int, tuple[int, int]]]:
    """Pid and device of each lock on a file of that number (proc_locks(5)).

    Those of open file descriptions have no pid, and are left out.
    """
    ending = b":%d" % inode
    for line in lines:
        if ending in line and b"->" not in line:
            *_, pid, where, _, _ = line.split()
            if where.endswith(ending) and int(pid) > 0:
                major, minor, _ = where.split(b":")
                yield int(pid), (int(major, 16), int(minor, 16))


class OpenIngests:
    """The ingests that the process ``pid`` has open; a later process of that pid isn't meant."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._began = _began(pid)

    def may_be_read(self) -> bool:
        """Whether `held` has an answer, told more cheaply: a root's processes only root may see."""
        try:
            with os.scandir(f"/proc/{self.pid}/fd") as entries:
                for entry in entries:
                    os.readlink(entry.path)
                    break
        except OSError:
            return False
        return self._is_the_same()

    def held(self) -> frozenset[IngestId] | None:
        """The ingests with a live writer; None when that may not be read, or the process is gone.

        A daemon has an ingest's ``data`` open exactly while its ref is locked there: for writing,
        and before that, when it resumes, for reading, as it hashes what is there. So any open
        one counts. Costs 2 ms for 1,000 open files.
        """
        found = set()
        directory = -1
        try:
            directory = os.open(f"/proc/{self.pid}/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            with os.scandir(directory) as entries:
                names = [entry.name for entry in islice(entries, MOST_DESCRIPTORS + 1)]
            if len(names) > MOST_DESCRIPTORS:
                return None
            for name in names:
                if ingest := _open_ingest(name, directory):
                    found.add(ingest)
        except OSError:
            return None
        finally:
            if directory >= 0:
                os.close(directory)
        return frozenset(found) if self._is_the_same() else None

    def _is_the_same(self) -> bool:
        return self._began > 0 and _began(self.pid) == self._began


def _open_ingest(name: str, directory: int) -> IngestId | None:
    """The ingest whose data is behind a descriptor. Raises OSError where that may not be seen."""
    try:
        target = os.readlink(name, dir_fd=directory)
    except FileNotFoundError:  # closed meanwhile
        return None
    if "/ingest/" not in target:
        return None
    match = _DATA.search(target)
    return IngestId(match[1]) if match and match.end() == len(target) else None


def _began(pid: int) -> int:
    """When a process began, in clock ticks since boot; 0 when there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read(4096).rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0
