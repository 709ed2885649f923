"""One connection to a host: plain or with TLS, direct or through a proxy."""

from __future__ import annotations

import base64
import http.client
import os
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, cast
from urllib.parse import unquote, urlsplit

from contentui.content.errors import InvalidArgument
from contentui.remotes.wire import Response
from contentui.text import visible

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from contentui.remotes.model import Tls


class Origin(NamedTuple):
    """What a connection belongs to."""

    scheme: str
    address: str
    tls: Tls


class _Proxy(NamedTuple):
    address: str
    headers: dict[str, str]


class Connection:
    """One connection, and the answer that it carries now."""

    def __init__(
        self, origin: Origin, client: http.client.HTTPConnection, proxy: _Proxy | None
    ) -> None:
        self.origin = origin
        self.http = client
        self.http.response_class = Response
        self.response: Response = cast("Response", None)
        self.sock: socket.socket | None = None
        """Kept here, since the standard library forgets it while it reads the last answer."""
        self.fresh = True
        self.via = proxy.address if proxy else ""
        asked = proxy is not None and origin.scheme == "http"
        self.prefix = f"http://{origin.address}" if asked else ""
        """What stands before the path where a proxy is asked."""
        self.headers = proxy.headers if proxy is not None and asked else {}
        """For the proxy."""

    def connect(self) -> None:
        """Connect, unless that is done."""
        if self.http.sock is None:
            self.http.connect()
            self.sock = self.http.sock

    def is_stale(self, error: Exception) -> bool:
        """Whether it was closed while nobody used it."""
        import ssl

        kinds = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
        return not self.fresh and isinstance(error, kinds)

    def interrupt(self) -> None:
        """Wake the thread that waits for it."""
        if self.sock is not None:
            with suppress(OSError):  # a TLS socket's own way would pull the rug from under it
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it. Twice is fine."""
        self.http.close()
        if self.response is not None:
            self.response.close()


def open_connection(
    origin: Origin, context: Callable[[Tls], ssl.SSLContext], wait_s: float
) -> Connection:
    """A connection to be connected, through a proxy where the environment wants one.

    Raises:
        InvalidArgument: an address, proxy or certificate that makes no sense.
    """
    proxy = _proxy(origin)
    address = proxy.address if proxy else origin.address
    try:
        if origin.scheme == "http":
            plain = http.client.HTTPConnection(address, timeout=wait_s)
            return Connection(origin, plain, proxy)
        tls = context(origin.tls)
        secure = http.client.HTTPSConnection(address, timeout=wait_s, context=tls)
        if proxy:
            secure.set_tunnel(origin.address, headers=proxy.headers)
    except (http.client.InvalidURL, ValueError):
        raise InvalidArgument(f"{visible(address, 200)} is not the address of a host") from None
    return Connection(origin, secure, proxy)


def _proxy(origin: Origin) -> _Proxy | None:
    if sys.platform == "linux" and not any(name.lower().endswith("_proxy") for name in os.environ):
        return None  # it is told nowhere else
    from urllib.request import getproxies, proxy_bypass

    if proxy_bypass(urlsplit(f"//{origin.address}").hostname or ""):
        return None
    proxy = getproxies().get(origin.scheme, "")
    if not proxy:
        return None
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme != "http" or not parts.hostname:
        raise InvalidArgument(
            f"the environment's proxy for {origin.scheme} is no http:// address",
            advice=f"look at {origin.scheme}_proxy",
        )
    headers = {}
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return _Proxy(parts.netloc.rpartition("@")[2], headers)


def make_context(tls: Tls) -> ssl.SSLContext:
    """What to trust and to show.

    Raises:
        InvalidArgument: files that can't be read, or hold something else.
    """
    import ssl

    context = ssl.create_default_context()
    try:
        for path in tls.ca:
            context.load_verify_locations(path)
        for certificate, key in tls.client:
            context.load_cert_chain(certificate, key, password="")  # else it asks the terminal
    except (OSError, ValueError) as error:
        paths = ", ".join((*tls.ca, *(path for pair in tls.client for path in pair)))
        raise InvalidArgument(
            f"certificates can't be read ({visible(paths)}): {visible(str(error), 200)}"
        ) from None
    if tls.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
