"""A blob's bytes from a registry: exactly as many as in its descriptor.

Source: "Pulling blobs" in the OCI distribution specification, RFC 9110 section 14 (ranges).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from contentui.remotes.errors import Refused, RetryableError
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from contentui.remotes.response import Response

_CONTENT_RANGE = re.compile(r"bytes\s+(\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_SKIP = 1 << 20
_ADVICE = "a proxy or mirror may alter the content: check them"


def start_offset(response: Response, size: int) -> int | None:
    """The offset of a response's first byte; None if unknown, or if the end of the blob is missing.

    A 206 without a Content-Range counts where it has as many bytes as all of the content.
    """
    if response.status != 206:
        return 0 if response.status == 200 else None
    given = response.headers.get("Content-Range")
    if given is None:
        return 0 if response.length == size else None
    match = _CONTENT_RANGE.fullmatch(given.strip())
    if match is None:
        return None
    first, last, total = int(match[1]), int(match[2]), match[3]
    return first if last == size - 1 and total in ("*", str(size)) else None


class Body:
    """The bytes of a blob from an offset to its end. Close it; it is a context manager."""

    def __init__(self, response: Response, size: int, offset: int, start: int) -> None:
        """A body whose first byte is at ``start``; those before ``offset`` are to be skipped.

        Raises Refused: its Content-Length differs from the descriptor, or it is encoded.
        """
        self._response = response
        self._left = size - offset
        self.requested_from = ""
        """The registry's host, or the URL, before redirects."""
        self.skipping = offset - start
        """Bytes before the offset that are sent again, because the host ignores ranges."""
        expected = self._left + self.skipping
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding != "identity":
            response.close()
            raise self._refused(f"sends an unrequested Content-Encoding: {visible(encoding, 40)}")
        if response.length is not None and response.length != expected:
            response.close()
            raise self._refused(
                f"announces {response.length} bytes, but the manifest has {expected}"
            )

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
            size = self._response.readinto(view[: self.skipping])
            if not size:
                raise self._short()
            self.skipping -= size
            check()

    def readinto(self, buffer: memoryview) -> int:
        """Read at most as many bytes as fit; 0 once all are there.

        Raises:
            RetryableError: the connection broke, stalled, or ended early.
            Refused: more bytes are sent than in the descriptor.
        """
        if not self._left:
            if self._response.readinto(memoryview(bytearray(1))):
                raise self._refused("sends more bytes than the size in the manifest")
            return 0
        size = self._response.readinto(buffer[: self._left])
        if not size:
            raise self._short()
        self._left -= size
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
        )

    def _refused(self, what: str) -> Refused:
        host = self._response.host
        return Refused(
            f"{visible(host)} {what}", host=host, status=self._response.status, advice=_ADVICE
        )
