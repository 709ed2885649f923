"""Requests over kept connections, with a limit on every wait and words for every failure.

The standard library's client on threads: it moves bytes into our buffers with the least copying
of all clients that were measured (performance.md 5).
"""

from __future__ import annotations

import http.client
import string
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, cast
from urllib.parse import quote, urljoin, urlsplit

from contentui import __version__
from contentui.content.errors import InvalidArgument
from contentui.remotes.breaks import broken, host_of, without_query
from contentui.remotes.connection import Connection, Origin, make_context, open_connection
from contentui.remotes.errors import Interrupted, Refused
from contentui.remotes.model import Tls
from contentui.text import visible

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Iterable, Mapping
    from typing import Self

    from contentui.remotes.wire import Response

    Content = bytes | Iterable[bytes]

MOST_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)
_HARMLESS = ("accept", "range")
"""Headers that a host may learn when another one sends us there."""
_KEPT = 8
"""Idle connections that are kept for each host."""
_SLOWEST = 1024
"""Bytes that must come in each stretch of `Waits.stall_s`: fewer are as good as none."""
_PIECE_S = 0.1
"""A piece that comes slowly is handed out after so long, full or not."""
_DRAINED = 16 * 1024
"""Unread bytes that are cheaper to read than a new connection is to make."""
_DRAIN_S = 0.5


class Waits(NamedTuple):
    """How long to wait for what, in seconds."""

    connect_s: float = 30.0
    head_s: float = 30.0
    """For the answer's head, once the request is out."""
    stall_s: float = 30.0
    """For the next bytes of a body."""


class Answer:
    """A response whose body is read piece by piece. Close it; it is a context manager."""

    def __init__(self, pool: Http, url: str, connection: Connection) -> None:
        self._pool = pool
        self._connection = connection
        self._response = connection.response
        self._response.source.until_s = float("inf")
        self._failure: Interrupted | None = None
        self._waited_s, self._came = 0.0, 0
        self.url = url
        """Where it came from, after redirects; may carry secrets."""
        self.status: int = self._response.status
        self.headers: http.client.HTTPMessage = self._response.headers
        self.length = self._response.length
        """Bytes that the body has as it was announced; None when it wasn't."""
        self.received = 0
        """Bytes of the body so far."""

    @property
    def host(self) -> str:
        """Who answered; hostile text."""
        return host_of(self.url)

    def readinto(self, buffer: memoryview) -> int:
        """Read at most as many bytes as fit, fewer when they come slowly; 0 at the end.

        Raises:
            Interrupted: the connection broke, too little came for too long, or the body ended
                early. Bytes that came before that were handed out.
        """
        filled, until_s = 0, time.monotonic() + _PIECE_S
        while filled < len(buffer):
            try:
                size = self._read_some(buffer[filled:])
            except Interrupted as error:
                self._failure = error
                if not filled:
                    raise
                break
            filled += size
            if not size or time.monotonic() >= until_s:
                break
        return filled

    def _read_some(self, buffer: memoryview) -> int:
        if self._failure is not None:
            raise self._failure
        began_s = time.monotonic()
        try:
            self._check_pace()
            size = self._response.readinto_some(buffer)
        except (OSError, ValueError, http.client.HTTPException) as error:
            self._pool.end(self._connection)
            raise broken(error, self.host, self._pool.waits.stall_s) from None
        self._waited_s += time.monotonic() - began_s
        self._came += size
        self.received += size
        if not size and self.length is not None and self.received < self.length:
            self._pool.end(self._connection)
            raise Interrupted(
                f"{visible(self.host)} ended after {self.received} of {self.length} bytes",
                host=self.host,
            )
        return size

    def _check_pace(self) -> None:
        """Raises TimeoutError: a byte now and then is no progress."""
        if self._waited_s >= self._pool.waits.stall_s:
            if self._came < _SLOWEST:
                raise TimeoutError
            self._waited_s, self._came = 0.0, 0

    def read(self, limit: int) -> bytes:
        """The whole body, of at most ``limit`` bytes.

        Raises:
            Refused: it is longer.
            Interrupted: as `readinto`.
        """
        buffer = bytearray(min(self.length if self.length is not None else limit, limit) + 1)
        view, filled = memoryview(buffer), 0
        while filled < len(buffer) and (size := self.readinto(view[filled:])):
            filled += size
        if filled > limit or (self.length or 0) > limit:
            raise Refused(
                f"{visible(self.host)} answers with more than {limit} bytes where that is too much",
                host=self.host,
                status=self.status,
            )
        return bytes(view[:filled])

    def close(self) -> None:
        """Keep the connection for the next request, or end it when bytes are still to come."""
        connection, self._connection = self._connection, _CLOSED
        if connection is _CLOSED:
            return
        self._drain(connection)
        if self._response.isclosed() and not self._response.will_close:
            self._pool.keep(connection)
        else:
            self._pool.end(connection)

    def _drain(self, connection: Connection) -> None:
        """Read a short rest. A 416 may announce bytes that never come."""
        if self._response.isclosed() or self._failure or self.length is None or self.status == 416:
            return
        if self.length - self.received > _DRAINED:
            return
        with suppress(OSError, ValueError, http.client.HTTPException):
            if connection.sock is not None:
                connection.sock.settimeout(_DRAIN_S)
            rest = memoryview(bytearray(_DRAINED))
            while self._response.readinto_some(rest):
                pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


_CLOSED = cast("Connection", object())


class Http:
    """Connections to any hosts, shared by all threads."""

    def __init__(self, waits: Waits | None = None) -> None:
        self.waits = waits or Waits()
        self._lock = threading.Lock()
        self._idle: dict[Origin, list[Connection]] = {}
        self._busy: set[Connection] = set()
        self._contexts: dict[Tls, ssl.SSLContext] = {}
        self._ended = False

    def request(
        self,
        method: str,
        url: str,
        *,
        tls: Tls | None = None,
        headers: Mapping[str, str] | None = None,
        body: Content | None = None,
    ) -> Answer:
        """Send a request and return its answer, whatever its status; redirects are not followed.

        ``headers`` must hold Content-Length where ``body`` is an iterable that has one.

        Raises:
            Interrupted: no connection, no answer in time, or it broke.
            Refused: the host can't be trusted, or there is none of this name.
            InvalidArgument: a URL or header that can't be sent.
        """
        scheme, address, target = _parts(url)
        origin = Origin(scheme, address, tls or Tls())
        sent = {"User-Agent": f"contentui/{__version__}", "Accept-Encoding": "identity"}
        sent.update(headers or {})
        while True:
            connection = self._connection(origin)
            try:
                return self._send(connection, method, url, target, sent, body)
            except (OSError, http.client.HTTPException) as error:
                self.end(connection)
                # A kept connection may have been closed by the other side meanwhile.
                again = (body is None or isinstance(body, bytes)) and not self._ended
                if not (again and connection.is_stale(error)):
                    raise broken(error, address, self.waits.head_s, connection.via) from None
            except ValueError:  # what can't be sent may be a secret
                self.end(connection)
                raise InvalidArgument(f"a header for {visible(address)} can't be sent") from None
            except BaseException:
                self.end(connection)
                raise

    def follow(
        self,
        method: str,
        url: str,
        *,
        tls: Tls | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """`request` without a body, to where redirects lead; other hosts get no credentials.

        Raises:
            Refused: too many redirects, or one from https to http, or to nowhere.
        """
        sent = dict(headers or {})
        for _ in range(MOST_REDIRECTS + 1):
            answer = self.request(method, url, tls=tls, headers=sent)
            location = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or not location:
                return answer
            answer.close()
            before, url = url, resolved(answer, location)
            _check_redirect(before, url, answer.status)
            if urlsplit(before)[:2] != urlsplit(url)[:2]:
                sent = {k: v for k, v in sent.items() if k.lower() in _HARMLESS}
                tls = Tls(ca=tls.ca) if tls else None
        raise Refused(
            f"{visible(answer.host)} redirects more than {MOST_REDIRECTS} times",
            host=answer.host,
            status=answer.status,
            advice="it may redirect in a circle: look at the registry's or the proxy's settings",
        )

    def keep(self, connection: Connection) -> None:
        """Have an idle connection for the next request to its host."""
        connection.fresh = False
        with self._lock:
            self._busy.discard(connection)
            idle = self._idle.setdefault(connection.origin, [])
            if len(idle) < _KEPT and not self._ended:
                idle.append(connection)
                return
        connection.close()

    def end(self, connection: Connection) -> None:
        """Close a connection that is of no more use. Twice is fine."""
        with self._lock:
            self._busy.discard(connection)
        connection.close()

    def interrupt(self) -> None:
        """Break all requests of all threads, for good. May be called from a signal handler."""
        self._ended = True
        for connection in list(self._busy):  # one step of the interpreter: without the lock
            connection.interrupt()

    def close(self) -> None:
        """Close all idle connections."""
        with self._lock:
            connections = [each for idle in self._idle.values() for each in idle]
            self._idle.clear()
        for connection in connections:
            connection.close()

    def _connection(self, origin: Origin) -> Connection:
        if self._ended:
            raise Interrupted("it was interrupted", host=origin.address)
        with self._lock:
            idle = self._idle.get(origin)
            connection = idle.pop() if idle else None
        connection = connection or open_connection(origin, self._context, self.waits.connect_s)
        with self._lock:
            self._busy.add(connection)
        return connection

    def _send(
        self,
        connection: Connection,
        method: str,
        url: str,
        target: str,
        headers: Mapping[str, str],
        body: Content | None,
    ) -> Answer:
        connection.connect()
        sock = cast("socket.socket", connection.sock)
        sock.settimeout(self.waits.head_s)
        sent = {**headers, **connection.headers}
        connection.http.request(method, connection.prefix + target, body, sent)
        connection.response = cast("Response", connection.http.getresponse())
        with suppress(OSError):  # closed already when all that follows is there
            sock.settimeout(self.waits.stall_s)
        return Answer(self, url, connection)

    def _context(self, tls: Tls) -> ssl.SSLContext:
        with self._lock:
            if tls not in self._contexts:
                self._contexts[tls] = make_context(tls)
            return self._contexts[tls]


def resolved(answer: Answer, location: str) -> str:
    """Where an answer sends us.

    Raises:
        Refused: nowhere that can be asked.
    """
    try:
        url = urljoin(answer.url, location)
        _parts(url)
    except (ValueError, InvalidArgument):
        raise Refused(
            f"{visible(answer.host)} sends us to {visible(without_query(location), 200)},"
            " which can't be asked",
            host=answer.host,
            status=answer.status,
            advice="look at the registry's or the proxy's settings",
        ) from None
    return url


def _parts(url: str) -> tuple[str, str, str]:
    """Scheme, address and what to ask there for. Raises InvalidArgument."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError
        address = parts.netloc.rpartition("@")[2]
        address.encode("ascii")
    except ValueError:
        raise InvalidArgument(f"{visible(without_query(url), 200)} can't be asked") from None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.scheme, address, quote(target, safe=string.punctuation)


def _check_redirect(before: str, after: str, status: int) -> None:
    if urlsplit(before).scheme == "https" and urlsplit(after).scheme != "https":
        host = urlsplit(before).netloc
        raise Refused(
            f"{visible(host)} redirects from https to {visible(without_query(after), 200)}",
            host=host,
            status=status,
            advice="that would give up the protection of TLS: look at the registry's settings",
        )
