"""A blob's bytes from a registry: exactly as many as in its descriptor.

Source: "Pulling blobs" in the OCI distribution specification, RFC 9110 section 14 (ranges).
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

from contentui.remotes.errors import Refused, RetryableError
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from contentui.remotes.response import Response

_CONTENT_RANGE = re.compile(r"bytes\s+(\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_SKIP = 1 << 20
_ENCODED_PIECE = 64 * 1024
_MAX_FRUITLESS = 1 << 20
"""Encoded bytes that may decode to nothing."""
_DECODED = ("gzip", "x-gzip", "deflate")
"""Content-Encodings that are undone (RFC 9110, 8.4.1)."""
_ADVICE = "a proxy or mirror may alter the content: check them"


def start_offset(response: Response, size: int) -> int | None:
    """The offset of a response's first byte; None if it is unknown.

    The end and the total of a Content-Range don't count: the digest decides. A 206 without one
    counts where it has as many bytes as all of the content.
    """
    if response.status != 206:
        return 0 if response.status == 200 else None
    given = response.headers.get("Content-Range")
    if given is None:
        return 0 if response.length == size else None
    match = _CONTENT_RANGE.fullmatch(given.strip())
    return None if match is None else int(match[1])


def encoding_of(response: Response) -> str:
    """The Content-Encoding in lower case; empty: none."""
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    return "" if encoding == "identity" else encoding


def read_document(response: Response, limit: int) -> bytes:
    """The body of a manifest or index, of at most ``limit`` bytes, without its encoding.

    Raises:
        Refused: it is longer, or its bytes are not of the encoding that it names.
        RetryableError: as `Response.readinto`.
    """
    data = response.read(limit)
    if encoding_of(response) not in _DECODED or data.lstrip()[:1] == b"{":
        return data
    try:
        decoded = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(data, limit + 1)
    except zlib.error as error:
        raise _not_encoded(response, encoding_of(response), error) from None
    if len(decoded) > limit:
        raise Refused(
            f"the response of {visible(response.host)} exceeds {limit} bytes",
            host=response.host,
            status=response.status,
        )
    return decoded


def _not_encoded(response: Response, encoding: str, error: zlib.error) -> Refused:
    return Refused(
        f"{visible(response.host)} sent content that is not valid {encoding}:"
        f" {visible(str(error), 100)}",
        host=response.host,
        status=response.status,
        advice=_ADVICE,
    )


class _Decoded:
    """The bytes of a compressed response. Never makes more of them than are asked for."""

    def __init__(self, response: Response, encoding: str) -> None:
        self._response = response
        # 32: gzip or zlib by their heads.
        self._decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._buffer = memoryview(bytearray(_ENCODED_PIECE))
        self._encoding = encoding

    def readinto(self, buffer: memoryview) -> int:
        """As `Response.readinto`. Raises Refused: the bytes are not of this encoding."""
        fruitless = 0
        while not self._decoder.eof:
            if fruitless > _MAX_FRUITLESS:
                raise Refused(
                    f"{visible(self._response.host)} sends content that decodes to nothing",
                    host=self._response.host,
                    status=self._response.status,
                    advice=_ADVICE,
                )
            data = self._decoder.unconsumed_tail
            if not data:
                size = self._response.readinto(self._buffer)
                if not size:
                    break
                data = bytes(self._buffer[:size])
            try:
                piece = self._decoder.decompress(data, len(buffer))
            except zlib.error as error:
                raise _not_encoded(self._response, self._encoding, error) from None
            fruitless += len(data)
            if piece:
                buffer[: len(piece)] = piece
                return len(piece)
        return 0


class Body:
    """The bytes of a blob from an offset on. Close it; it is a context manager.

    They end before the end of the blob where a host sends it in parts: the next request continues.
    """

    def __init__(
        self, response: Response, size: int, offset: int, start: int, *, decoded: bool = False
    ) -> None:
        """A body whose first byte is at ``start``; those before ``offset`` are to be skipped.

        ``decoded``: undo its Content-Encoding. Raises Refused: its Content-Length differs from the
        descriptor, or its encoding is unknown.
        """
        self._response = response
        self._left = size - offset
        self.requested_from = ""
        """The registry's host, or the URL, before redirects."""
        self.skipping = offset - start
        """Bytes before the offset that are sent again, because the host ignores ranges."""
        expected = self._left + self.skipping
        self.encoding = encoding_of(response)
        """Unrequested, as it was announced; empty: none."""
        self._source: Response | _Decoded = response
        length = response.length
        if self.encoding and (decoded or (length is not None and length != expected)):
            if self.encoding not in _DECODED:
                response.close()
                raise self._refused(
                    f"sends an unrequested Content-Encoding: {visible(self.encoding, 40)}"
                )
            self._source = _Decoded(response, self.encoding)
            length = None
        self._part = min(length, expected) if response.status == 206 and length else expected
        """Bytes that this response has, where it is whole."""
        if length is not None and response.status != 206 and length != expected:
            response.close()
            raise self._refused(f"announces {length} bytes, but the manifest has {expected}")

    @property
    def host(self) -> str:
        """The host that sends it; untrusted text."""
        return self._response.host

    def skip(self, check: Callable[[], object] = lambda: None) -> None:
        """Read and drop what comes before the offset.

        ``check`` is called now and then, and may raise. Raises as `readinto`.
        """
        view = memoryview(bytearray(min(_SKIP, self.skipping)))
        while self.skipping:
            size = self._source.readinto(view[: self.skipping])
            if not size:
                raise self._short()
            self.skipping -= size
            self._part -= size
            check()

    def readinto(self, buffer: memoryview) -> int:
        """Read at most as many bytes as fit; 0 at the end of the blob or of the host's part of it.

        Raises:
            RetryableError: the connection broke, stalled, or ended early.
            Refused: more bytes are sent than in the descriptor.
        """
        if not self._left:
            if self._source.readinto(memoryview(bytearray(1))):
                raise self._refused("sends more bytes than the size in the manifest")
            return 0
        if not self._part:
            return 0
        size = self._source.readinto(buffer[: min(self._left, self._part)])
        if not size:
            raise self._short()
        self._left -= size
        self._part -= size
        return size

    def close(self) -> None:
        self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _short(self) -> RetryableError:
        missing = self._left + self.skipping
        return RetryableError(
            f"{visible(self.host)} closed the connection {missing} bytes before the end",
            host=self.host,
            reason=f"closed {missing} bytes before the end",
        )

    def _refused(self, what: str) -> Refused:
        host = self._response.host
        return Refused(
            f"{visible(host)} {what}", host=host, status=self._response.status, advice=_ADVICE
        )
