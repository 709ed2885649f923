"""The writer over a Write stream, several messages ahead of the server's responses."""

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
from contentui.content.rules import checked_labels
from contentui.protocol import wire
from contentui.stores.containerd.messages import digest_or_none
from contentui.stores.containerd.write_stream import HASHING_TIMEOUT_S
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import BinaryIO, Protocol, Self

    from contentui.content.digest import Digest
    from contentui.content.model import Info, Status
    from contentui.content.streams import Progress
    from contentui.stores.containerd.write_stream import WriteStream

    class Owner(Protocol):
        """What the store does for its writers."""

        def status_of(self, writer: ContainerdWriter) -> Status: ...
        def committed(self, writer: ContainerdWriter, digest: Digest) -> Info: ...
        def refused(self, writer: ContainerdWriter, digest: Digest) -> None: ...
        def touched(self, writer: ContainerdWriter) -> None: ...
        def left(self, writer: ContainerdWriter) -> None: ...
        def labels(self, given: Mapping[str, str]) -> dict[str, str]: ...


CHUNK = 1 << 20
"""Bytes in one message."""
_UNEXPECTED = re.compile(r"unexpected commit digest (\S+), expected")


class ContainerdWriter:
    """An open ingest. Writes below 1 MiB are acknowledged before `write` returns."""

    def __init__(
        self,
        owner: Owner,
        stream: WriteStream,
        namespace: str,
        ref: str,
        *,
        total: int,
        expected: Digest | None,
        labels: Mapping[str, str] | None,
    ) -> None:
        """Opens and locks the ref. Raises Locked, AlreadyExists, Unavailable."""
        self.namespace = namespace
        self.ref = ref
        self.total = total
        self.expected = expected
        self._labels = labels
        self._owner = owner
        self._stream = stream
        self._ended = False
        stream.send(
            wire.encode_write_request(
                wire.STAT, ref=ref_bytes(ref), total=total, expected=expected or ""
            )
        )
        opened = stream.drain(HASHING_TIMEOUT_S)
        self.started_ns = opened.started_ns
        self._offset = opened.offset

    def start_over(self) -> None:
        """Drop bytes of an older ingest that the file has though the stream's offset is 0.

        A daemon that begins an ingest anew keeps the old file's bytes, and truncates only what
        the stream has written (``openAndInit`` in ``content/local/store.go``).
        """
        self._stream.send(wire.encode_write_request(wire.WRITE, data=b"\0"))
        self._stream.send(wire.encode_write_request(wire.WRITE))
        self._settle()

    @property
    def offset(self) -> int:
        """Bytes passed to `write`, also those without a response yet."""
        return self._offset

    def digest(self) -> Digest:
        """The digest of the bytes so far, computed by the server."""
        if self._stream.is_open:
            self._settle()
        found = digest_or_none(self._stream.last.digest)
        if found is None:
            raise DataLoss("the server sent no valid digest")
        return found

    def status(self) -> Status:
        """The current status."""
        if self._stream.is_open:
            self._settle()
        return self._owner.status_of(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Raises FailedPrecondition when closed, ResourceExhausted without space."""
        self._check_open("write to")
        view = memoryview(data).cast("B")
        for start in range(0, len(view), CHUNK):
            self._send(view[start : start + CHUNK])
        if len(view) < CHUNK:
            self._settle()

    def append_from(self, source: BinaryIO, progress: Progress | None = None) -> int:
        """Append all that ``source`` yields, reading while earlier chunks are being sent."""
        self._check_open("write to")
        before = self._offset
        for piece in _chunks(source):
            self._send(piece, progress)
        self._settle(progress)
        return self._offset - before

    def truncate(self, size: int) -> None:
        """Raises InvalidArgument unless ``size`` is 0."""
        self._check_open("truncate")
        if size != 0:
            raise InvalidArgument(f"an ingest can be truncated to 0 only, not to {size}")
        self._settle()
        self._owner.touched(self)
        self._stream.send(wire.encode_write_request(wire.WRITE))
        self._offset = 0
        self._settle()

    def commit(
        self,
        size: int | None = None,
        expected: Digest | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Info:
        """Commit the bytes and end the stream; errors as `Writer.commit`."""
        self._check_open("commit on")
        with self:
            given = checked_labels((self._labels if labels is None else labels) or {})
            if size is not None and size != self._offset:
                raise FailedPrecondition(f"unexpected commit size {self._offset}, expected {size}")
            wanted = expected or self.expected
            return self._committed(wanted or self.digest(), self._owner.labels(given))

    def close(self) -> None:
        """End the stream, keep the ingest; the ref is unlocked on return. May be called twice."""
        if not self._ended:
            self._ended = True
            self._owner.left(self)
            self._stream.finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _send(self, data: bytes | memoryview, progress: Progress | None = None) -> None:
        if self._offset == 0 or self._stream.last.offset == self._offset:
            self._owner.touched(self)
        request = wire.encode_write_request(wire.WRITE, offset=self._offset, data=data)
        self._stream.send(request, progress)
        self._offset += len(data)

    def _settle(self, progress: Progress | None = None) -> None:
        """Wait until the server has all bytes."""
        response = self._stream.drain(on_offset=progress)
        if response.offset != self._offset:
            self._stream.abandon()
            raise DataLoss(
                f"the server has {response.offset} bytes of {visible(self.ref, 160)}, "
                f"but {self._offset} were sent"
            )

    def _committed(self, digest: Digest, labels: Mapping[str, str]) -> Info:
        request = wire.encode_write_request(
            wire.COMMIT, total=self._offset, expected=digest, offset=self._offset, labels=labels
        )
        try:
            self._stream.send(request)
            found = digest_or_none(self._stream.drain(HASHING_TIMEOUT_S).digest)
            self._stream.finish()
        except ContentError as error:
            raise self._commit_error(error, digest) from None
        self._ended = True
        if found is None or (found.algorithm == digest.algorithm and found != digest):
            raise DataLoss(f"the server committed other content than {digest}")
        return self._owner.committed(self, digest)

    def _commit_error(self, error: ContentError, digest: Digest) -> ContentError:
        text = error.message
        if isinstance(error, AlreadyExists):
            return AlreadyExists(f"content {digest}: already exists")
        found = _UNEXPECTED.search(text)
        have = digest_or_none(found[1].rstrip(",:")) if found else None
        if have is not None and have.algorithm != digest.algorithm:
            advice = "this daemon supports sha256 only: give the sha256 digest"
            return FailedPrecondition(error.message, advice=advice)
        if have is not None:
            self._owner.refused(self, have)
        if "no such file or directory" in text:
            return DataLoss(f"ingest {visible(self.ref, 160)} was aborted while it was written")
        return error

    def _check_open(self, what: str) -> None:
        if not self._stream.is_open:
            raise FailedPrecondition(f"cannot {what} closed writer of {visible(self.ref, 160)}")


def _chunks(source: BinaryIO) -> Iterator[bytes]:
    """All that the source yields, in chunks of 1 MiB, because pipes return less per read.

    What was read before an error of the source is yielded before the error.
    """
    ended = False
    while not ended:
        gathered: list[bytes] = []
        missing = CHUNK
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
    """The source's next bytes; empty only at its end."""
    piece: bytes | None = source.read(size)
    if piece is None:
        raise BlockingIOError(errno.EAGAIN, "the source is non-blocking and has no bytes yet")
    return piece
