"""A registry that breaks as it is told, byte by byte, on real sockets."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Self

from contentui.content.digest import Digest
from contentui.demo.unpackable import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from contentui.demo.unpackable import Unpackable

_RESET = struct.pack("ii", 1, 0)


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

    def __init__(self, sock: socket.socket, closed: threading.Event) -> None:
        self.sock = sock
        self.closed = closed

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def head(self, status: int, *lines: str) -> None:
        self.send("\r\n".join((f"HTTP/1.1 {status} Words", *lines, "", "")).encode("latin-1"))

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
        self.came = threading.Condition()
        self._closed = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._socket.getsockname()[1]}"

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
        with suppress(OSError):
            while True:
                sock, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, suppress(OSError, ValueError), sock.makefile("rb") as source:
            link = Link(sock, self._closed)
            while request := _read(source):
                with self.came:
                    self.seen.append(request)
                    self.came.notify_all()
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


def _read(source: socket.SocketIO) -> Request | None:
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
            link.closed.wait(10)
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


def shifted_206(link: Link, request: Request, data: bytes) -> None:
    """206 with another range than was asked for."""
    start = max(request.start - 7, 0)
    lines = (f"Content-Length: {len(data) - start}",)
    link.head(206, f"Content-Range: bytes {start}-{len(data) - 1}/{len(data)}", *lines)
    link.send(data[start:])


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
