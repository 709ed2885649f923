"""Faults of HTTP for the registry of the demo, byte by byte, on real sockets."""

from __future__ import annotations

import gzip
import json
import random
import socket
import struct
import threading
from collections import defaultdict
from typing import TYPE_CHECKING

from contentui.demo.registry import Connection, Registry, Request
from contentui.demo.unpackable import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable

    Fault = Callable[[Connection, Request, bytes], object]

_RESET = struct.pack("ii", 1, 0)
"""The end of the connection is a TCP RST."""


class FaultyRegistry(Registry):
    """Serves images correctly, but for the faults that are queued for a path."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Request] = []
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        """By a part of the path: each is used once, in order; the last for ever if `for_ever`."""
        self.for_ever = False
        self.sent = 0
        """Bytes of bodies of blobs."""
        self.tokens = 0
        """How many tokens were made so far; 0 as long as none is needed."""
        self.refuse_s = 0.0
        """Seconds during which connections will be refused, from `refuse_connections` on."""
        self.changed = threading.Condition()
        """Notified after each request and after all bytes that were sent."""

    def expire(self) -> None:
        """Let the tokens made so far expire; a token is needed from now on."""
        self.tokens += 1

    def gets(self, part: str) -> list[Request]:
        """The GET requests whose path has this part."""
        return [each for each in self.seen if each.method == "GET" and part in each.path]

    def await_gets(self, part: str, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.gets(part)) >= count, 20)

    def refuse_connections(self, seconds: float) -> None:
        """End all connections, and refuse new ones for so long."""
        self.refuse_s = seconds
        self._shut_down()

    def _reopen(self) -> None:
        if not self.closed.wait(self.refuse_s):
            self.refuse_s = 0.0
            self._socket.close()
            self._socket = socket.create_server(("127.0.0.1", self._port))

    def _counter(self, request: Request) -> Callable[[int], object]:
        def count(size: int) -> None:
            with self.changed:
                self.sent += size * ("/blobs/" in request.path)
                self.changed.notify_all()

        return count

    def _handle(self, connection: Connection, request: Request) -> bool:
        with self.changed:
            self.seen.append(request)
            self.changed.notify_all()
        if denied := self._deny(request):
            denied(connection, request, b"")
            return True
        fault = self._fault(request)
        if fault is None:
            return super()._handle(connection, request)
        return fault(connection, request, self._find(request)[0]) == "keep"

    def _deny(self, request: Request) -> Fault | None:
        """The response instead, where a token is needed."""
        token = f"token-{self.tokens}"
        if request.path.startswith("/token"):
            return refuse(200, body=json.dumps({"token": token, "expires_in": 300}).encode())
        if not self.tokens or request.headers.get("authorization") == f"Bearer {token}":
            return None
        realm = f'Bearer realm="http://{self.host}/token",service="demo"'
        scope = "" if request.path == "/v2/" else ',scope="repository:demo/app:pull"'
        return refuse(401, f"WWW-Authenticate: {realm}{scope}")

    def _fault(self, request: Request) -> Fault | None:
        for part, queue in self.faults.items():
            if part in request.path and queue and request.method != "HEAD":
                return queue[0] if self.for_ever and len(queue) == 1 else queue.pop(0)
        return None


def _begin(link: Connection, request: Request, data: bytes, *lines: str) -> bytes:
    """A sound head; returns the bytes that should follow."""
    start = request.start
    if "range" in request.headers:
        lines = (f"Content-Range: bytes {start}-{len(data) - 1}/{len(data)}", *lines)
    link.head(206 if "range" in request.headers else 200, *lines)
    return data[start:]


def _length(request: Request, data: bytes) -> str:
    return f"Content-Length: {len(data) - request.start}"


def cut(at: int, *, reset: bool = False, stall: bool = False) -> Callable[..., None]:
    """So many bytes, then the end: orderly, reset, or none at all."""

    def fault(link: Connection, request: Request, data: bytes) -> None:
        link.send(_begin(link, request, data, _length(request, data))[:at])
        if stall:
            link.closed.wait(120)
        if reset:
            threading.Event().wait(0.05)  # a reset overtakes what the client hasn't read
            link.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    return fault


def cut_somewhere(seed: int, least: int, most: int) -> Callable[..., None]:
    """The end after a number of bytes between the two, another one each time."""
    numbers = random.Random(seed)

    def fault(link: Connection, request: Request, data: bytes) -> None:
        cut(numbers.randint(least, most))(link, request, data)

    return fault


def refuse(status: int, *lines: str, body: bytes = b"") -> Callable[..., None]:
    def fault(link: Connection, _request: Request, _data: bytes) -> None:
        link.head(status, f"Content-Length: {len(body)}", *lines)
        link.send(body)

    return fault


def redirect(url: str) -> Callable[..., str]:
    def fault(link: Connection, _request: Request, _data: bytes) -> str:
        link.head(307, "Content-Length: 0", f"Location: {url}")
        return "keep"

    return fault


def other_bytes(link: Connection, request: Request, data: bytes) -> None:
    """The right number of wrong ones."""
    rest = bytearray(_begin(link, request, data, _length(request, data)))
    rest[len(rest) // 2] ^= 1
    link.send(bytes(rest))


def whole(link: Connection, request: Request, data: bytes) -> None:
    """Ignores ranges."""
    del request
    link.head(200, f"Content-Length: {len(data)}")
    link.send(data)


def silent_206(link: Connection, request: Request, data: bytes) -> None:
    """206 without a Content-Range, and all bytes."""
    del request
    link.head(206, f"Content-Length: {len(data)}")
    link.send(data)


def unsaid_206(link: Connection, request: Request, data: bytes) -> None:
    """206 without Content-Range and Content-Length."""
    del request
    link.head(206, "Connection: close")
    link.send(data)


def shifted_206(difference: int) -> Callable[..., None]:
    """206 with another range than was asked for, and its bytes."""

    def fault(link: Connection, request: Request, data: bytes) -> None:
        start = request.start + difference
        lines = (f"Content-Length: {len(data) - start}",)
        link.head(206, f"Content-Range: bytes {start}-{len(data) - 1}/{len(data)}", *lines)
        link.send(data[start:])

    return fault


def lying_416(link: Connection, request: Request, data: bytes) -> None:
    """As docker-registry 2.8.2: announces the whole blob and sends a few bytes."""
    del request
    link.head(416, f"Content-Length: {len(data)}")
    link.send(b'{"errors":[]}')
    link.closed.wait(5)


def unannounced(link: Connection, request: Request, data: bytes) -> None:
    """No Content-Length: the end of the connection is the end."""
    link.send(_begin(link, request, data, "Connection: close"))


def chunked(link: Connection, request: Request, data: bytes, *, extra: bytes = b"") -> None:
    rest = _begin(link, request, data, "Transfer-Encoding: chunked") + extra
    for at in range(0, len(rest), 70_000):
        piece = rest[at : at + 70_000]
        link.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    link.send(b"0\r\n\r\n")


def too_many(link: Connection, request: Request, data: bytes) -> None:
    chunked(link, request, data, extra=b"more")


def announced(difference: int) -> Callable[..., None]:
    """A Content-Length that differs from the size in the manifest."""

    def fault(link: Connection, request: Request, data: bytes) -> None:
        link.head(200, f"Content-Length: {len(data) + difference}")
        link.send((data + b"x" * max(difference, 0))[: len(data) + difference])
        del request

    return fault


def encoded(link: Connection, request: Request, data: bytes) -> None:
    link.send(_begin(link, request, data, _length(request, data), "Content-Encoding: gzip"))


def compressed(link: Connection, request: Request, data: bytes) -> None:
    """Compressed on the way, though ``identity`` was asked for."""
    del request
    made = gzip.compress(data, 1)
    link.head(200, f"Content-Length: {len(made)}", "Content-Encoding: gzip")
    link.send(made)


def compressed_chunked(link: Connection, request: Request, data: bytes) -> None:
    """The same without a length."""
    del request
    link.head(200, "Content-Encoding: gzip", "Connection: close")
    link.send(gzip.compress(data, 1))


def part(size: int, total: str = "") -> Callable[..., str]:
    """206 with at most so many bytes of what was asked for, whatever the range's end."""

    def fault(link: Connection, request: Request, data: bytes) -> str:
        start = request.start
        piece = data[start : start + size]
        span = f"{start}-{start + len(piece) - 1}/{total or len(data)}"
        link.head(206, f"Content-Range: bytes {span}", f"Content-Length: {len(piece)}")
        link.send(piece)
        return "keep"

    return fault


def endless_head(link: Connection, request: Request, data: bytes) -> None:
    del request, data
    link.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        link.send(b"X-More: x\r\n" * 1000)


def endless_100(link: Connection, request: Request, data: bytes) -> None:
    del request, data
    while True:
        link.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def endless_trailer(link: Connection, request: Request, data: bytes) -> None:
    rest = _begin(link, request, data, "Transfer-Encoding: chunked")
    link.send(b"%x\r\n%b\r\n0\r\n" % (len(rest), rest))
    while True:
        link.send(b"X-More: x\r\n" * 1000)


def endless_body(link: Connection, request: Request, data: bytes) -> None:
    del request, data
    link.head(200, f"Content-Type: {MANIFEST}", "Connection: close")
    while True:
        link.send(b'{"a":[' * 10_000)


def drip(link: Connection, request: Request, data: bytes) -> None:
    """A byte now and then on one connection."""
    rest = _begin(link, request, data, _length(request, data))
    for at in range(len(rest)):
        link.send(rest[at : at + 1])
        if link.closed.wait(0.05):
            return


def slowly(rate: float) -> Callable[..., str]:
    """All bytes, so many a second."""

    def fault(link: Connection, request: Request, data: bytes) -> str:
        rest = _begin(link, request, data, _length(request, data))
        step = 32 * 1024
        for at in range(0, len(rest), step):
            link.send(rest[at : at + step])
            link.closed.wait(step / rate)
        return "keep"

    return fault


def late(seconds: float) -> Callable[..., str]:
    """Nothing for a while, then a sound answer."""

    def fault(link: Connection, request: Request, data: bytes) -> str:
        link.closed.wait(seconds)
        link.send(_begin(link, request, data, _length(request, data)))
        return "keep"

    return fault


def unended(link: Connection, request: Request, data: bytes) -> None:
    """All bytes in one piece, without the mark of the end."""
    rest = _begin(link, request, data, "Transfer-Encoding: chunked")
    link.send(b"%x\r\n%b\r\n" % (len(rest), rest))


def nothing_left(link: Connection, request: Request, data: bytes) -> None:
    """416 to whoever asks for what is beyond the end."""
    if request.start < len(data):
        link.send(_begin(link, request, data, _length(request, data)))
    else:
        link.head(416, "Content-Length: 0", f"Content-Range: bytes */{len(data)}")
