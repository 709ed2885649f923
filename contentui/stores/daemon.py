"""Which ingests a process has open, and which process serves a socket (proc_pid_fd(5), unix(7))."""

from __future__ import annotations

import os
import re
from itertools import islice

from contentui.content.model import IngestId

MOST_DESCRIPTORS = 65_536
"""The most open files of a daemon that are read; with more of them its ingests are unknown."""
_CONNECT_S = 1.0
_DATA = re.compile(r"/ingest/([0-9a-f]{64})/data(?: \(deleted\))?")


def peer_pid(socket_path: str) -> int:
    """The pid of the process that listens on a unix socket; 0 if unknown.

    This is the process that called listen(2). Where systemd opened the socket that is pid 1, whose
    open files are not those of the daemon.
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


class OpenIngests:
    """The ingests that the process ``pid`` has open. A later process of that pid is ignored."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._began = _began(pid)

    def held(self) -> frozenset[IngestId] | None:
        """The ingests with a live writer; None if that cannot be read or the process has ended.

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
    """The ingest whose data is behind a descriptor. Raises OSError if it cannot be read."""
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
