"""A registry that takes uploads, on real sockets, with faults that a test queues by method."""

from __future__ import annotations

import hashlib
import itertools
import socket
import struct
import threading
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

from contentui.demo.registry import read_head

if TYPE_CHECKING:
    import io
    from collections.abc import Callable


class Head(NamedTuple):
    """A request without its body."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]

    @property
    def length(self) -> int:
        return int(self.headers.get("content-length", 0))


class Peer(NamedTuple):
    """The connection of one request."""

    sock: socket.socket
    source: io.BufferedReader

    def reply(self, status: int, *lines: str, body: bytes = b"") -> None:
        head = (f"HTTP/1.1 {status} X", *lines, f"Content-Length: {len(body)}", "", "")
        self.sock.sendall("\r\n".join(head).encode() + body)

    def reset(self) -> None:
        """The connection ends with a TCP RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class UploadRegistry:
    """Stores what is pushed; ``faults[method]`` are used once each, before the sound handling."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.sessions: dict[str, bytearray] = {}
        self.seen: list[Head] = []
        self.received = 0
        """Bytes of bodies of PATCH requests."""
        self.faults: dict[str, list[Callable[[Peer, Head, UploadRegistry], object]]]
        self.faults = defaultdict(list)
        """Each returns True where the request is answered, and the connection ends."""
        self._numbers = itertools.count()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def methods(self) -> list[str]:
        return [head.method for head in self.seen]

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, suppress(OSError, ValueError), sock.makefile("rb") as source:
            peer = Peer(sock, source)
            while (head := _read_head(source)) is not None:
                self.seen.append(head)
                queue = self.faults[head.method]
                if queue and queue.pop(0)(peer, head, self):
                    return
                self._handle(peer, head)

    def body(self, peer: Peer, head: Head) -> bytes:
        if "expect" in head.headers:
            peer.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        data = peer.source.read(head.length)
        self.received += len(data) * (head.method == "PATCH")
        return data

    def _handle(self, peer: Peer, head: Head) -> None:
        kind, name = head.path.split("/")[-2:]
        if head.method == "HEAD":
            found = name in (self.manifests if kind == "manifests" else self.blobs)
            peer.reply(200 if found else 404)
        elif head.method == "POST":
            name = str(next(self._numbers))
            self.sessions[name] = bytearray()
            peer.reply(202, f"Location: /v2/r/blobs/uploads/{name}")
        elif kind == "manifests" and head.method == "GET":
            data = self.manifests.get(name)
            peer.reply(404 if data is None else 200, body=data or b"")
        elif kind == "manifests":
            self.manifests[name] = self.body(peer, head)
            peer.reply(201)
        elif name not in self.sessions:
            self.body(peer, head)
            peer.reply(404)
        elif head.method == "GET":
            peer.reply(204, self.range_of(name))
        elif head.method == "PATCH":
            self.sessions[name] += self.body(peer, head)
            peer.reply(202, self.range_of(name), f"Location: {head.path}")
        else:
            self.commit(head)
            peer.reply(201)

    def range_of(self, name: str) -> str:
        return f"Range: 0-{max(len(self.sessions[name]) - 1, 0)}"

    def commit(self, head: Head) -> None:
        data = bytes(self.sessions.pop(head.path.rpartition("/")[2]))
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert head.query["digest"] == [digest]
        self.blobs[digest] = data


def _read_head(source: io.BufferedReader) -> Head | None:
    request = read_head(source)
    if request is None:
        return None
    parts = urlsplit(request.path)
    return Head(request.method, parts.path, parse_qs(parts.query), request.headers)
