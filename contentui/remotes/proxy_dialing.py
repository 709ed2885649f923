"""Connections through a proxy: HTTP's CONNECT, SOCKS 5, and TLS to the proxy itself.

Sources: RFC 9110 section 9.3.6 (CONNECT), RFC 1928 (SOCKS 5), RFC 1929 (its passwords).
"""

from __future__ import annotations

import ipaddress
import re
import select
import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from contentui import __version__
from contentui.remotes.errors import Refused, RetryableError, from_exception
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from contentui.content.errors import ContentError
    from contentui.remotes.proxies import Proxy

_MAX_HEAD = 16 * 1024
_PIECE = 64 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)([^\r\n]*)\r?\n")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_SOCKS_REPLIES = {
    1: "the proxy has failed",
    2: "the proxy's rules don't allow it",
    3: "the network is unreachable",
    4: "the host is unreachable",
    5: "connection refused",
    6: "timed out on the way",
    7: "the proxy doesn't support connections",
    8: "the proxy doesn't support this kind of address",
}
_SOCKS_PERMANENT = (2, 7, 8)


class Target(NamedTuple):
    """The host behind the proxy."""

    host: str
    port: int
    tunnel: bool
    """Whether a tunnel is needed: for TLS. Otherwise an HTTP proxy reads the requests."""

    @property
    def address(self) -> str:
        """Host and port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def dial(
    proxy: Proxy, target: Target, trusted: Callable[[], ssl.SSLContext], wait_s: float
) -> socket.socket:
    """A connection to the proxy, and through it to the target where that is asked for first.

    Args:
        proxy: the proxy.
        target: the host behind it.
        trusted: makes what the certificate of an ``https`` proxy is checked with.
        wait_s: the longest wait for the connection, and for what the proxy answers, in seconds.

    Raises:
        RetryableError: the proxy can't be reached, or it can't reach the target now.
        Refused: it doesn't want to, or its certificate is not trusted.
    """
    sock = _reach(proxy, trusted, wait_s)
    try:
        talk = _Talk(sock, proxy, time.monotonic() + wait_s)
        if proxy.scheme in ("socks5", "socks5h"):
            _open_socks(talk, target)
        elif target.tunnel:
            _open_tunnel(talk, target)
        sock.settimeout(wait_s)
    except BaseException:
        sock.close()
        raise
    return sock


def denied(proxy: Proxy) -> Refused:
    """The error for a proxy that wants other credentials, or any."""
    if proxy.user:
        message = f"{_name(proxy)} rejects the user and the password in ${proxy.variable}"
        advice = "check both; write special characters as %XX"
    else:
        message = f"{_name(proxy)} requires a user and a password"
        advice = f"put them into ${proxy.variable}, as {proxy.scheme}://USER:PASSWORD@HOST:PORT"
    return Refused(message, host=proxy.address, status=407, advice=advice)


def _name(proxy: Proxy) -> str:
    return f"the proxy {visible(proxy.address, 200)}"


def _reach(proxy: Proxy, trusted: Callable[[], ssl.SSLContext], wait_s: float) -> socket.socket:
    sock = None
    try:
        sock = socket.create_connection((proxy.host, proxy.port), wait_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if proxy.scheme != "https":
            return sock
        return _relayed(trusted().wrap_socket(sock, server_hostname=proxy.host))
    except (OSError, ValueError) as error:
        if sock is not None:
            sock.close()
        raise _failed(proxy, error, wait_s) from None


def _failed(proxy: Proxy, error: Exception, wait_s: float) -> ContentError:
    made = from_exception(error, proxy.address, wait_s)
    shown = visible(proxy.address)
    advice = f"check ${proxy.variable}, or add the registry's host to $NO_PROXY"
    if (
        made.advice
        and isinstance(made, Refused)
        and isinstance(error, ssl.SSLCertVerificationError)
    ):
        advice = made.advice
    message = made.message.replace(shown, _name(proxy), 1)
    message = message.replace("the host the proxy", "the proxy")
    if isinstance(made, Refused):
        return Refused(message, host=proxy.address, status=0, advice=advice)
    return RetryableError(message, host=proxy.address, advice=advice)


class _Talk:
    """What is said to a proxy and read from it until a deadline."""

    def __init__(self, sock: socket.socket, proxy: Proxy, until_s: float) -> None:
        self.sock = sock
        self.proxy = proxy
        self._until_s = until_s
        """Monotonic clock."""
        self._wait_s = until_s - time.monotonic()

    def send(self, data: bytes) -> None:
        """Raises RetryableError."""
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise _failed(self.proxy, error, self._wait_s) from None

    def receive(self, most: int) -> bytes:
        """Up to ``most`` bytes, at least one. Raises RetryableError."""
        try:
            rest_s = self._until_s - time.monotonic()
            if rest_s <= 0:
                raise TimeoutError
            self.sock.settimeout(rest_s)
            data = self.sock.recv(most)
        except OSError as error:
            raise _failed(self.proxy, error, self._wait_s) from None
        if not data:
            raise RetryableError(
                f"{_name(self.proxy)} closed the connection without a response",
                host=self.proxy.address,
                advice=f"check the scheme and the port in ${self.proxy.variable}",
            )
        return data

    def exactly(self, size: int) -> bytes:
        """``size`` bytes. Raises RetryableError."""
        data = b""
        while len(data) < size:
            data += self.receive(size - len(data))
        return data

    def nonsense(self, kind: str) -> Refused:
        """The error for a response that is not of the proxy's protocol."""
        return Refused(
            f"{_name(self.proxy)} doesn't respond as {kind}",
            host=self.proxy.address,
            status=0,
            advice=f"check the scheme and the port in ${self.proxy.variable}",
        )


def _open_tunnel(talk: _Talk, target: Target) -> None:
    """CONNECT to the target. Raises Refused, RetryableError."""
    lines = [
        f"CONNECT {target.address} HTTP/1.1",
        f"Host: {target.address}",
        f"User-Agent: contentui/{__version__}",
        *(f"{name}: {value}" for name, value in talk.proxy.headers.items()),
    ]
    talk.send(("\r\n".join(lines) + "\r\n\r\n").encode())
    head = b""
    while not (end := _HEAD_END.search(head)):
        head += talk.receive(4096)
        if len(head) > _MAX_HEAD or not b"HTTP/1.".startswith(head[:7]):
            raise talk.nonsense("an HTTP proxy")
    found = _STATUS.match(head)
    if found is None or (found[1] == b"200" and end.end() != len(head)):
        raise talk.nonsense("an HTTP proxy")
    status = int(found[1])
    if status == 407:
        raise denied(talk.proxy)
    if not 200 <= status < 300:
        reason = visible(found[2].decode(errors="replace").strip(), 100)
        raise _not_connected(talk.proxy, target, f"{status} {reason}".strip(), status)


def _not_connected(proxy: Proxy, target: Target, why: str, status: int) -> ContentError:
    message = f"{_name(proxy)} does not connect to {visible(target.address, 200)}: {why}"
    advice = "ask who runs the proxy, or add the registry's host to $NO_PROXY"
    if status >= 500 or status in (408, 429):
        return RetryableError(message, host=target.address, status=status, advice=advice)
    return Refused(message, host=target.address, status=status, advice=advice)


def _open_socks(talk: _Talk, target: Target) -> None:
    """Connect to the target, whose name the proxy resolves. Raises Refused, RetryableError."""
    proxy = talk.proxy
    methods = b"\x00\x02" if proxy.user else b"\x00"
    talk.send(bytes((5, len(methods))) + methods)
    version, method = talk.exactly(2)
    if version != 5:
        raise talk.nonsense("a SOCKS 5 proxy")
    if method == 2 and proxy.user:
        user, password = proxy.user.encode(), proxy.password.encode()
        talk.send(bytes((1, len(user))) + user + bytes((len(password),)) + password)
        if talk.exactly(2)[1] != 0:
            raise denied(proxy)
    elif method != 0:
        raise denied(proxy)
    talk.send(b"\x05\x01\x00" + _socks_address(target.host) + target.port.to_bytes(2, "big"))
    version, reply, _, kind = talk.exactly(4)
    if version != 5:
        raise talk.nonsense("a SOCKS 5 proxy")
    if reply:
        why = _SOCKS_REPLIES.get(reply, f"reply {reply}")
        raise _not_connected(proxy, target, why, 403 if reply in _SOCKS_PERMANENT else 502)
    sizes = {1: 4, 4: 16}
    size = sizes[kind] if kind in sizes else talk.exactly(1)[0]
    talk.exactly(size + 2)  # the proxy's own address


def _socks_address(host: str) -> bytes:
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode()
        return bytes((3, len(name))) + name
    return bytes((1 if ip.version == 4 else 4,)) + ip.packed


def _relayed(outer: ssl.SSLSocket) -> socket.socket:
    """A plain socket whose bytes go through a TLS one: Python can't put TLS into TLS itself."""
    near, far = socket.socketpair()
    name = "contentui-proxy"
    threading.Thread(target=_shuttle, args=(far, outer), name=name, daemon=True).start()
    return near


def _shuttle(near: socket.socket, outer: ssl.SSLSocket) -> None:
    """Pass bytes on, both ways, until one side ends. At most one piece is held for each way."""
    with suppress(OSError), near, outer:
        near.setblocking(False)
        outer.setblocking(False)
        outward = inward = b""
        while True:
            outward = outward or _receive(near)
            inward = inward or _receive(outer)
            outward = outward[_send(outer, outward) :]
            inward = inward[_send(near, inward) :]
            if not (outer.pending() and not inward):
                _wait(near, outer, outward, inward)


def _wait(near: socket.socket, outer: socket.socket, outward: bytes, inward: bytes) -> None:
    poll = select.poll()
    for sock, unsent, room in ((near, inward, not outward), (outer, outward, not inward)):
        events = (select.POLLOUT if unsent else 0) | (select.POLLIN if room else 0)
        if events:
            poll.register(sock, events)
    poll.poll(1000)  # TLS may have to write in order to read: it is tried again


def _receive(sock: socket.socket) -> bytes:
    """What is there now; empty: nothing. Raises ConnectionError at the end."""
    try:
        data = sock.recv(_PIECE)
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return b""
    if not data:
        raise ConnectionError
    return data


def _send(sock: socket.socket, data: bytes) -> int:
    """How many bytes were taken."""
    if not data:
        return 0
    try:
        return sock.send(data)
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return 0
