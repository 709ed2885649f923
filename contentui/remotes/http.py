"""Requests over kept connections, with a timeout for each wait and a message for each failure.

The standard library's client on threads: of the clients that were measured it copies the fewest
bytes on their way into a buffer.
"""

from __future__ import annotations

import http.client
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, cast
from urllib.parse import urljoin, urlsplit

from contentui import __version__
from contentui.content.errors import InvalidArgument
from contentui.remotes.connection import Connection, Origin, make_context, open_connection
from contentui.remotes.errors import Refused, RetryableError, from_exception
from contentui.remotes.response import Response
from contentui.remotes.settings import Timeouts, Tls
from contentui.remotes.urls import redacted, split_url
from contentui.text import visible

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Iterable, Mapping

    from contentui.remotes.raw_response import RawResponse

    Content = bytes | Iterable[bytes]

MAX_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)
_FORWARDED = ("accept", "range")
"""Headers that follow a redirect to another host."""
_MAX_IDLE = 8
"""Idle connections that are kept for each host."""


class Http:
    """Connections to any hosts, shared by all threads."""

    def __init__(self, timeouts: Timeouts | None = None) -> None:
        self.timeouts = timeouts or Timeouts()
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
    ) -> Response:
        """Send a request and return its response, whatever its status; without following redirects.

        ``headers`` must hold Content-Length where ``body`` is an iterable that has one.

        Raises:
            RetryableError: no connection, a timeout, or the connection broke.
            Refused: the host's name can't be resolved, or its certificate is not trusted.
            InvalidArgument: an invalid URL or header.
        """
        scheme, address, target = split_url(url)
        origin = Origin(scheme, address, tls or Tls())
        sent = {"User-Agent": f"contentui/{__version__}", "Accept-Encoding": "identity"}
        sent.update(headers or {})
        while True:
            connection = self._connection(origin)
            try:
                return self._send(connection, method, url, target, sent, body)
            except (OSError, http.client.HTTPException) as error:
                self.discard(connection)
                # The host may have closed an idle connection.
                again = (body is None or isinstance(body, bytes)) and not self._ended
                if not (again and connection.is_stale(error)):
                    head_s = self.timeouts.head_s
                    raise from_exception(error, address, head_s, connection.proxy) from None
            except ValueError:  # its message may contain a secret
                self.discard(connection)
                raise InvalidArgument(f"invalid header for {visible(address)}") from None
            except BaseException:
                self.discard(connection)
                raise

    def follow(
        self,
        method: str,
        url: str,
        *,
        tls: Tls | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """`request` without a body, following redirects; other hosts get no credentials.

        Raises:
            Refused: too many redirects, or one from https to http, or to an invalid URL.
        """
        sent = dict(headers or {})
        for _ in range(MAX_REDIRECTS + 1):
            response = self.request(method, url, tls=tls, headers=sent)
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or not location:
                return response
            response.close()
            before, url = url, redirect_target(response, location)
            _check_redirect(before, url, response.status)
            if urlsplit(before)[:2] != urlsplit(url)[:2]:
                sent = {k: v for k, v in sent.items() if k.lower() in _FORWARDED}
                tls = Tls(ca=tls.ca) if tls else None
        raise Refused(
            f"{visible(response.host)} redirects more than {MAX_REDIRECTS} times",
            host=response.host,
            status=response.status,
            advice="it may be a loop: check the settings of the registry or the proxy",
        )

    def keep(self, connection: Connection) -> None:
        """Keep an idle connection for the next request to its host."""
        connection.fresh = False
        with self._lock:
            self._busy.discard(connection)
            idle = self._idle.setdefault(connection.origin, [])
            if len(idle) < _MAX_IDLE and not self._ended:
                idle.append(connection)
                return
        connection.close()

    def discard(self, connection: Connection) -> None:
        """Close a connection. Twice is fine."""
        with self._lock:
            self._busy.discard(connection)
        connection.close()

    def interrupt(self) -> None:
        """End all requests of all threads, also later ones. May be called from a signal handler."""
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
        self._check_ended(origin)
        with self._lock:
            idle = self._idle.get(origin)
            connection = idle.pop() if idle else None
        connection = connection or open_connection(origin, self._context, self.timeouts.connect_s)
        with self._lock:
            self._busy.add(connection)
        return connection

    def _check_ended(self, origin: Origin) -> None:
        if self._ended:
            raise RetryableError("interrupted", host=origin.address)

    def _send(
        self,
        connection: Connection,
        method: str,
        url: str,
        target: str,
        headers: Mapping[str, str],
        body: Content | None,
    ) -> Response:
        connection.connect()
        self._check_ended(connection.origin)  # `interrupt` may have found it without a socket
        sock = cast("socket.socket", connection.sock)
        sock.settimeout(self.timeouts.head_s)
        sent = {**headers, **connection.headers}
        connection.http.request(method, connection.prefix + target, body, sent)
        connection.response = cast("RawResponse", connection.http.getresponse())
        with suppress(OSError):  # it is closed already if the whole body is there
            sock.settimeout(self.timeouts.stall_s)
        return Response(self, url, connection)

    def _context(self, tls: Tls) -> ssl.SSLContext:
        with self._lock:
            if tls not in self._contexts:
                self._contexts[tls] = make_context(tls)
            return self._contexts[tls]


def redirect_target(response: Response, location: str) -> str:
    """The URL of a response's Location header.

    Raises:
        Refused: it is not a valid http or https URL.
    """
    try:
        url = urljoin(response.url, location)
        split_url(url)
    except (ValueError, InvalidArgument):
        raise Refused(
            f"{visible(response.host)} redirects to {visible(redacted(location), 200)},"
            " which is not a valid http(s) URL",
            host=response.host,
            status=response.status,
            advice="check the settings of the registry or the proxy",
        ) from None
    return url


def _check_redirect(before: str, after: str, status: int) -> None:
    if urlsplit(before).scheme == "https" and urlsplit(after).scheme != "https":
        host = urlsplit(before).netloc
        raise Refused(
            f"{visible(host)} redirects from https to {visible(redacted(after), 200)}",
            host=host,
            status=status,
            advice="TLS would be lost: check the settings of the registry",
        )
