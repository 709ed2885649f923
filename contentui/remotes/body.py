"""A blob's bytes on their way, exactly as many as its descriptor promises."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from contentui.remotes.errors import Interrupted, Refused
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from contentui.remotes.http import Answer

_CONTENT_RANGE = re.compile(r"bytes\s+(\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_SKIP = 1 << 20
_ADVICE = "something between here and the registry alters content: look at proxies and mirrors"


def start_of(answer: Answer, size: int) -> int | None:
    """Where the bytes begin that an answer brings; None where it can't be told, or lacks the end.

    A 206 without a Content-Range counts where it has as many bytes as all of the content.
    """
    if answer.status != 206:
        return 0 if answer.status == 200 else None
    given = answer.headers.get("Content-Range")
    if given is None:
        return 0 if answer.length == size else None
    match = _CONTENT_RANGE.fullmatch(given.strip())
    if match is None:
        return None
    first, last, total = int(match[1]), int(match[2]), match[3]
    return first if last == size - 1 and total in ("*", str(size)) else None


class Body:
    """The bytes of a blob from an offset on. Close it; it is a context manager."""

    def __init__(self, answer: Answer, size: int, offset: int, start: int) -> None:
        """A body that begins at ``start`` and is wanted from ``offset`` on.

        Raises Refused: what the host announces is not what the descriptor promises.
        """
        self._answer = answer
        self._left = size - offset
        self.asked = ""
        """Which of the registry's hosts, or what URL, was asked; it may have sent us on."""
        self.skipping = offset - start
        """Bytes before the offset that the host sends again, because it ignores ranges."""
        promised = self._left + self.skipping
        encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding != "identity":
            answer.close()
            raise self._refused(f"sends the content encoded as {visible(encoding, 40)}, unasked")
        if answer.length is not None and answer.length != promised:
            answer.close()
            raise self._refused(
                f"announces {answer.length} bytes where the manifest promises {promised}"
            )

    @property
    def host(self) -> str:
        """Who sends it; hostile text."""
        return self._answer.host

    def skip(self, pause: Callable[[], object] = lambda: None) -> None:
        """Read what comes before the offset, where that is needed.

        ``pause`` is called now and then, and may raise. Raises as `readinto`.
        """
        view = memoryview(bytearray(min(_SKIP, self.skipping)))
        while self.skipping:
            size = self._answer.readinto(view[: self.skipping])
            if not size:
                raise self._short()
            self.skipping -= size
            pause()

    def readinto(self, buffer: memoryview) -> int:
        """Read at most as many bytes as fit; 0 once all are there.

        Raises:
            Interrupted: the connection broke, stalled, or ended early.
            Refused: more bytes come than were promised.
        """
        if not self._left:
            if self._answer.readinto(memoryview(bytearray(1))):
                raise self._refused("sends more bytes than the manifest promises")
            return 0
        size = self._answer.readinto(buffer[: self._left])
        if not size:
            raise self._short()
        self._left -= size
        return size

    def close(self) -> None:
        self._answer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _short(self) -> Interrupted:
        missing = self._left + self.skipping
        return Interrupted(
            f"{visible(self.host)} ended {missing} bytes before the end", host=self.host
        )

    def _refused(self, what: str) -> Refused:
        host = self._answer.host
        return Refused(
            f"{visible(host)} {what}", host=host, status=self._answer.status, advice=_ADVICE
        )
