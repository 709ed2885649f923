"""The holders of ingests, found from the open files of the daemon's process."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from contentui.content.holder import Process
from contentui.content.model import Holder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from contentui.content.model import IngestId
    from contentui.stores.containerd.client import Client
    from contentui.stores.daemon import OpenIngests
    from contentui.stores.socket_peers import SocketPeers

NAMED_S = 5.0
"""Seconds until the clients are looked for again while the same ingests are held: the kernel lists
every socket for that.
"""


class LockOwners:
    """The ingests that a daemon has open.

    Known only if the process behind the socket is the one that has the content files open.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._mutex = threading.Lock()
        self._generation = -1
        self._holder = Holder(0, 0, "", 0)
        self._since: dict[IngestId, int] = {}
        self._open: OpenIngests | None = None
        self._peers: SocketPeers | None = None
        self._named: frozenset[IngestId] = frozenset()
        """What was held when the clients were found last."""
        self._named_at = float("-inf")

    def holders(self, ids: Iterable[IngestId]) -> Mapping[IngestId, Holder] | None:
        """The holders of those of ``ids`` that are held; None if unknown."""
        held = self._held()
        if held is None:
            return None
        wanted = [ident for ident in ids if ident in held]
        if wanted and (held != self._named or time.monotonic() - self._named_at > NAMED_S):
            self._find_clients()
            self._named, self._named_at = held, time.monotonic()
        return {ident: self._for(ident) for ident in wanted}

    def completed(self, holder: Holder | None, ident: IngestId) -> Holder:
        """The holder named in a Locked error, completed with the daemon's process."""
        since = holder.since_ns if holder else 0
        if since:
            self._since[ident] = since
        with self._mutex:
            self._find_process()
        self._find_clients()
        with self._mutex:
            return self._holder._replace(since_ns=since)

    def forget(self, ident: IngestId) -> None:
        """An ingest was removed: drop the time since which its ref is held."""
        self._since.pop(ident, None)

    def _for(self, ident: IngestId) -> Holder:
        return self._holder._replace(since_ns=self._since.get(ident, 0))

    def _held(self) -> frozenset[IngestId] | None:
        with self._mutex:
            self._find_process()
            held = self._open.held() if self._open else None
            if held is None:
                self._generation = -1  # another process may listen by now
        if held is not None:
            self._since = {ident: at for ident, at in self._since.items() if ident in held}
        return held

    def _find_process(self) -> None:
        """Find the daemon's process, once per connection."""
        if self._generation == self._client.generation:
            return
        from contentui.stores.daemon import OpenIngests, peer_pid
        from contentui.stores.socket_peers import SocketPeers

        pid = peer_pid(self._client.socket)
        trusted = pid > 0 and self._client.server.local and self._is_the_daemon(pid)
        self._open = OpenIngests(pid) if trusted else None
        name = "a contentui service" if self._client.server.flat else "containerd"
        self._holder = Holder(0, 0, "", 0, daemon=Process(pid, name))
        self._peers = SocketPeers(self._client.socket, pid) if trusted else None
        self._generation = self._client.generation
        self._named_at = float("-inf")

    def _find_clients(self) -> None:
        with self._mutex:
            clients = () if self._peers is None else self._peers.processes()
            if clients != self._holder.clients:
                self._holder = self._holder._replace(clients=clients)

    def _is_the_daemon(self, pid: int) -> bool:
        """Whether the process behind the socket has the content files open: a tunnel has not."""
        identity = self._client.server
        root = identity.root if identity.flat else os.path.dirname(identity.root)
        if root.strip("/") == "":
            return False
        try:
            names = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            return False
        return any(_target(pid, name).startswith(root + "/") for name in names)


def _target(pid: int, name: str) -> str:
    """The file of a descriptor; empty if it was closed or access is denied."""
    try:
        return os.readlink(f"/proc/{pid}/fd/{name}")
    except OSError:
        return ""
