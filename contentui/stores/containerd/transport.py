"""One socket's connection: calls with deadlines, in raw bytes, told in our errors."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

# The library would write its troubles over the screen.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc

from contentui.content.errors import ContentError, NotFound, PermissionDenied, Unavailable
from contentui.protocol import names
from contentui.stores.access import access_problem
from contentui.stores.containerd.deadlines import Deadlines
from contentui.stores.containerd.refusals import Lost, told
from contentui.stores.source import is_socket
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    class Greeting(Protocol):
        """Called once with each new connection, before anything else goes over it."""

        def __call__(self, send: Callable[[str, bytes], bytes], /) -> None: ...


UNARY_S = 10.0
"""Seconds that a simple call may take."""
IDLE_S = 60.0
"""Seconds that a stream may stand still."""
_OPTIONS = (
    ("grpc.max_send_message_length", names.MAX_MESSAGE),
    ("grpc.max_receive_message_length", names.MAX_MESSAGE),
    ("grpc.max_metadata_size", 1 << 20),  # a refusal quotes the ref, which has up to 64 KiB
    ("grpc.absolute_max_metadata_size", 1 << 20),
    ("grpc.initial_reconnect_backoff_ms", 250),
    ("grpc.min_reconnect_backoff_ms", 5000),  # it also ends an attempt to connect
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.default_authority", "localhost"),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),  # so that a new channel really connects anew
)


class Metadata(NamedTuple):
    """Whom a call is for."""

    namespace: str = ""
    lease: str = ""

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """As gRPC wants them."""
        pairs = ((names.NAMESPACE, self.namespace), (names.LEASE, self.lease))
        return tuple((key, value) for key, value in pairs if value)


class Connection:
    """Calls to whatever listens on ``socket``; safe to use from many threads.

    A lost connection is told at once, and the next call tries a new one. ``greet`` is called with
    each new connection before other calls go over it.
    """

    def __init__(self, socket: str, greet: Greeting, *, timeout_s: float = UNARY_S) -> None:
        self.socket = socket
        self.timeout_s = timeout_s
        self.deadlines = Deadlines()
        self._greet = greet
        self._mutex = threading.RLock()
        self._channel: grpc.Channel | None = None
        self._identity: tuple[int, int, int] | None = None
        self._closed = False

    def open(self) -> None:
        """Connect, if there is no connection. Raises Unavailable, PermissionDenied."""
        self._current()

    def unary(self, path: str, request: bytes, meta: Metadata) -> bytes:
        """The answer to one request.

        Raises:
            Unavailable: nobody answers. Others as the service refuses.
        """
        channel = self._current()
        try:
            return self._send(channel, path, request, meta)
        except Lost:
            self._drop(channel)
            raise

    def stream(self, path: str, request: bytes, meta: Metadata) -> Incoming:
        """The answers to one request, one after the other."""
        channel = self._current()
        start: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(path)
        return Incoming(self, channel, start(request, metadata=meta.pairs()))

    def duplex(self, path: str, requests: Iterator[bytes], meta: Metadata) -> Incoming:
        """The answers to requests that are sent as they come."""
        channel = self._current()
        start: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(path)
        return Incoming(self, channel, start(requests, metadata=meta.pairs()))

    def close(self) -> None:
        """Cancel what runs. Twice is fine."""
        with self._mutex:
            self._closed = True
            channel, self._channel = self._channel, None
        self.deadlines.close()
        if channel is not None:
            channel.close()

    def told(self, error: grpc.RpcError) -> ContentError:
        """An error of the library's as one of ours."""
        where = f"no answer on {visible(self.socket)}"
        found = told(error, where, "look whether the daemon runs; the next try connects anew")
        problem = self._problem() if isinstance(found, Lost) else None
        return problem or found

    def lost(self, channel: grpc.Channel, error: ContentError) -> None:
        """Forget a connection after one of its calls broke."""
        if isinstance(error, Unavailable):
            self._drop(channel)

    # Inside

    def _current(self) -> grpc.Channel:
        """The connection; a new one after the last was lost, or when the socket is another one."""
        identity = self._seen()
        with self._mutex:
            if self._closed:
                raise Unavailable(f"{visible(self.socket)} has been closed here")
            if self._channel is None or identity != self._identity:
                self._channel = self._opened()
                self._identity = identity
            return self._channel

    def _opened(self) -> grpc.Channel:
        if problem := self._problem():
            raise problem
        target = "unix:" + quote(os.path.abspath(self.socket), safe="/")
        channel = grpc.insecure_channel(target, options=_OPTIONS)
        try:
            self._greet(lambda path, request: self._send(channel, path, request, Metadata()))
        except ContentError:
            channel.close()
            raise
        return channel

    def _send(self, channel: grpc.Channel, path: str, request: bytes, meta: Metadata) -> bytes:
        try:
            start: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
            answer = start(request, timeout=self.timeout_s, metadata=meta.pairs())
        except grpc.RpcError as error:
            raise self.told(error) from None
        except ValueError:  # what the library says when another thread closed the channel
            raise Lost(f"{visible(self.socket)} has been closed here") from None
        return answer

    def _drop(self, channel: grpc.Channel) -> None:
        with self._mutex:
            if self._channel is channel:
                self._channel = None  # not closed: other calls may still end well on it

    def _seen(self) -> tuple[int, int, int] | None:
        """Which socket lies at the path."""
        try:
            found = os.stat(self.socket)
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_ctime_ns

    def _problem(self) -> ContentError | None:
        """What can be seen to be wrong with the socket, in words."""
        return socket_problem(self.socket)


def socket_problem(socket: str) -> ContentError | None:
    """What can be seen to be wrong with a socket before connecting; None: nothing."""
    shown = visible(socket)
    if problem := access_problem(socket, os.R_OK | os.W_OK):
        advice = "run this as root, or let the daemon's socket belong to a group of yours"
        return PermissionDenied(visible(problem), advice=advice)
    if not os.path.lexists(socket):
        return Lost(
            f"there is no socket at {shown}",
            advice="start the daemon, or name its socket: --store unix:///PATH",
        )
    if not is_socket(socket):
        return NotFound(f"{shown} is not a socket", advice="name the socket that a daemon made")
    return None


class Incoming:
    """A running call's answers. One thread at a time asks for them."""

    def __init__(self, connection: Connection, channel: grpc.Channel, call: grpc.Call) -> None:
        self._connection = connection
        self._channel = channel
        self._call = call
        self._answers = iter(call)  # type: ignore[call-overload]  # the stubs know it by another name

    def next(self, idle_s: float = IDLE_S) -> bytes | None:
        """The next answer; None after the last.

        Raises:
            Unavailable: the connection is lost, or nothing came for ``idle_s`` seconds.
        """
        deadlines = self._connection.deadlines
        deadlines.set(self._call, time.monotonic() + idle_s)
        try:
            answer: bytes = next(self._answers)
        except StopIteration:
            return None
        except grpc.RpcError as error:
            problem = self._connection.told(error)
            self._connection.lost(self._channel, problem)
            raise problem from None
        finally:
            deadlines.clear(self._call)
        return answer

    def cancel(self) -> None:
        """Let go of the call, whatever it is doing."""
        self._call.cancel()
