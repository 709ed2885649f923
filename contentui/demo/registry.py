"""A registry that only hands out, through a link that can be slow, stall and break."""

from __future__ import annotations

import re
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

from contentui.content.digest import Digest
from contentui.demo.unpackable import MANIFEST

if TYPE_CHECKING:
    from contentui.demo.unpackable import Unpackable

_PATH = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs)/(?P<what>[^/]+)")
_RANGE = re.compile(r"bytes=(\d+)-")
_PIECE = 16 * 1024


class Link:
    """What lies between the registry and those who pull. May be changed at any time."""

    def __init__(self, bytes_s: float | None = None) -> None:
        self.bytes_s = bytes_s
        """For each connection; None: as fast as it goes."""
        self.stalled: set[Digest] = set()
        """Blobs of which no more bytes come for now."""
        self.stall_at: dict[Digest, int] = {}
        """Blobs that become `stalled` once so many of their bytes went out."""
        self.cuts: dict[Digest, list[int]] = {}
        """Offsets at which the connection is cut, each once."""
        self.closed = threading.Event()

    def passes(self, digest: Digest, offset: int, size: int) -> bool:
        """Wait until so many bytes from ``offset`` may go out; False: cut the connection."""
        if self.stall_at.get(digest, offset + 1) <= offset:
            del self.stall_at[digest]
            self.stalled.add(digest)
        while digest in self.stalled and not self.closed.is_set():
            time.sleep(0.02)
        cuts = self.cuts.get(digest, [])
        if any(offset <= cut < offset + size for cut in cuts):
            self.cuts[digest] = [cut for cut in cuts if not offset <= cut < offset + size]
            return False
        if self.bytes_s:
            self.closed.wait(size / self.bytes_s)
        return not self.closed.is_set()


class Registry:
    """Serves images on a port of the loopback address; a context manager."""

    def __init__(self, link: Link | None = None) -> None:
        self.link = link or Link()
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.registry = self
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def add(self, name: str, tag: str, image: Unpackable) -> str:
        """Have an image; returns its reference."""
        self.blobs.update({str(digest): data for digest, data in image.blobs.items()})
        self.manifests[f"{name}:{tag}"] = self.manifests[image.digest] = image.manifest
        return f"{self.address}/{name}:{tag}"

    def find(self, path: str) -> tuple[Digest, bytes, str] | None:
        """Digest, bytes and media type behind a path."""
        match = _PATH.fullmatch(path.partition("?")[0])
        if match is None:
            return None
        what = match["what"]
        if match["kind"] == "blobs":
            data, media_type = self.blobs.get(what), "application/octet-stream"
        else:
            named = self.manifests.get(f"{match['name']}:{what}")
            data, media_type = named or self.manifests.get(what), MANIFEST
        return None if data is None else (Digest.of(data), data, media_type)

    def close(self) -> None:
        """End, and cut what is on its way."""
        self.link.closed.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    registry: Registry


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Nothing: the screen belongs to somebody else."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        with suppress(ConnectionError):
            self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        found = self.server.registry.find(self.path)
        if found is None:
            self.send_response(200 if self.path == "/v2/" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        digest, data, media_type = found
        start = self._start(len(data))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("Docker-Content-Digest", digest)
        self.end_headers()
        if body:
            self._send(digest, memoryview(data), start)

    def _start(self, size: int) -> int:
        asked = _RANGE.match(self.headers.get("Range", ""))
        return min(int(asked[1]), size) if asked else 0

    def _send(self, digest: Digest, data: memoryview, offset: int) -> None:
        while offset < len(data):
            piece = data[offset : offset + _PIECE]
            if not self.server.registry.link.passes(digest, offset, len(piece)):
                self.close_connection = True
                return
            self.wfile.write(piece)
            offset += len(piece)
