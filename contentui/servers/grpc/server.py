"""A gRPC server for a store: listening, starting, draining."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

import grpc

from contentui.content.errors import Unavailable
from contentui.servers.grpc.content import handlers
from contentui.servers.grpc.limits import Limits
from contentui.servers.grpc.reaper import ConnectionReaper
from contentui.servers.grpc.sockets import UnixSocket

if TYPE_CHECKING:
    from contentui.content.store import Store
    from contentui.servers.grpc.auxiliary import AuxiliaryServices

_CANCELLED_S = 0.5
"""How long cancelled calls may take to end."""


class Server:
    """Serves one store. Listen, `start`, and `stop`; leaving its ``with`` block stops it too.

    Args:
        store: what to serve; `stop` does not close it.
        limits: what clients may use.
        auxiliary: the other services; None: the content service only.
    """

    def __init__(
        self,
        store: Store,
        *,
        limits: Limits | None = None,
        auxiliary: AuxiliaryServices | None = None,
    ) -> None:
        self.limits = limits = limits or Limits()
        self._auxiliary = auxiliary
        self._pool = ThreadPoolExecutor(limits.threads, "contentui-service")
        self._server = grpc.server(
            self._pool,
            handlers=[handlers(store, limits), *(auxiliary.handlers if auxiliary else ())],
            options=options(limits),
            maximum_concurrent_rpcs=2 * limits.threads,
        )
        self._sockets: list[UnixSocket] = []
        self._ports: set[int] = set()
        self._paths: set[str] = set()
        self._reaper = ConnectionReaper(limits.ping_timeout_s, self._is_own)
        self._stopped = threading.Event()
        self._stopping = threading.Lock()
        self._running = False

    def listen_unix(self, path: str, mode: int = 0o600, group: int | str | None = None) -> None:
        """Serve on a Unix socket at ``path``, which `start` creates.

        ``group``: the id or name of the socket's group.

        Raises:
            InvalidArgument: the path is too long, or there is no such group.
            FailedPrecondition: another server listens there, or the path is not a socket.
            NotFound, PermissionDenied: the directory.
        """
        socket = UnixSocket(path, mode, group)
        try:
            self._bind(socket.address, None)
            self._paths.add(socket.address.removeprefix("unix:"))
            socket.bound()
        except BaseException:
            socket.close()
            raise
        self._sockets.append(socket)

    def listen_tcp(
        self, host: str, port: int, credentials: grpc.ServerCredentials | None = None
    ) -> int:
        """Serve on a TCP port, 0 for any that is free; returns the port.

        Without ``credentials`` every client that can connect may do everything.

        Raises:
            Unavailable: the address is in use or not of this machine.
        """
        name = f"[{host}]" if ":" in host else host
        bound = self._bind(f"{name}:{port}", credentials)
        self._ports.add(bound)
        return bound

    def _is_own(self, address: object) -> bool:
        """Whether a connection with this local address is one of a client."""
        if isinstance(address, tuple):
            return address[1] in self._ports
        return address in self._paths

    def _bind(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        try:
            if credentials is None:
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise Unavailable(f"cannot listen on {address}: {error}") from None

    def start(self) -> None:
        """Begin to serve; returns at once."""
        self._running = True
        self._server.start()
        self._reaper.start()
        for socket in self._sockets:
            socket.publish()

    def stop(self, grace_s: float = 0) -> None:
        """Drain: accept no new calls, let running ones end, cancel the rest after ``grace_s``.

        Ingests of cancelled Write streams stay, to be resumed. Returns when all refs are
        unlocked. May be called twice.
        """
        with self._stopping:
            if self._stopped.is_set():
                return
            if self._auxiliary is not None:
                self._auxiliary.drain()
            for socket in self._sockets:
                socket.close()
            if self._running:
                ended = self._server.stop(grace_s)
                if not ended.wait(grace_s + _CANCELLED_S):
                    self._reaper.shut_down_all()  # a stopped client ignores cancellation
                    ended.wait()
            self._pool.shutdown(wait=True)
            self._reaper.stop()
            self._stopped.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it has been stopped; False if ``timeout_s`` passed before."""
        return self._stopped.wait(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


def options(limits: Limits) -> list[tuple[str, int]]:
    """The options of grpcio's server."""
    ping_ms, timeout_ms = int(limits.ping_s * 1000), int(limits.ping_timeout_s * 1000)
    return [
        ("grpc.max_receive_message_length", limits.message),
        ("grpc.max_send_message_length", limits.message),
        ("grpc.max_concurrent_streams", limits.connection_streams),
        ("grpc.keepalive_time_ms", ping_ms),
        ("grpc.keepalive_timeout_ms", timeout_ms),
        ("grpc.http2.ping_timeout_ms", timeout_ms),  # the effective one, for every ping
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.so_reuseport", 0),  # a second server on the same port is an error
    ]
