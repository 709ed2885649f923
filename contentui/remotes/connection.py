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
from contentui.text import visible

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from contentui.remotes.raw_response import RawResponse
    from contentui.remotes.settings import Tls


class Origin(NamedTuple):
    """The host of a connection, and how it is secured."""

    scheme: str
    address: str
    tls: Tls


class _Proxy(NamedTuple):
    address: str
    headers: dict[str, str]


class Connection:
    """One connection, and its current response."""

    def __init__(
        self, origin: Origin, client: http.client.HTTPConnection, proxy: _Proxy | None
    ) -> None:
        self.origin = origin
        self.http = client
        self.response: RawResponse = cast("RawResponse", None)
        self.sock: socket.socket | None = None
        """Kept here, since the standard library drops it while it reads the last response."""
        self.fresh = True
        self.may_expect = True
        """Whether ``Expect: 100-continue`` is worth a wait here."""
        self.body_begun = False
        """Whether a part of the current request's body was taken to be sent."""
        self.proxy = proxy.address if proxy else ""
        is_plain = proxy is not None and origin.scheme == "http"
        self.prefix = f"http://{origin.address}" if is_plain else ""
        """Precedes the path in requests to a proxy."""
        self.headers = proxy.headers if proxy is not None and is_plain else {}
        """For the proxy."""

    def connect(self) -> None:
        """Connect, unless that is done."""
        if self.http.sock is None:
            self.http.connect()
            self.sock = self.http.sock

    def is_stale(self, error: Exception) -> bool:
        """Whether an error means that the host closed it while it was idle."""
        import ssl

        kinds = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
        return not self.fresh and isinstance(error, kinds)

    def interrupt(self) -> None:
        """End the request that runs on it, in another thread."""
        if self.sock is not None:
            with suppress(OSError):  # a TLS socket's own shutdown would drop its TLS state
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it. Twice is fine."""
        self.http.close()
        if self.response is not None:
            self.response.close()


def open_connection(
    origin: Origin, context: Callable[[Tls], ssl.SSLContext], wait_s: float
) -> Connection:
    """A connection, not connected yet; through a proxy if the environment names one.

    Raises:
        InvalidArgument: an invalid address, proxy or certificate.
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
        raise InvalidArgument(f"{visible(address, 200)} is not a valid host address") from None
    return Connection(origin, secure, proxy)


def _proxy(origin: Origin) -> _Proxy | None:
    if sys.platform == "linux" and not any(name.lower().endswith("_proxy") for name in os.environ):
        return None  # on Linux only the environment names proxies
    from urllib.request import getproxies, proxy_bypass

    if proxy_bypass(urlsplit(f"//{origin.address}").hostname or ""):
        return None
    proxy = getproxies().get(origin.scheme, "")
    if not proxy:
        return None
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme != "http" or not parts.hostname:
        raise InvalidArgument(
            f"the proxy in ${origin.scheme}_proxy is not an http:// URL",
            advice="correct or unset it",
        )
    headers = {}
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return _Proxy(parts.netloc.rpartition("@")[2], headers)


def make_context(tls: Tls) -> ssl.SSLContext:
    """The certificates to trust and to present.

    Raises:
        InvalidArgument: files that can't be read, or are not certificates.
    """
    import ssl

    context = ssl.create_default_context()
    try:
        for path in tls.ca:
            context.load_verify_locations(path)
        for certificate, key in tls.client:
            context.load_cert_chain(certificate, key, password="")  # otherwise it prompts
    except (OSError, ValueError) as error:
        paths = ", ".join((*tls.ca, *(path for pair in tls.client for path in pair)))
        raise InvalidArgument(
            f"certificates can't be read ({visible(paths)}): {visible(str(error), 200)}"
        ) from None
    if tls.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
