"""A registry that breaks as it is told, byte by byte, on real sockets."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import defaultdict
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple, Self

from contentui.content.digest import Digest
from contentui.demo.unpackable import MANIFEST

if TYPE_CHECKING:
    import io
    from collections.abc import Callable

    from contentui.demo.unpackable import Unpackable

_RESET = struct.pack("ii", 1, 0)
_PIECE = 64 * 1024
_TLS = b"\x16"
"""What a client begins with that hopes for TLS."""


class Request(NamedTuple):
    """What a client asked for."""

    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes = b""

    @property
    def start(self) -> int:
        """Where the range begins that it asks for."""
        return int(self.headers.get("range", "bytes=0-")[6:].partition("-")[0])


class Link:
    """One connection, to be misused by faults."""

    def __init__(
        self, sock: socket.socket, closed: threading.Event, count: Callable[[int], object]
    ) -> None:
        self.sock = sock
        self.closed = closed
        self.count = count

    def send(self, data: bytes) -> None:
        for at in range(0, len(data), _PIECE):
            piece = data[at : at + _PIECE]
            self.sock.sendall(piece)
            self.count(len(piece))

    def head(self, status: int, *lines: str) -> None:
        head = "\r\n".join((f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *lines, "", ""))
        self.sock.sendall(head.encode("latin-1"))

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


class FaultyRegistry:
    """Serves images soundly, but for the faults that are queued for a path; a context manager."""

    def __init__(self) -> None:
        self.blobs: dict[str, tuple[bytes, str]] = {}
        self.seen: list[Request] = []
        self.faults: dict[str, list[Callable[[Link, Request, bytes], object]]] = defaultdict(list)
        """By a part of the path: each is used once, in order; the last for ever if `for_ever`."""
        self.for_ever = False
        self.sent = 0
        """Bytes of bodies of blobs."""
        self.tokens = 0
        """How many tokens were made so far; 0 as long as none is needed."""
        self.deaf_s = 0.0
        """How long it will refuse connections, once it has begun."""
        self.came = threading.Condition()
        self._closed = threading.Event()
        self._open: list[socket.socket] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._port: int = self._socket.getsockname()[1]
        self.host = f"127.0.0.1:{self._port}"

    def add(self, image: Unpackable, name: str = "demo/app:v1") -> str:
        """Have an image; returns its reference."""
        for digest, data in image.blobs.items():
            self.blobs[str(digest)] = data, "application/octet-stream"
        repository, _, tag = name.partition(":")
        self.manifest(image.manifest, tag)
        return f"{self.host}/{repository}:{tag}"

    def manifest(self, data: bytes | dict[str, object], tag: str = "", kind: str = MANIFEST) -> str:
        raw = data if isinstance(data, bytes) else json.dumps(data).encode()
        digest = str(Digest.of(raw))
        self.blobs[digest] = raw, kind
        if tag:
            self.blobs[tag] = raw, kind
        return digest

    def expire(self) -> None:
        """No token of before is good any more; there must be one from now on."""
        self.tokens += 1

    def gets(self, part: str) -> list[Request]:
        """The GET requests whose path has this part."""
        return [each for each in self.seen if each.method == "GET" and part in each.path]

    def await_gets(self, part: str, count: int) -> None:
        with self.came:
            assert self.came.wait_for(lambda: len(self.gets(part)) >= count, 20)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closed.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            with suppress(OSError):
                sock, _ = self._socket.accept()
                self._open = [each for each in self._open if each.fileno() >= 0] + [sock]
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()
                continue
            if not self._closed.wait(self.deaf_s):
                self.deaf_s = 0.0
                self._socket.close()
                self._socket = socket.create_server(("127.0.0.1", self._port))

    def deafen(self, seconds: float) -> None:
        """End all connections, and refuse new ones for so long."""
        self.deaf_s = seconds
        for sock in (self._socket, *self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _count(self, request: Request) -> Callable[[int], object]:
        def count(size: int) -> None:
            with self.came:
                self.sent += size * ("/blobs/" in request.path)
                self.came.notify_all()

        return count

    def _deny(self, request: Request) -> tuple[int, list[str], bytes] | None:
        """What is answered instead where tokens are needed."""
        token = f"token-{self.tokens}"
        if request.path.startswith("/token"):
            return 200, [], json.dumps({"token": token, "expires_in": 300}).encode()
        if not self.tokens or request.headers.get("authorization") == f"Bearer {token}":
            return None
        realm = f'Bearer realm="http://{self.host}/token",service="demo"'
        scope = "" if request.path == "/v2/" else ',scope="repository:demo/app:pull"'
        return 401, [f"WWW-Authenticate: {realm}{scope}"], b""

    def _serve(self, sock: socket.socket) -> None:
        with sock, suppress(OSError, ValueError), sock.makefile("rb") as source:
            if source.peek(1)[:1] == _TLS:
                return
            while request := _read(source):
                link = Link(sock, self._closed, self._count(request))
                with self.came:
                    self.seen.append(request)
                    self.came.notify_all()
                if denied := self._deny(request):
                    refuse(denied[0], *denied[1], body=denied[2])(link, request, b"")
                    continue
                fault = self._fault(request)
                if fault is None:
                    self._answer(link, request)
                    continue
                if fault(link, request, self._find(request)[0]) != "keep":
                    return

    def _fault(self, request: Request) -> Callable[[Link, Request, bytes], object] | None:
        for part, queue in self.faults.items():
            if part in request.path and queue and request.method != "HEAD":
                return queue[0] if self.for_ever and len(queue) == 1 else queue.pop(0)
        return None

    def _find(self, request: Request) -> tuple[bytes, str]:
        return self.blobs.get(request.path.partition("?")[0].rpartition("/")[2], (b"", ""))

    def _answer(self, link: Link, request: Request) -> None:
        if request.path == "/v2/":
            link.head(200, "Content-Length: 0")
            return
        data, kind = self._find(request)
        if not kind:
            link.head(404, "Content-Length: 0")
            return
        start = min(request.start, len(data))
        lines = [f"Content-Type: {kind}", f"Content-Length: {len(data) - start}"]
        lines.append(f"Docker-Content-Digest: {Digest.of(data)}")
        if "range" in request.headers:
            lines.append(f"Content-Range: bytes {start}-{len(data) - 1}/{len(data)}")
        link.head(206 if "range" in request.headers else 200, *lines)
        if request.method == "GET":
            link.send(data[start:])


def _read(source: io.BufferedIOBase) -> Request | None:
    line = source.readline().decode().split()
    if not line:
        return None
    headers = {}
    while (header := source.readline().decode("latin-1").strip()) != "":
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    body = source.read(int(headers.get("content-length", 0)))
    return Request(line[0], line[1], headers, body)


def _begin(link: Link, request: Request, data: bytes, *lines: str) -> bytes:
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

    def fault(link: Link, request: Request, data: bytes) -> None:
        link.send(_begin(link, request, data, _length(request, data))[:at])
        if stall:
            link.closed.wait(120)
        if reset:
            threading.Event().wait(0.05)  # a reset overtakes what the client hasn't read
            link.reset()

    return fault


def refuse(status: int, *lines: str, body: bytes = b"") -> Callable[..., None]:
    def fault(link: Link, _request: Request, _data: bytes) -> None:
        link.head(status, f"Content-Length: {len(body)}", *lines)
        link.send(body)

    return fault


def redirect(url: str) -> Callable[..., str]:
    def fault(link: Link, _request: Request, _data: bytes) -> str:
        link.head(307, "Content-Length: 0", f"Location: {url}")
        return "keep"

    return fault


def other_bytes(link: Link, request: Request, data: bytes) -> None:
    """The right number of wrong ones."""
    rest = bytearray(_begin(link, request, data, _length(request, data)))
    rest[len(rest) // 2] ^= 1
    link.send(bytes(rest))


def whole(link: Link, request: Request, data: bytes) -> None:
    """Ignores ranges."""
    del request
    link.head(200, f"Content-Length: {len(data)}")
    link.send(data)


def silent_206(link: Link, request: Request, data: bytes) -> None:
    """206 without a Content-Range, and all bytes."""
    del request
    link.head(206, f"Content-Length: {len(data)}")
    link.send(data)


def unsaid_206(link: Link, request: Request, data: bytes) -> None:
    """206 that says neither where it begins nor how long it is."""
    del request
    link.head(206, "Connection: close")
    link.send(data)


def shifted_206(difference: int) -> Callable[..., None]:
    """206 with another range than was asked for, and its bytes."""

    def fault(link: Link, request: Request, data: bytes) -> None:
        start = request.start + difference
        lines = (f"Content-Length: {len(data) - start}",)
        link.head(206, f"Content-Range: bytes {start}-{len(data) - 1}/{len(data)}", *lines)
        link.send(data[start:])

    return fault


def lying_416(link: Link, request: Request, data: bytes) -> None:
    """As docker-registry 2.8.2: announces the whole blob and sends a few bytes."""
    del request
    link.head(416, f"Content-Length: {len(data)}")
    link.send(b'{"errors":[]}')
    link.closed.wait(5)


def unannounced(link: Link, request: Request, data: bytes) -> None:
    """No Content-Length: the end of the connection is the end."""
    link.send(_begin(link, request, data, "Connection: close"))


def chunked(link: Link, request: Request, data: bytes, *, extra: bytes = b"") -> None:
    rest = _begin(link, request, data, "Transfer-Encoding: chunked") + extra
    for at in range(0, len(rest), 70_000):
        piece = rest[at : at + 70_000]
        link.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    link.send(b"0\r\n\r\n")


def too_many(link: Link, request: Request, data: bytes) -> None:
    chunked(link, request, data, extra=b"more")


def announced(difference: int) -> Callable[..., None]:
    """A Content-Length that isn't what the manifest says."""

    def fault(link: Link, request: Request, data: bytes) -> None:
        link.head(200, f"Content-Length: {len(data) + difference}")
        link.send((data + b"x" * max(difference, 0))[: len(data) + difference])
        del request

    return fault


def encoded(link: Link, request: Request, data: bytes) -> None:
    link.send(_begin(link, request, data, _length(request, data), "Content-Encoding: gzip"))


def endless_head(link: Link, request: Request, data: bytes) -> None:
    del request, data
    link.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        link.send(b"X-More: x\r\n" * 1000)


def endless_100(link: Link, request: Request, data: bytes) -> None:
    del request, data
    while True:
        link.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def endless_trailer(link: Link, request: Request, data: bytes) -> None:
    rest = _begin(link, request, data, "Transfer-Encoding: chunked")
    link.send(b"%x\r\n%b\r\n0\r\n" % (len(rest), rest))
    while True:
        link.send(b"X-More: x\r\n" * 1000)


def endless_body(link: Link, request: Request, data: bytes) -> None:
    del request, data
    link.head(200, f"Content-Type: {MANIFEST}", "Connection: close")
    while True:
        link.send(b'{"a":[' * 10_000)


def drip(link: Link, request: Request, data: bytes) -> None:
    """A byte now and then on one connection."""
    rest = _begin(link, request, data, _length(request, data))
    for at in range(len(rest)):
        link.send(rest[at : at + 1])
        if link.closed.wait(0.05):
            return


def slowly(rate: float) -> Callable[..., str]:
    """All bytes, so many a second."""

    def fault(link: Link, request: Request, data: bytes) -> str:
        rest = _begin(link, request, data, _length(request, data))
        step = 32 * 1024
        for at in range(0, len(rest), step):
            link.send(rest[at : at + step])
            link.closed.wait(step / rate)
        return "keep"

    return fault


def late(seconds: float) -> Callable[..., str]:
    """Nothing for a while, then a sound answer."""

    def fault(link: Link, request: Request, data: bytes) -> str:
        link.closed.wait(seconds)
        link.send(_begin(link, request, data, _length(request, data)))
        return "keep"

    return fault


def unended(link: Link, request: Request, data: bytes) -> None:
    """All bytes in one piece, without the mark of the end."""
    rest = _begin(link, request, data, "Transfer-Encoding: chunked")
    link.send(b"%x\r\n%b\r\n" % (len(rest), rest))


def nothing_left(link: Link, request: Request, data: bytes) -> None:
    """416 to whoever asks for what is beyond the end."""
    if request.start < len(data):
        link.send(_begin(link, request, data, _length(request, data)))
    else:
        link.head(416, "Content-Length: 0", f"Content-Range: bytes */{len(data)}")
