"""A store served over gRPC: listening, starting, draining."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

import grpc

from contentui.content.errors import Unavailable
from contentui.servers.grpc.content import handlers
from contentui.servers.grpc.frozen import FrozenConnections
from contentui.servers.grpc.limits import Limits
from contentui.servers.grpc.sockets import UnixSocket

if TYPE_CHECKING:
    from contentui.content.store import Store
    from contentui.servers.grpc.side import SideServices

_CANCELLED_S = 0.5
"""How long calls that are cancelled may take to end."""


class Service:
    """Serves one store. Listen, `start`, and `stop`, which leaving its ``with`` block does too.

    Args:
        store: what to serve; it isn't closed.
        limits: what clients may take.
        side: the services beside the content service; without them it stands alone.
    """

    def __init__(
        self,
        store: Store,
        *,
        limits: Limits | None = None,
        side: SideServices | None = None,
    ) -> None:
        self.limits = limits = limits or Limits()
        self._side = side
        self._pool = ThreadPoolExecutor(limits.threads, "contentui-service")
        self._server = grpc.server(
            self._pool,
            handlers=[handlers(store, limits), *(side.handlers if side else ())],
            options=options(limits),
            maximum_concurrent_rpcs=2 * limits.threads,
        )
        self._sockets: list[UnixSocket] = []
        self._ports: set[int] = set()
        self._paths: set[str] = set()
        self._frozen = FrozenConnections(limits.answer_s, self._is_own)
        self._stopped = threading.Event()
        self._stopping = threading.Lock()
        self._running = False

    def listen_unix(self, path: str, mode: int = 0o600, group: int | str | None = None) -> None:
        """Serve on a socket at ``path``, which appears when the service is started.

        ``group``: the id or name of the group that the socket shall belong to.

        Raises:
            InvalidArgument: the path is too long, or there is no such group.
            FailedPrecondition: another service answers there, or something else is in the way.
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

        Without ``credentials`` everybody who reaches it may do everything.

        Raises:
            Unavailable: the address can't be had.
        """
        name = f"[{host}]" if ":" in host else host
        bound = self._bind(f"{name}:{port}", credentials)
        self._ports.add(bound)
        return bound

    def _is_own(self, address: object) -> bool:
        """Whether a connection with this local address is a client's."""
        if isinstance(address, tuple):
            return address[1] in self._ports
        return address in self._paths

    def _bind(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        try:
            if credentials is None:
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise Unavailable(f"can't listen on {address}: {error}") from None

    def start(self) -> None:
        """Begin to answer; returns at once."""
        self._running = True
        self._server.start()
        self._frozen.start()
        for socket in self._sockets:
            socket.publish()

    def stop(self, grace_s: float = 0) -> None:
        """Drain: take no new calls, let running ones end, cut off the rest after ``grace_s``.

        Whoever was writing then finds its ingest as it was, to be resumed. Returns when every
        ref is free. Twice is fine.
        """
        with self._stopping:
            if self._stopped.is_set():
                return
            if self._side is not None:
                self._side.drain()
            for socket in self._sockets:
                socket.close()
            if self._running:
                ended = self._server.stop(grace_s)
                if not ended.wait(grace_s + _CANCELLED_S):
                    self._frozen.cut_off_all()  # a stopped client takes no cancellation, either
                    ended.wait()
            self._pool.shutdown(wait=True)
            self._frozen.stop()
            self._stopped.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it has been stopped; False when ``timeout_s`` passed before."""
        return self._stopped.wait(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


def options(limits: Limits) -> list[tuple[str, int]]:
    """The transport's options."""
    ping_ms, answer_ms = int(limits.ping_s * 1000), int(limits.answer_s * 1000)
    return [
        ("grpc.max_receive_message_length", limits.message),
        ("grpc.max_send_message_length", limits.message),
        ("grpc.max_concurrent_streams", limits.connection_streams),
        ("grpc.keepalive_time_ms", ping_ms),
        ("grpc.keepalive_timeout_ms", answer_ms),
        ("grpc.http2.ping_timeout_ms", answer_ms),  # the one that counts, for every ping
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.so_reuseport", 0),  # a second service on our port is an error
    ]
