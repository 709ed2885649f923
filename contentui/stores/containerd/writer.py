"""The writer over a Write stream, several pieces ahead of the service's answers."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING

from contentui.content.errors import (
    AlreadyExists,
    ContentError,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
)
from contentui.content.model import ref_bytes
from contentui.protocol import wire
from contentui.stores.containerd.messages import digest_or_none
from contentui.stores.containerd.session import SLOW_S
from contentui.stores.memory import checked_labels
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import BinaryIO, Protocol, Self

    from contentui.content.digest import Digest
    from contentui.content.model import Info, Status
    from contentui.content.store import Progress
    from contentui.stores.containerd.session import Session

    class Behind(Protocol):
        """What the store does for its writers."""

        def status_of(self, writer: ContainerdWriter) -> Status: ...
        def committed(self, writer: ContainerdWriter, digest: Digest) -> Info: ...
        def refused(self, writer: ContainerdWriter, digest: Digest) -> None: ...
        def touched(self, writer: ContainerdWriter) -> None: ...
        def left(self, writer: ContainerdWriter) -> None: ...
        def labels(self, given: Mapping[str, str]) -> dict[str, str]: ...


PIECE = 1 << 20
"""Bytes in one message."""
_UNEXPECTED = re.compile(r"unexpected commit digest (\S+), expected")


class ContainerdWriter:
    """One live session on an ingest. Small writes are acknowledged before `write` returns."""

    def __init__(
        self,
        behind: Behind,
        session: Session,
        namespace: str,
        ref: str,
        *,
        total: int,
        expected: Digest | None,
        labels: Mapping[str, str] | None,
    ) -> None:
        """Opens the ref. Raises Locked, AlreadyExists, Unavailable; then nothing is held."""
        self.namespace = namespace
        self.ref = ref
        self.total = total
        self.expected = expected
        self._labels = labels
        self._behind = behind
        self._session = session
        self._ended = False
        session.send(
            wire.encode_write_request(
                wire.STAT, ref=ref_bytes(ref), total=total, expected=expected or ""
            )
        )
        opened = session.drain(SLOW_S)
        self.started_ns = opened.started_ns
        self._offset = opened.offset

    def start_over(self) -> None:
        """Drop bytes that lie in the file though the session knows of none.

        A daemon that begins an ingest anew in place keeps them (content-store.md 1.2), and cuts
        only what its session has written.
        """
        self._session.send(wire.encode_write_request(wire.WRITE, data=b"\0"))
        self._session.send(wire.encode_write_request(wire.WRITE))
        self._settle()

    @property
    def offset(self) -> int:
        """Bytes handed over, those on their way included."""
        return self._offset

    def digest(self) -> Digest:
        """The digest of the bytes so far, as the service computes it."""
        if self._session.is_open:
            self._settle()
        found = digest_or_none(self._session.last.digest)
        if found is None:
            raise DataLoss("the service told no valid digest")
        return found

    def status(self) -> Status:
        """As it stands now."""
        if self._session.is_open:
            self._settle()
        return self._behind.status_of(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Raises FailedPrecondition when closed, ResourceExhausted without space."""
        self._check_open("write to")
        view = memoryview(data).cast("B")
        for start in range(0, len(view), PIECE):
            self._send(view[start : start + PIECE])
        if len(view) < PIECE:
            self._settle()

    def append_from(self, source: BinaryIO, progress: Progress | None = None) -> int:
        """Append all that ``source`` yields; while one piece is read, others are on their way."""
        self._check_open("write to")
        before = self._offset
        for piece in _pieces(source):
            self._send(piece, progress)
        self._settle(progress)
        return self._offset - before

    def truncate(self, size: int) -> None:
        """Raises InvalidArgument unless ``size`` is 0."""
        self._check_open("truncate")
        if size != 0:
            raise InvalidArgument(f"an ingest can be truncated to 0 only, not to {size}")
        self._settle()
        self._behind.touched(self)
        self._session.send(wire.encode_write_request(wire.WRITE))
        self._offset = 0
        self._settle()

    def commit(
        self,
        size: int | None = None,
        expected: Digest | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Info:
        """Make the bytes a blob and end the session; errors as `Writer.commit`."""
        self._check_open("commit on")
        with self:
            given = checked_labels((self._labels if labels is None else labels) or {})
            if size is not None and size != self._offset:
                raise FailedPrecondition(f"unexpected commit size {self._offset}, expected {size}")
            wanted = expected or self.expected
            return self._committed(wanted or self.digest(), self._behind.labels(given))

    def close(self) -> None:
        """End the session, keep the ingest; the ref is free when this returns. Twice is fine."""
        if not self._ended:
            self._ended = True
            self._behind.left(self)
            self._session.finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _send(self, data: bytes | memoryview, progress: Progress | None = None) -> None:
        if self._offset == 0 or self._session.last.offset == self._offset:
            self._behind.touched(self)
        request = wire.encode_write_request(wire.WRITE, offset=self._offset, data=data)
        self._session.send(request, progress)
        self._offset += len(data)

    def _settle(self, progress: Progress | None = None) -> None:
        """Wait until the service has all that was handed over."""
        answer = self._session.drain(on_answer=progress)
        if answer.offset != self._offset:
            self._session.abandon()
            raise DataLoss(
                f"the service has {answer.offset} bytes of {visible(self.ref, 160)} where "
                f"{self._offset} were sent"
            )

    def _committed(self, digest: Digest, labels: Mapping[str, str]) -> Info:
        request = wire.encode_write_request(
            wire.COMMIT, total=self._offset, expected=digest, offset=self._offset, labels=labels
        )
        try:
            self._session.send(request)
            found = digest_or_none(self._session.drain(SLOW_S).digest)
            self._session.finish()
        except ContentError as error:
            raise self._refusal(error, digest) from None
        self._ended = True
        if found is None or (found.algorithm == digest.algorithm and found != digest):
            raise DataLoss(f"the service committed other content than {digest}")
        return self._behind.committed(self, digest)

    def _refusal(self, error: ContentError, digest: Digest) -> ContentError:
        text = error.message
        if isinstance(error, AlreadyExists):
            return AlreadyExists(f"content {digest}: already exists")
        found = _UNEXPECTED.search(text)
        have = digest_or_none(found[1].rstrip(",:")) if found else None
        if have is not None and have.algorithm != digest.algorithm:
            advice = "this daemon knows contents by their sha256 only: name that one"
            return FailedPrecondition(error.message, advice=advice)
        if have is not None:
            self._behind.refused(self, have)
        if "no such file or directory" in text:
            return DataLoss(f"ingest {visible(self.ref, 160)} was removed under its writer")
        return error

    def _check_open(self, what: str) -> None:
        if not self._session.is_open:
            raise FailedPrecondition(f"cannot {what} closed writer of {visible(self.ref, 160)}")


def _pieces(source: BinaryIO) -> Iterator[bytes]:
    """All that the source yields, gathered: each message costs both sides, and pipes give little.

    What was gathered when the source failed comes before its error.
    """
    ended = False
    while not ended:
        gathered: list[bytes] = []
        missing = PIECE
        try:
            while missing > 0 and not ended:
                gathered.append(_read(source, missing))
                missing -= len(gathered[-1])
                ended = not gathered[-1]
        except BaseException:
            if any(gathered):
                yield b"".join(gathered)
            raise
        if any(gathered):
            yield gathered[0] if len(gathered) == 1 else b"".join(gathered)


def _read(source: BinaryIO, size: int) -> bytes:
    """The source's next bytes; empty only at its end, where one that has none *yet* is not."""
    piece: bytes | None = source.read(size)
    if piece is None:
        raise BlockingIOError(errno.EAGAIN, "the source has no bytes yet and can't wait")
    return piece
