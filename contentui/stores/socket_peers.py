"""Which processes are connected to a unix socket (sock_diag(7), proc_pid_fd(5))."""

from __future__ import annotations

import os
import socket
import struct
import time
from typing import TYPE_CHECKING

from contentui.content.holder import Process
from contentui.stores import procfs

if TYPE_CHECKING:
    from collections.abc import Iterator

_SOCK_DIAG = 4  # NETLINK_SOCK_DIAG
_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY
_REQUEST_AND_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_DONE, _ERROR = 3, 2
_ALL_STATES = 0xFFFFFFFF
_SHOW_VFS_AND_PEER = 0x02 | 0x04
_VFS, _PEER = 1, 2
_HEADER = struct.Struct("=IHHII")
_UNIX_REQUEST = struct.Struct("=BBHIIIII")
_UNIX_ANSWER = struct.Struct("=BBBBIII")
_ATTRIBUTE = struct.Struct("=HH")
_MOST_PEERS = 1000
_TIMEOUT_S = 1.0
_AGAIN_S = 2.0
"""Seconds until owners that were not found are looked for again."""


class SocketPeers:
    """The processes at the other ends of the connections to a socket.

    Args:
        path: where the socket is bound.
        server: the pid of the process that listens there.
    """

    def __init__(self, path: str, server: int) -> None:
        self._path = path
        self._server = server
        self._known: tuple[frozenset[int], tuple[Process, ...]] = frozenset(), ()
        self._again_s = float("inf")
        """When owners that were not found are looked for again, by the monotonic clock."""

    def processes(self) -> tuple[Process, ...]:
        """Every connected process but this one and the server, by pid; empty if any is unknown.

        Processes are looked for in /proc only when the connections have changed.
        """
        try:
            peers = frozenset(_connected(os.stat(self._path).st_ino))
        except (OSError, ValueError, struct.error):
            return ()
        now_s = time.monotonic()
        if peers != self._known[0] or now_s >= self._again_s:
            found = _owners(peers, {os.getpid(), self._server})
            self._known = peers, found or ()
            # A process may have been between two files: it is looked for again.
            self._again_s = now_s + _AGAIN_S if found is None else float("inf")
        return self._known[1]


def _connected(socket_inode: int) -> Iterator[int]:
    """The socket inodes of the clients of the socket file with that inode number."""
    for attributes in _unix_sockets():
        vfs, peer = attributes.get(_VFS), attributes.get(_PEER)
        if vfs is None or peer is None or _u32(vfs) != socket_inode & 0xFFFFFFFF:
            continue
        if inode := _u32(peer):  # 0: that process has closed it, and the server has not
            yield inode


def _u32(data: bytes) -> int:
    value: int = struct.unpack_from("=I", data)[0]
    return value


def _unix_sockets() -> Iterator[dict[int, bytes]]:
    """The attributes of each unix socket of this network namespace. Raises OSError."""
    body = _UNIX_REQUEST.pack(socket.AF_UNIX, 0, 0, _ALL_STATES, 0, _SHOW_VFS_AND_PEER, 0, 0)
    request = _HEADER.pack(_HEADER.size + len(body), _BY_FAMILY, _REQUEST_AND_DUMP, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as netlink:
        netlink.settimeout(_TIMEOUT_S)
        netlink.send(request)
        while True:
            data = netlink.recv(1 << 18)
            while data:
                length, kind, *_ = _HEADER.unpack_from(data)
                if kind == _DONE:
                    return
                if kind == _ERROR or length < _HEADER.size:
                    raise OSError("the kernel does not list unix sockets")
                yield _attributes(data[_HEADER.size + _UNIX_ANSWER.size : length])
                data = data[_aligned(length) :]


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            break
        found[kind] = data[_ATTRIBUTE.size : length]
        data = data[_aligned(length) :]
    return found


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def _owners(inodes: frozenset[int], without: set[int]) -> tuple[Process, ...] | None:
    """The processes that have these sockets open; None if one of them has no known owner."""
    if not inodes:
        return ()
    if len(inodes) > _MOST_PEERS:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    found: set[int] = set()
    seen: set[str] = set()
    for pid in _pids():
        here = wanted & set(_links(pid))
        if here:
            seen |= here
            found.add(pid)
    if seen != wanted:
        return None
    pids = sorted(found - without)
    return tuple(Process(pid, procfs.process_name(pid)) for pid in pids)


def _pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except OSError:
        return []


def _links(pid: int) -> Iterator[str]:
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return
    for name in names:
        try:
            yield os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
