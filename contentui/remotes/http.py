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
from contentui.remotes.sending import exchange
from contentui.remotes.settings import Timeouts, Tls
from contentui.remotes.urls import redacted, split_url
from contentui.text import visible

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Mapping

    from contentui.remotes.sending import Content

    Body = Callable[[], Content]
    """Makes the content of a request again for each attempt."""

MAX_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)
_KEEPING = (307, 308)
"""Redirects of a request with its method and its content."""
_FORWARDED = ("accept", "range", "content-type", "content-length", "content-range")
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
        self._unexpecting: set[Origin] = set()
        """Hosts that don't answer to ``Expect: 100-continue``."""
        self._ended = False

    def request(
        self,
        method: str,
        url: str,
        *,
        tls: Tls | None = None,
        headers: Mapping[str, str] | None = None,
        body: Content | None = None,
        timeouts: Timeouts | None = None,
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
        timeouts = timeouts or self.timeouts
        while True:
            connection = self._connection(origin, timeouts)
            try:
                response = self._send(connection, method, url, target, sent, body, timeouts)
            except (OSError, http.client.HTTPException) as error:
                sock = connection.sock
                waited_s = (sock and sock.gettimeout()) or timeouts.connect_s
                self.discard(connection)
                # The host may have closed an idle connection.
                again = not connection.body_begun and not self._ended
                if not (again and connection.is_stale(error)):
                    raise from_exception(error, address, waited_s, connection.proxy) from None
                continue
            except ValueError:  # its message may contain a secret
                self.discard(connection)
                raise InvalidArgument(f"invalid header for {visible(address)}") from None
            except BaseException:
                self.discard(connection)
                raise
            if response.status != 417 or origin in self._unexpecting or connection.body_begun:
                return response
            response.close()  # to the header Expect, which is not sent to this host again
            self._unexpecting.add(origin)

    def follow(
        self,
        method: str,
        url: str,
        *,
        tls: Tls | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        timeouts: Timeouts | None = None,
        secret: bool = False,
    ) -> Response:
        """`request`, following redirects; other hosts get no credentials.

        307 and 308 keep method and content. After others a request with content becomes a GET
        without it, as in browsers and in Go's client.

        Args:
            method: the HTTP method.
            url: the first URL.
            tls: for the first host; others get its authorities alone.
            headers: for the first host; others get those about the content alone.
            body: makes the content; None: without.
            timeouts: None: the usual ones.
            secret: the content holds credentials, and is not for other hosts.

        Raises:
            Refused: too many redirects, one from https to http, to an invalid URL, or of secret
                content to another host.
        """
        sent, redirected = dict(headers or {}), False
        for _ in range(MAX_REDIRECTS + 1):
            content = None if body is None else body()
            response = self.request(
                method, url, tls=tls, headers=sent, body=content, timeouts=timeouts
            )
            response.redirected = redirected
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or not location:
                return response
            response.close()
            before, url = url, redirect_target(response, location)
            _check_redirect(before, url, response.status)
            if response.status not in _KEEPING and method not in ("GET", "HEAD"):
                method, body = "GET", None
                sent = {k: v for k, v in sent.items() if not k.lower().startswith("content-")}
            if urlsplit(before)[:2] != urlsplit(url)[:2]:
                if body is not None and secret:
                    raise _secret_redirected(before, url, response.status)
                redirected = True
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

    def _connection(self, origin: Origin, timeouts: Timeouts) -> Connection:
        self._check_ended(origin)
        with self._lock:
            idle = self._idle.get(origin)
            connection = idle.pop() if idle else None
        connection = connection or open_connection(origin, self._context, timeouts.connect_s)
        connection.may_expect = origin not in self._unexpecting
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
        timeouts: Timeouts,
    ) -> Response:
        connection.body_begun = False
        connection.connect()
        self._check_ended(connection.origin)  # `interrupt` may have found it without a socket
        sent, target = {**headers, **connection.headers}, connection.prefix + target
        connection.response = exchange(connection, method, target, sent, body, timeouts)
        if connection.forwarding and connection.response.status == 407:
            from contentui.remotes.proxy_dialing import denied

            raise denied(connection.forwarding)
        if not connection.may_expect:
            self._unexpecting.add(connection.origin)
        with suppress(OSError):  # it is closed already if the whole body is there
            cast("socket.socket", connection.sock).settimeout(timeouts.stall_s)
        return Response(self, url, connection, timeouts)

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


def _secret_redirected(before: str, after: str, status: int) -> Refused:
    host = urlsplit(before).netloc
    return Refused(
        f"{visible(host)} redirects credentials to another host: {visible(redacted(after), 200)}",
        host=host,
        status=status,
        advice="they were not sent there: check the settings of the registry",
    )
