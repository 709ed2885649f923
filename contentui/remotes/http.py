"""Requests over kept connections, with a limit on every wait and words for every failure.

The standard library's client on threads: it moves bytes into our buffers with the least copying
of all clients that were measured (performance.md 5).
"""

from __future__ import annotations

import http.client
import socket
import threading
from typing import TYPE_CHECKING, NamedTuple, cast
from urllib.parse import urljoin, urlsplit

from contentui import __version__
from contentui.content.errors import InvalidArgument
from contentui.remotes.errors import Interrupted, Refused
from contentui.remotes.model import Tls
from contentui.text import visible

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping
    from typing import Self

    Content = bytes | Iterable[bytes]

MOST_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)
_PRIVATE = ("authorization", "cookie")
"""Headers that one host must not learn from another's redirect."""
_KEPT = 8
"""Idle connections that are kept for each host."""


class Waits(NamedTuple):
    """How long to wait for what, in seconds."""

    connect_s: float = 30.0
    head_s: float = 30.0
    """For the answer's head, once the request is out."""
    stall_s: float = 30.0
    """For the next bytes of a body."""


class Origin(NamedTuple):
    """What a connection belongs to."""

    scheme: str
    address: str
    tls: Tls


class Answer:
    """A response whose body is read piece by piece. Close it; it is a context manager."""

    def __init__(self, pool: Http, url: str, connection: _Connection) -> None:
        self._pool = pool
        self._connection = connection
        self._response = connection.response
        self.url = url
        """Where it came from, after redirects; may carry secrets in its query."""
        self.status: int = self._response.status
        self.headers: http.client.HTTPMessage = self._response.headers
        self.length = self._response.length
        """Bytes that the body has as it was announced; None when it wasn't."""
        self.received = 0
        """Bytes of the body so far."""

    @property
    def host(self) -> str:
        """Who answered; hostile text."""
        return urlsplit(self.url).netloc

    def readinto(self, buffer: memoryview) -> int:
        """Read at most as many bytes as fit; 0 at the end.

        Raises:
            Interrupted: the connection broke, nothing came for too long, or the body ended early.
        """
        try:
            size = self._response.readinto(buffer)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise interrupted(error, self.host, self._pool.waits.stall_s) from None
        self.received += size
        if not size and len(buffer) and self.length is not None and self.received < self.length:
            self._connection.close()
            raise Interrupted(
                f"{visible(self.host)} ended after {self.received} of {self.length} bytes",
                host=self.host,
            )
        return size

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
        if self._response.isclosed() and not self._response.will_close:
            self._pool.keep(connection)
        else:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Connection:
    """One connection, and the answer that it carries now."""

    def __init__(self, origin: Origin, http_connection: http.client.HTTPConnection) -> None:
        self.origin = origin
        self.http = http_connection
        self.response: http.client.HTTPResponse = cast("http.client.HTTPResponse", None)
        self.fresh = True
        self.prefix = ""
        """What stands before the path where a proxy is asked."""

    def close(self) -> None:
        self.http.close()


_CLOSED = cast("_Connection", object())


class Http:
    """Connections to any hosts, shared by all threads."""

    def __init__(self, waits: Waits | None = None) -> None:
        self.waits = waits or Waits()
        self._lock = threading.Lock()
        self._idle: dict[Origin, list[_Connection]] = {}
        self._contexts: dict[Tls, ssl.SSLContext] = {}

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
            InvalidArgument: a URL that can't be asked.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidArgument(f"{visible(without_query(url), 200)} can't be asked")
        origin = Origin(parts.scheme, parts.netloc.rpartition("@")[2], tls or Tls())
        sent = {"User-Agent": f"contentui/{__version__}", "Accept-Encoding": "identity"}
        sent.update(headers or {})
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        while True:
            connection = self._connection(origin)
            try:
                return self._send(connection, method, url, target, sent, body)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                stale = not connection.fresh and isinstance(
                    error, (ConnectionError, http.client.RemoteDisconnected)
                )
                # A kept connection may have been closed by the other side meanwhile.
                if not (stale and (body is None or isinstance(body, bytes))):
                    raise interrupted(error, origin.address, self.waits.head_s) from None

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
            Refused: too many redirects, or one from https to http.
        """
        sent = dict(headers or {})
        for _ in range(MOST_REDIRECTS + 1):
            answer = self.request(method, url, tls=tls, headers=sent)
            location = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or not location:
                return answer
            answer.close()
            before, url = url, urljoin(url, location)
            _check_redirect(before, url, answer.status)
            if urlsplit(before)[:2] != urlsplit(url)[:2]:
                sent = {k: v for k, v in sent.items() if k.lower() not in _PRIVATE}
                tls = Tls(ca=tls.ca) if tls else None
        raise Refused(
            f"{visible(answer.host)} redirects more than {MOST_REDIRECTS} times",
            host=answer.host,
            status=answer.status,
            advice="it may redirect in a circle: look at the registry's or the proxy's settings",
        )

    def keep(self, connection: _Connection) -> None:
        """Have an idle connection for the next request to its host."""
        connection.fresh = False
        with self._lock:
            idle = self._idle.setdefault(connection.origin, [])
            if len(idle) < _KEPT:
                idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close all idle connections."""
        with self._lock:
            connections = [each for idle in self._idle.values() for each in idle]
            self._idle.clear()
        for connection in connections:
            connection.close()

    def _connection(self, origin: Origin) -> _Connection:
        with self._lock:
            idle = self._idle.get(origin)
            if idle:
                return idle.pop()
        return self._open(origin)

    def _send(
        self,
        connection: _Connection,
        method: str,
        url: str,
        target: str,
        headers: Mapping[str, str],
        body: Content | None,
    ) -> Answer:
        if connection.http.sock is None:
            connection.http.timeout = self.waits.connect_s
            connection.http.connect()
        sock = cast("socket.socket", connection.http.sock)
        sock.settimeout(self.waits.head_s)
        connection.http.request(method, connection.prefix + target, body, dict(headers))
        connection.response = connection.http.getresponse()
        if connection.http.sock is not None:  # None when nothing follows but the end
            connection.http.sock.settimeout(self.waits.stall_s)
        return Answer(self, url, connection)

    def _open(self, origin: Origin) -> _Connection:
        """A new connection, through a proxy where the environment wants one."""
        from urllib.request import getproxies, proxy_bypass

        host = urlsplit(f"//{origin.address}").hostname or ""
        proxy = "" if proxy_bypass(host) else getproxies().get(origin.scheme, "")
        via = urlsplit(proxy).netloc.rpartition("@")[2] if proxy else ""
        wait = self.waits.connect_s
        if origin.scheme == "http":
            connection = _Connection(origin, http.client.HTTPConnection(via or origin.address))
            connection.prefix = f"http://{origin.address}" if via else ""
            return connection
        context = self._context(origin.tls)
        secure = http.client.HTTPSConnection(via or origin.address, timeout=wait, context=context)
        if via:
            secure.set_tunnel(origin.address)
        return _Connection(origin, secure)

    def _context(self, tls: Tls) -> ssl.SSLContext:
        with self._lock:
            if tls not in self._contexts:
                self._contexts[tls] = _make_context(tls)
            return self._contexts[tls]


def _make_context(tls: Tls) -> ssl.SSLContext:
    import ssl

    context = ssl.create_default_context()
    try:
        for path in tls.ca:
            context.load_verify_locations(path)
        for certificate, key in tls.client:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        paths = ", ".join((*tls.ca, *(path for pair in tls.client for path in pair)))
        raise InvalidArgument(f"certificates can't be read ({visible(paths)}): {error}") from None
    if tls.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _check_redirect(before: str, after: str, status: int) -> None:
    if urlsplit(before).scheme == "https" and urlsplit(after).scheme != "https":
        host = urlsplit(before).netloc
        raise Refused(
            f"{visible(host)} redirects from https to {visible(without_query(after), 200)}",
            host=host,
            status=status,
            advice="that would give up the protection of TLS: look at the registry's settings",
        )


def without_query(url: str) -> str:
    """A URL without its query, where signatures and tokens stand."""
    return url.partition("?")[0]


def interrupted(error: Exception, host: str, waited_s: float) -> Interrupted:
    """What broke a request or its answer, in words."""
    import ssl

    shown = visible(host)
    if isinstance(error, TimeoutError):
        words = f"nothing came from {shown} for {waited_s:g}s"
    elif isinstance(error, ConnectionResetError):
        words = f"connection reset by {shown}"
    elif isinstance(error, ConnectionRefusedError):
        words = f"connection refused by {shown}"
    elif isinstance(error, ssl.SSLCertVerificationError):
        words = f"{shown} is not trusted: {visible(error.verify_message)}"
    elif isinstance(error, socket.gaierror):
        words = f"{shown} can't be found: {error.strerror}"
    elif isinstance(error, http.client.RemoteDisconnected):
        words = f"{shown} ended the connection without an answer"
    elif isinstance(error, http.client.IncompleteRead):
        words = f"{shown} ended the connection in the middle of its answer"
    elif isinstance(error, http.client.HTTPException):
        words = f"{shown} answers with something that isn't HTTP: {visible(repr(error), 200)}"
    else:
        words = f"the connection to {shown} broke: {visible(str(error), 200)}"
    return Interrupted(words, host=host)
