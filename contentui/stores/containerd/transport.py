"""The connection to a daemon's socket: calls in bytes, with deadlines and our errors."""

from __future__ import annotations

import os
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

# grpcio would write its log over the dashboard.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc

from contentui.content.errors import ContentError, NotFound, PermissionDenied, Unavailable
from contentui.protocol import names
from contentui.stores.access import access_problem
from contentui.stores.containerd.errors import ConnectionLost, from_rpc_error
from contentui.stores.source import is_socket
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    class Handshake(Protocol):
        """Called once with each new connection, before anything else goes over it."""

        def __call__(self, send: Callable[[str, bytes], bytes], /) -> None: ...


UNARY_TIMEOUT_S = 10.0
"""Seconds that a unary call may take."""
IDLE_TIMEOUT_S = 60.0
"""Seconds without a message after which a stream fails."""
MAX_PREFETCHED = 4
"""Messages of up to 16 MiB, a containerd's of 1 MiB, that a `Prefetcher` holds."""
_DEADLINE_STEP_S = 1.0
_OPTIONS = (
    ("grpc.max_send_message_length", names.MAX_MESSAGE),
    ("grpc.max_receive_message_length", names.MAX_MESSAGE),
    ("grpc.max_metadata_size", 1 << 20),  # an error quotes the ref, which has up to 64 KiB
    ("grpc.absolute_max_metadata_size", 1 << 20),
    ("grpc.initial_reconnect_backoff_ms", 250),
    ("grpc.min_reconnect_backoff_ms", 5000),  # also the timeout of an attempt to connect
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.default_authority", "localhost"),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),  # so that a new channel makes a new connection
)


class Metadata(NamedTuple):
    """The namespace and the lease that are sent with a call."""

    namespace: str = ""
    lease: str = ""

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """For grpcio's ``metadata`` argument."""
        pairs = ((names.NAMESPACE, self.namespace), (names.LEASE, self.lease))
        return tuple((key, value) for key, value in pairs if value)


class Connection:
    """Calls to the server that listens on ``socket``; safe to use from many threads.

    A call fails at once when the connection is lost; the next call connects again. ``handshake`` is
    called with each new connection before other calls use it.
    """

    def __init__(
        self, socket: str, handshake: Handshake, *, timeout_s: float = UNARY_TIMEOUT_S
    ) -> None:
        self.socket = socket
        self.timeout_s = timeout_s
        self.deadlines = Deadlines()
        self._handshake = handshake
        self._mutex = threading.RLock()
        self._channel: grpc.Channel | None = None
        self._identity: tuple[int, int, int] | None = None
        self._closed = False

    def open(self) -> None:
        """Connect, if there is no connection. Raises Unavailable, PermissionDenied."""
        self._current()

    def unary(self, path: str, request: bytes, meta: Metadata) -> bytes:
        """The response to one request.

        Raises:
            Unavailable: no connection, or no response in time.
            ContentError: the server's error; see `from_rpc_error`.
        """
        channel = self._current()
        try:
            return self._send(channel, path, request, meta)
        except ConnectionLost:
            self._drop(channel)
            raise

    def stream(self, path: str, request: bytes, meta: Metadata) -> ResponseStream:
        """The responses to one request."""
        channel = self._current()
        start: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(path)
        return ResponseStream(self, channel, start(request, metadata=meta.pairs()))

    def duplex(self, path: str, requests: Iterator[bytes], meta: Metadata) -> ResponseStream:
        """The responses to requests, which are sent as ``requests`` yields them."""
        channel = self._current()
        start: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(path)
        return ResponseStream(self, channel, start(requests, metadata=meta.pairs()))

    def close(self) -> None:
        """Cancel all running calls. May be called twice."""
        with self._mutex:
            self._closed = True
            channel, self._channel = self._channel, None
        self.deadlines.close()
        if channel is not None:
            channel.close()

    def mapped(self, error: grpc.RpcError) -> ContentError:
        """Grpcio's error as one of ours; see `from_rpc_error`."""
        lost = f"no answer on {visible(self.socket)}"
        found = from_rpc_error(error, lost, "check that the daemon runs, then try again")
        problem = socket_problem(self.socket) if isinstance(found, ConnectionLost) else None
        return problem or found

    def lost(self, channel: grpc.Channel, error: ContentError) -> None:
        """Drop the connection if ``error`` of one of its calls means that it is lost."""
        if isinstance(error, Unavailable):
            self._drop(channel)

    # Inside

    def _current(self) -> grpc.Channel:
        """The connection; a new one if the last was lost or the socket was replaced."""
        identity = self._socket_identity()
        with self._mutex:
            if self._closed:
                raise Unavailable(f"connection to {visible(self.socket)} closed")
            if self._channel is None or identity != self._identity:
                self._channel = self._opened()
                self._identity = identity
            return self._channel

    def _opened(self) -> grpc.Channel:
        if problem := socket_problem(self.socket):
            raise problem
        target = "unix:" + quote(os.path.abspath(self.socket), safe="/")
        channel = grpc.insecure_channel(target, options=_OPTIONS)
        try:
            self._handshake(lambda path, request: self._send(channel, path, request, Metadata()))
        except ContentError:
            channel.close()
            raise
        return channel

    def _send(self, channel: grpc.Channel, path: str, request: bytes, meta: Metadata) -> bytes:
        try:
            start: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
            response = start(request, timeout=self.timeout_s, metadata=meta.pairs())
        except grpc.RpcError as error:
            raise self.mapped(error) from None
        except ValueError:  # another thread has closed the channel
            raise ConnectionLost(
                f"the connection to {visible(self.socket)} has been closed"
            ) from None
        return response

    def _drop(self, channel: grpc.Channel) -> None:
        with self._mutex:
            if self._channel is channel:
                self._channel = None  # not closed: other calls may still succeed on it

    def _socket_identity(self) -> tuple[int, int, int] | None:
        """Differs after the socket was replaced; None without one."""
        try:
            found = os.stat(self.socket)
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_ctime_ns


def socket_problem(socket: str) -> ContentError | None:
    """The error for a socket that is missing, not accessible or not a socket; else None."""
    shown = visible(socket)
    if problem := access_problem(socket, os.R_OK | os.W_OK):
        advice = "run this as root, or give the daemon's socket a group that you are in"
        return PermissionDenied(visible(problem), advice=advice)
    if not os.path.lexists(socket):
        return ConnectionLost(
            f"there is no socket at {shown}",
            advice="start the daemon, or name its socket: --store unix:///PATH",
        )
    if not is_socket(socket):
        return NotFound(f"{shown} is not a socket", advice="give the path of a daemon's socket")
    return None


class ResponseStream:
    """The responses of a running call, for one thread at a time."""

    def __init__(self, connection: Connection, channel: grpc.Channel, call: grpc.Call) -> None:
        self._connection = connection
        self._channel = channel
        self._call = call
        self._responses = iter(call)  # type: ignore[call-overload]  # the stubs declare another type

    def next(self, idle_s: float = IDLE_TIMEOUT_S) -> bytes | None:
        """The next response; None after the last.

        Raises:
            Unavailable: the connection is lost, or no response for ``idle_s`` seconds.
            ContentError: the server's error; see `from_rpc_error`.
        """
        deadlines = self._connection.deadlines
        deadlines.set(self._call, time.monotonic() + idle_s)
        try:
            response: bytes = next(self._responses)
        except StopIteration:
            return None
        except grpc.RpcError as error:
            problem = self._connection.mapped(error)
            self._connection.lost(self._channel, problem)
            raise problem from None
        finally:
            deadlines.clear(self._call)
        return response

    def cancel(self) -> None:
        """End the call. May be called from any thread."""
        self._call.cancel()


class Prefetcher:
    """A `ResponseStream` received on a thread of its own, a few messages ahead of its reader."""

    def __init__(self, stream: ResponseStream) -> None:
        self._stream = stream
        self._ready: SimpleQueue[bytes | ContentError | None] = SimpleQueue()
        self._room = threading.Semaphore(MAX_PREFETCHED)
        self._stopped = False
        threading.Thread(target=self._receive, name="prefetcher", daemon=True).start()

    def next(self) -> bytes | None:
        """As `ResponseStream.next`; must not be called again after the last."""
        found = self._ready.get()
        self._room.release()
        if isinstance(found, ContentError):
            raise found
        return found

    def cancel(self) -> None:
        """End the call and the thread."""
        self._stopped = True
        self._stream.cancel()
        self._room.release()

    def _receive(self) -> None:
        message: bytes | ContentError | None = b""
        while isinstance(message, bytes):
            self._room.acquire()
            if self._stopped:
                return
            try:
                message = self._stream.next()
            except ContentError as error:
                message = error
            self._ready.put(message)


class Deadlines:
    """Cancels calls at their deadline, up to a second late.

    For streams, which set a deadline for each message: setting one is a dictionary's entry. The
    thread starts with the first deadline.
    """

    def __init__(self) -> None:
        self._due: dict[grpc.Call, float] = {}
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def set(self, call: grpc.Call, at: float) -> None:
        """Cancel ``call`` at ``at``, in seconds of the monotonic clock."""
        self._due[call] = at
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="deadlines", daemon=True)
            self._thread.start()

    def clear(self, call: grpc.Call) -> None:
        """Remove the deadline of ``call``."""
        self._due.pop(call, None)

    def close(self) -> None:
        """End the thread."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(_DEADLINE_STEP_S):
            now = time.monotonic()
            for call, at in list(self._due.items()):
                if at <= now:
                    self.clear(call)
                    call.cancel()
