"""Proxies on real sockets: HTTP with CONNECT, and SOCKS 5. Every host behind them is one server."""

from __future__ import annotations

import base64
import select
import socket
import socketserver
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl


class RealProxy:
    """A proxy; ``behind`` is the address that every host's name means. A context manager."""

    def __init__(
        self,
        behind: str,
        *,
        account: str = "",
        tls: ssl.SSLContext | None = None,
        reply: bytes = b"",
    ) -> None:
        """``reply`` is sent instead of passing anything on."""
        host, _, port = behind.rpartition(":")
        self.behind = (host, int(port))
        self.account = account
        self.reply = reply
        self.asked: list[str] = []
        """The targets: of CONNECT and SOCKS ``host:port``, of other requests the URL."""
        self._server = _Server(("127.0.0.1", 0), _handler(self, tls))
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        serve = {"poll_interval": 0.01}
        threading.Thread(target=self._server.serve_forever, kwargs=serve, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        """Nothing: clients may go at any time."""


def _handler(proxy: RealProxy, tls: ssl.SSLContext | None) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            sock = self.request
            with suppress(OSError):
                if tls is not None:
                    sock = tls.wrap_socket(sock, server_side=True)
                first = _exactly(sock, 1)
                (_serve_socks if first == b"\x05" else _serve_http)(proxy, sock, first)
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    return Handler


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise ConnectionError
        data += piece
    return data


def _serve_http(proxy: RealProxy, sock: socket.socket, head: bytes) -> None:
    while not head.endswith(b"\r\n\r\n"):
        head += _exactly(sock, 1)
    lines = head.decode().split("\r\n")
    method, target, _ = lines[0].split(" ")
    if proxy.reply:
        _only_reply(sock, proxy.reply)
        return
    if proxy.account:
        expected = base64.b64encode(proxy.account.encode()).decode()
        if f"Proxy-Authorization: Basic {expected}" not in lines:
            sock.sendall(b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n")
            return
    proxy.asked.append(target)
    with socket.create_connection(proxy.behind) as behind:
        if method == "CONNECT":
            sock.sendall(b"HTTP/1.1 200 Connected\r\nVia: test\r\n\r\n")
        else:
            path = "/" + target.partition("://")[2].partition("/")[2]
            behind.sendall(head.replace(target.encode(), path.encode(), 1))
        _pass_on(sock, behind)


def _only_reply(sock: socket.socket, reply: bytes) -> None:
    """Send it, and read what comes: a reset could discard the reply."""
    sock.sendall(reply)
    sock.shutdown(socket.SHUT_WR)
    sock.settimeout(5)
    while sock.recv(65536):
        pass


def _serve_socks(proxy: RealProxy, sock: socket.socket, _: bytes) -> None:
    if proxy.reply:
        _only_reply(sock, proxy.reply)
        return
    methods = _exactly(sock, _exactly(sock, 1)[0])
    if proxy.account:
        if b"\x02" not in methods:
            sock.sendall(b"\x05\xff")
            return
        sock.sendall(b"\x05\x02")
        _exactly(sock, 1)
        user = _exactly(sock, _exactly(sock, 1)[0])
        password = _exactly(sock, _exactly(sock, 1)[0])
        right = b"%s:%s" % (user, password) == proxy.account.encode()
        sock.sendall(b"\x01\x00" if right else b"\x01\x01")
        if not right:
            return
    else:
        sock.sendall(b"\x05\x00")
    kind = _exactly(sock, 4)[3]
    if kind == 3:
        host = _exactly(sock, _exactly(sock, 1)[0]).decode()
    else:
        packed = _exactly(sock, 4 if kind == 1 else 16)
        host = socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, packed)
    port = int.from_bytes(_exactly(sock, 2), "big")
    proxy.asked.append(f"{host}:{port}")
    with socket.create_connection(proxy.behind) as behind:
        sock.sendall(b"\x05\x00\x00\x03\x04here\x00\x50")
        _pass_on(sock, behind)


def _pass_on(near: socket.socket, behind: socket.socket) -> None:
    while True:
        pending = getattr(near, "pending", int)()
        ready = select.select([near, behind], [], [], 0 if pending else 10)[0]
        if pending or near in ready:
            data = near.recv(65536)
            if not data:
                return
            behind.sendall(data)
        if behind in ready:
            data = behind.recv(65536)
            if not data:
                return
            near.sendall(data)
