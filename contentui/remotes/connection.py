"""One connection to a host: plain or with TLS, direct or through a proxy."""

from __future__ import annotations

import http.client
import os
import socket
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

from contentui.content.errors import InvalidArgument
from contentui.remotes.settings import Tls
from contentui.text import visible

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from contentui.remotes.proxies import Proxy
    from contentui.remotes.raw_response import RawResponse


class Origin(NamedTuple):
    """The host of a connection, and how it is secured."""

    scheme: str
    address: str
    tls: Tls


class Connection:
    """One connection, and its current response."""

    def __init__(
        self,
        origin: Origin,
        client: http.client.HTTPConnection,
        proxy: Proxy | None = None,
        dial: Callable[[], socket.socket] | None = None,
    ) -> None:
        """``dial`` connects through ``proxy``; None: directly."""
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
        self._dial = dial
        self.proxy = proxy.address if proxy else ""
        self.forwarding = (
            proxy
            if proxy and origin.scheme == "http" and proxy.scheme in ("http", "https")
            else None
        )
        """The proxy that reads the requests; None: the host reads them itself."""
        self.prefix = f"http://{origin.address}" if self.forwarding else ""
        """Precedes the path in requests to a proxy."""
        self.headers = self.forwarding.headers if self.forwarding else {}
        """For the proxy."""

    def connect(self) -> None:
        """Connect, unless that is done.

        Raises:
            OSError: no connection to the host.
            RetryableError, Refused: no connection to the proxy, or not through it.
        """
        if self.http.sock is None:
            if self._dial is None:
                self.http.connect()
            else:
                self.http.sock = self._dial()
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
    address = origin.address
    secured = origin.scheme == "https"
    client: http.client.HTTPConnection
    try:
        if secured:
            tls = context(origin.tls)
            client = http.client.HTTPSConnection(address, timeout=wait_s, context=tls)
        else:
            client = http.client.HTTPConnection(address, timeout=wait_s)
    except (http.client.InvalidURL, ValueError):
        raise InvalidArgument(f"{visible(address, 200)} is not a valid host address") from None
    if proxy is None:
        return Connection(origin, client)
    # The proxy is not the registry: it is shown no certificate of ours, and has to have one.
    trusted = partial(context, Tls(ca=origin.tls.ca))
    wrap = partial(tls.wrap_socket, server_hostname=client.host) if secured else None
    dial = partial(_dial, proxy, client.host, client.port, trusted, wrap, wait_s)
    return Connection(origin, client, proxy, dial)


def _proxy(origin: Origin) -> Proxy | None:
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from contentui.remotes.proxies import find_proxy

    return find_proxy(origin.scheme, origin.address)


def _dial(
    proxy: Proxy,
    host: str,
    port: int,
    trusted: Callable[[], ssl.SSLContext],
    wrap: Callable[[socket.socket], ssl.SSLSocket] | None,
    wait_s: float,
) -> socket.socket:
    """A connection through a proxy, to the host itself if that needs TLS."""
    from contentui.remotes.proxy_dialing import Target, dial

    sock = dial(proxy, Target(host, port, wrap is not None), trusted, wait_s)
    try:
        return sock if wrap is None else wrap(sock)
    except BaseException:
        sock.close()
        raise


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
