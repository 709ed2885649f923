"""Shuts down connections whose client has stopped reading, for example a stopped process.

gRPC pings its clients, and ends a connection that doesn't respond. But it sends no ping while a
write is in progress, and a client that stops with its socket full leaves a write in progress: its
streams would never end. So the kernel's count of unread bytes is checked.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
import struct
import termios
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHECKS = 400
"""Checks of a connection within the time after which it is shut down.

A client that reads all there is at once is seen to read only by a check between that and the next
write.
"""
_SWEEPS = 40
"""Searches for connections with unread bytes within that time."""
_TCP_INFO_SIZE = 136
_TCP_BYTES = struct.Struct("=QQ")
"""Bytes that the peer has acknowledged and sent; at the same place in every ``tcp_info``."""
_TCP_BYTES_AT = 120


class _Suspect(NamedTuple):
    """A connection with unread bytes in the kernel's buffer."""

    fd: int
    state: tuple[int, ...]
    """Differs after any byte was sent or read."""
    since: float


class ConnectionReaper:
    """Shuts down a server's connections on which no byte was read for ``limit_s`` seconds.

    ``is_own``: whether an address is one that the server listens at.
    """

    def __init__(self, limit_s: float, is_own: Callable[[object], bool]) -> None:
        self._limit_s = limit_s
        self._is_own = is_own
        self._suspects: dict[int, _Suspect] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="contentui-reaper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """May be called twice, and without `start`."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        swept = 0.0
        while not self._ended.wait(self._pause_s()):
            now = time.monotonic()
            if now - swept >= self._limit_s / _SWEEPS:
                swept = now
                self._sweep(now)
            for inode, suspect in list(self._suspects.items()):
                self._check(inode, suspect.fd, now)

    def _pause_s(self) -> float:
        """Seconds until the next check; random, to not coincide with a client's reads."""
        checks = _CHECKS if self._suspects else _SWEEPS
        return self._limit_s / checks * random.uniform(0.5, 1.5)  # noqa: S311 - not a secret

    def shut_down_all(self) -> None:
        """Shut down every connection of the server."""
        for _, fd in _sockets():
            with contextlib.suppress(OSError), _borrowed(fd) as connection:
                if self._is_own(connection.getsockname()):
                    connection.getpeername()  # a listener has no peer
                    connection.shutdown(socket.SHUT_RDWR)

    def _sweep(self, now: float) -> None:
        """Check all connections."""
        for inode, fd in _sockets():
            self._check(inode, fd, now)

    def _check(self, inode: int, fd: int, now: float) -> None:
        """Begin or stop observing a connection, or shut it down."""
        try:
            with _borrowed(fd) as connection:
                state = self._state(connection) if os.fstat(fd).st_ino == inode else None
                before = self._suspects.pop(inode, None)
                if state is None:
                    return
                if before is None or before.state != state:
                    self._suspects[inode] = _Suspect(fd, state, now)
                elif now - before.since < self._limit_s:
                    self._suspects[inode] = before
                else:
                    connection.shutdown(socket.SHUT_RDWR)  # gRPC sees it end, and cleans up
        except OSError:
            self._suspects.pop(inode, None)

    def _state(self, connection: socket.socket) -> tuple[int, ...] | None:
        """None for another socket, or one without unread bytes. Raises OSError."""
        if not self._is_own(connection.getsockname()):
            return None
        connection.getpeername()  # a listener has no peer
        (waiting,) = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))
        if not waiting:
            return None
        if connection.family == socket.AF_UNIX:
            return (waiting,)
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
        if len(info) < _TCP_INFO_SIZE:
            return (waiting,)
        return waiting, *_TCP_BYTES.unpack_from(info, _TCP_BYTES_AT)


def _sockets() -> Iterator[tuple[int, int]]:
    """Inode and descriptor of each socket of this process; none without /proc."""
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError, ValueError):
                kind, _, inode = os.readlink(f"/proc/self/fd/{name}").partition(":")
                if kind == "socket":
                    yield int(inode[1:-1]), int(name)


@contextlib.contextmanager
def _borrowed(fd: int) -> Iterator[socket.socket]:
    """A descriptor as a socket that is not closed afterwards. Raises OSError.

    It isn't duplicated: the number may name another file by then, and closing a duplicate of a
    database would drop SQLite's locks on it.
    """
    connection = socket.socket(fileno=fd)
    try:
        yield connection
    finally:
        connection.detach()
