"""A blob as a stream: the reader, and the writer of an ingest that becomes one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

    from contentui.content.digest import Digest
    from contentui.content.model import Info, Status


class Progress(Protocol):
    """Called with the writer's new offset, in bytes, after each piece."""

    def __call__(self, offset: int, /) -> None: ...


class BlobReader(Protocol):
    """Random access to a blob's bytes. Close it; it is a context manager."""

    @property
    def size(self) -> int:
        """Bytes."""

    def read_at(self, size: int, offset: int) -> bytes:
        """At most ``size`` bytes from ``offset``; fewer only at the end, empty at and behind it.

        Raises:
            OutOfRange: a negative offset.
        """

    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...


class NonBlockingReader(BlobReader, Protocol):
    """A `BlobReader` that can read without waiting."""

    def read_now(self, size: int, offset: int) -> bytes | None:
        """All ``size`` bytes; None if the disk must be read or the blob no longer exists."""


class Writer(Protocol):
    """The one live transaction on a ref. Leaving its ``with`` block closes it, never commits."""

    @property
    def ref(self) -> str: ...

    @property
    def offset(self) -> int:
        """Bytes written so far, those of earlier sessions included."""

    def digest(self) -> Digest:
        """The digest of the bytes written so far; sha256 unless another was expected."""

    def status(self) -> Status: ...

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append all of ``data``.

        Raises:
            FailedPrecondition: the writer is closed.
            ResourceExhausted: no space; what was written stays counted, the ingest resumable.
        """

    def append_from(self, source: BinaryIO, progress: Progress | None = None) -> int:
        """Append everything that ``source`` still yields; return how many bytes that was.

        The fast way in: a store may copy inside the kernel and hash on another thread. Reading
        begins at the source's logical position (``tell()``), buffers included. An OSError of
        the source's own is raised as it is.
        Whatever interrupts it, what has been appended is counted and hashed.
        """

    def truncate(self, size: int) -> None:
        """Start over: drop all bytes.

        Raises:
            InvalidArgument: ``size`` is not 0, the only size that containerd accepts too
                (``plugins/content/local/writer.go``, ``Truncate``).
        """

    def commit(
        self,
        size: int | None = None,
        expected: Digest | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Info:
        """Make the bytes a blob and end the session. Acknowledged only when durable.

        Arguments left out fall back on those given to `Store.writer`; ``size`` None means that
        any size will do (a total declared at opening does not count as one).

        Raises:
            FailedPrecondition: size or digest differ; the ingest is kept, and a complete one
                with the wrong digest is marked (`Status.refused`). The writer is closed.
            AlreadyExists: the blob is there; the ingest is removed, the writer closed.
            DataLoss: the files behind the writer are not those it wrote.
        """

    def close(self) -> None:
        """End the session and keep the ingest, durable, for resumption. Twice is fine."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...
