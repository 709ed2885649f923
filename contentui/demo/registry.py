"""A registry in this process that serves images, over a link that can be slow, stall and break.

The demo pulls from it. Tests and benchmarks use it too; `bench.faulty` adds faults of HTTP to it.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple, Self

from contentui.content.digest import Digest
from contentui.demo.unpackable import MANIFEST

if TYPE_CHECKING:
    import io
    from collections.abc import Callable

    from contentui.demo.unpackable import Unpackable

_PIECE = 64 * 1024
"""Bytes that are sent at once."""
_THROTTLED_PIECE = 8 * 1024
_TLS = b"\x16"
"""The first byte of a client that tries TLS."""


class Request(NamedTuple):
    """An HTTP request."""

    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes = b""

    @property
    def start(self) -> int:
        """The first byte of the requested range; 0 without one."""
        return int(self.headers.get("range", "bytes=0-")[6:].partition("-")[0])


class Throttle:
    """The link between the registry and its clients. May be changed at any time."""

    def __init__(self, bytes_s: float | None = None) -> None:
        self.bytes_s = bytes_s
        """Bytes per second of each connection; None: unlimited."""
        self.stalled: set[Digest] = set()
        """Blobs of which no bytes are sent for now."""
        self.stall_at: dict[Digest, int] = {}
        """Blobs that become `stalled` once so many of their bytes were sent."""
        self.cuts: dict[Digest, list[int]] = {}
        """Offsets at which the connection is cut, each once."""

    def passes(self, digest: Digest, offset: int, size: int, closed: threading.Event) -> bool:
        """Wait until so many bytes from ``offset`` may be sent; False: cut the connection."""
        if self.stall_at.get(digest, offset + 1) <= offset:
            del self.stall_at[digest]
            self.stalled.add(digest)
        while digest in self.stalled and not closed.is_set():
            time.sleep(0.02)
        cuts = self.cuts.get(digest, [])
        if any(offset <= cut < offset + size for cut in cuts):
            self.cuts[digest] = [cut for cut in cuts if not offset <= cut < offset + size]
            return False
        if self.bytes_s:
            closed.wait(size / self.bytes_s)
        return not closed.is_set()


class Connection:
    """One connection of a client. Its methods raise OSError once the client has closed it."""

    def __init__(
        self, sock: socket.socket, closed: threading.Event, count: Callable[[int], object]
    ) -> None:
        """``closed`` is set when the registry ends; ``count`` gets the bytes sent each time."""
        self.closed = closed
        self.sock = sock
        self._count = count

    def send(self, data: bytes | memoryview) -> None:
        """Send bytes of a body, or any others."""
        for at in range(0, len(data), _PIECE):
            piece = data[at : at + _PIECE]
            self.sock.sendall(piece)
            self._count(len(piece))

    def head(self, status: int, *lines: str) -> None:
        """Send a status line and headers."""
        head = "\r\n".join((f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *lines, "", ""))
        self.sock.sendall(head.encode("latin-1"))


class Registry:
    """Serves images on a port of the loopback address; a context manager."""

    def __init__(self, throttle: Throttle | None = None) -> None:
        self.throttle = throttle
        self.blobs: dict[str, tuple[bytes, str]] = {}
        """Bytes and media type, by digest, by tag and by ``repository:tag``."""
        self.closed = threading.Event()
        self._open: list[socket.socket] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._port: int = self._socket.getsockname()[1]
        self.host = f"127.0.0.1:{self._port}"

    def add(self, image: Unpackable, name: str = "demo/app:v1") -> str:
        """Have an image under ``repository:tag``; returns its reference."""
        for digest, data in image.blobs.items():
            self.blobs[str(digest)] = data, "application/octet-stream"
        self.manifest(image.manifest, name)
        return f"{self.host}/{name}"

    def manifest(self, data: bytes | dict[str, object], tag: str = "", kind: str = MANIFEST) -> str:
        """Have a manifest, also under a tag; returns its digest."""
        raw = data if isinstance(data, bytes) else json.dumps(data).encode()
        digest = str(Digest.of(raw))
        for name in filter(None, (digest, tag)):
            self.blobs[name] = raw, kind
        return digest

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End, and cut all connections."""
        self.closed.set()
        self._shut_down()
        self._socket.close()

    def _shut_down(self) -> None:
        for sock in (self._socket, *self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self.closed.is_set():
            with suppress(OSError):
                sock, _ = self._socket.accept()
                self._open = [each for each in self._open if each.fileno() >= 0] + [sock]
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()
                continue
            self._reopen()

    def _reopen(self) -> None:
        """The listening socket was shut down: by `close`."""
        self.closed.set()

    def _serve(self, sock: socket.socket) -> None:
        with sock, suppress(OSError, ValueError), sock.makefile("rb") as source:
            if source.peek(1)[:1] == _TLS:
                return
            while request := _read(source):
                connection = Connection(sock, self.closed, self._counter(request))
                if not self._handle(connection, request):
                    return

    def _counter(self, request: Request) -> Callable[[int], object]:  # noqa: ARG002 - for subclasses
        """A function that is called with the number of body bytes sent for the request."""
        return lambda _size: None

    def _handle(self, connection: Connection, request: Request) -> bool:
        """Answer a request. False: end the connection."""
        if request.path == "/v2/":
            connection.head(200, "Content-Length: 0")
            return True
        data, kind = self._find(request)
        if not kind:
            connection.head(404, "Content-Length: 0")
            return True
        digest, start = Digest.of(data), min(request.start, len(data))
        lines = [f"Content-Type: {kind}", f"Content-Length: {len(data) - start}"]
        lines.append(f"Docker-Content-Digest: {digest}")
        if "range" in request.headers:
            lines.append(f"Content-Range: bytes {start}-{len(data) - 1}/{len(data)}")
        connection.head(206 if "range" in request.headers else 200, *lines)
        return request.method != "GET" or self._send(connection, digest, data, start)

    def _find(self, request: Request) -> tuple[bytes, str]:
        """Bytes and media type behind a path; two empty ones where there is nothing."""
        path, _, name = request.path.partition("?")[0].rpartition("/")
        repository = path.removeprefix("/v2/").rpartition("/")[0]
        named = self.blobs.get(f"{repository}:{name}")
        return named or self.blobs.get(name, (b"", ""))

    def _send(self, connection: Connection, digest: Digest, data: bytes, start: int) -> bool:
        view = memoryview(data)
        if self.throttle is None:
            connection.send(view[start:])
            return True
        for offset in range(start, len(data), _THROTTLED_PIECE):
            piece = view[offset : offset + _THROTTLED_PIECE]
            if not self.throttle.passes(digest, offset, len(piece), self.closed):
                return False
            connection.send(piece)
        return True


def _read(source: io.BufferedIOBase) -> Request | None:
    """The next request with its body; None at the end. Raises as `read_head`."""
    request = read_head(source)
    if request is None:
        return None
    return request._replace(body=source.read(int(request.headers.get("content-length", 0))))


def read_head(source: io.BufferedIOBase) -> Request | None:
    """The next request without its body; None at the end. Raises OSError, ValueError."""
    line = source.readline().decode().split()
    if not line:
        return None
    headers = {}
    while (header := source.readline().decode("latin-1").strip()) != "":
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    return Request(line[0], line[1], headers)
