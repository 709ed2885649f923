"""What every store and writer can do. The contract suite in tests/contract is its proof."""

from __future__ import annotations

from enum import Flag, auto
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
    from typing import BinaryIO

    from contentui.content.digest import Digest
    from contentui.content.model import (
        Descriptor,
        Holder,
        Image,
        Info,
        IngestId,
        Probe,
        Root,
        Status,
        Usage,
    )


class Capability(Flag):
    """What a store is able and allowed to do, beyond listing and reading."""

    WRITE = auto()
    """Ingest, abort, truncate, delete."""
    LABELS = auto()
    """`Store.update` works, and labels are not unknown by nature."""
    HOLDERS = auto()
    """`Store.holders` can tell a held ref from a free one."""


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
            InvalidArgument: ``size`` is not 0, the only size that can be (content-store.md 3).
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


class ImageNames(Protocol):
    """The names of images in a store. Any call may raise what calls of `Store` may."""

    def list(self) -> list[Image]:
        """All of them, sorted by namespace and name."""

    def get(self, name: str) -> Image:
        """Raises NotFound."""

    def put(self, name: str, target: Descriptor, labels: Mapping[str, str] | None = None) -> Image:
        """Let ``name`` stand for ``target`` from now on, whatever it stood for.

        Durable when it returns. ``labels`` None: those it had.
        """

    def delete(self, name: str, *, seen: Image | None = None) -> None:
        """Forget a name; blobs stay.

        Raises:
            NotFound: there is no such name.
            Changed: it stands for another digest than in ``seen``.
        """


class Store(Protocol):
    """Blobs under their digests, ingests under their refs.

    ``ref`` arguments, `writer`'s excepted, take an `IngestId` as well. ``filters`` are containerd's
    (content-store.md 4.5): several are alternatives, none means everything; a bad one raises
    InvalidArgument before anything is yielded. Any call may raise Unavailable,
    PermissionDenied, ResourceExhausted; anything that changes the store raises ReadOnly where
    ``Capability.WRITE`` is absent.
    """

    @property
    def name(self) -> str:
        """The source as a person would type it; hostile text."""

    @property
    def capabilities(self) -> Capability: ...

    @property
    def read_only_reason(self) -> str:
        """Why ``Capability.WRITE`` is absent, as a sentence with the way out; else empty."""

    def info(self, digest: Digest) -> Info:
        """Raises NotFound."""

    def walk(self, filters: Sequence[str] = ()) -> Iterator[Info]:
        """All blobs, in no promised order. What disappears meanwhile is skipped."""

    def reader(self, digest: Digest) -> BlobReader:
        """Raises NotFound."""

    def update(self, digest: Digest, labels: Mapping[str, str], mask: Sequence[str] = ()) -> Info:
        """Change labels by field mask (content-store.md 4.4); returns the new Info.

        An empty mask, or ``labels``, replaces all of them; ``labels.KEY`` sets KEY, or removes
        it where ``labels`` lacks it or has it empty.

        Raises:
            NotFound, InvalidArgument: another path; key and value longer than 4096 bytes.
        """

    def delete(self, digest: Digest, *, seen: Info | None = None) -> None:
        """Remove a blob and its labels.

        Raises:
            NotFound: it is not there.
            Changed: it differs from ``seen`` in size or time of commit.
        """

    def writer(
        self,
        ref: str,
        *,
        total: int = 0,
        expected: Digest | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Writer:
        """Open the ref's one writer: a new ingest, or the old one with its bytes hashed again.

        A ``total`` that contradicts the stored one starts the ingest over.

        Raises:
            Locked: another live writer has it.
            AlreadyExists: a blob with the ``expected`` digest is there; the ingest is kept.
            InvalidArgument: an empty ref, one over 64 KiB, a negative total.
        """

    def status(self, ref: str) -> Status:
        """Raises NotFound. A damaged ingest is returned, with its ``damage``."""

    def statuses(self, filters: Sequence[str] = ()) -> list[Status]:
        """All ingests, damaged ones included, in no promised order. Never fails for one entry."""

    def refresh(self, seen: Sequence[Status]) -> list[Status | None]:
        """Each of ``seen`` as it is now, None where it is gone: the cheap look of a monitor.

        Only offset and ``updated_ns`` are sure to be fresh; an ingest that was removed and begun
        anew between two looks may keep its old start until the next `statuses`.
        """

    def holders(self, ids: Iterable[IngestId]) -> Mapping[IngestId, Holder] | None:
        """Who holds which of these ingests; an id left out is free; None: it can't be known."""

    def abort(self, ref: str, *, seen: Status | None = None, force: bool = False) -> None:
        """Remove an ingest and its bytes.

        With ``force`` a held one too: its writer notices at its commit, which then fails, and
        keeps the ref locked until it ends.

        Raises:
            NotFound: it is not there.
            Locked: a live writer holds it.
            Changed: it differs from ``seen`` (start, offset, update, damage).
        """

    def truncate(self, ref: str, *, seen: Status | None = None) -> None:
        """Drop an idle ingest's bytes and keep the ingest.

        Raises:
            NotFound, Locked, Changed: as `abort`.
        """

    def put(
        self,
        data: bytes,
        *,
        expected: Digest | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Info:
        """Store content that is whole in memory, durably, without a visible ingest.

        Content that exists is success, and keeps its labels.

        Raises:
            FailedPrecondition: ``data`` has another digest than ``expected``.
        """

    def put_many(
        self, items: Iterable[bytes], *, labels: Mapping[str, str] | None = None
    ) -> list[Info]:
        """`put` for many, in groups that share their syncs; returns when all are durable."""

    def version(self) -> Hashable:
        """A cheap token that differs after blobs came or went; None when there is none."""

    def digests(self) -> list[Digest]:
        """The digests of all blobs, without looking at each."""

    def probe(self, ref: str, *, seen: Status) -> Probe:
        """Ask for an ingest's lock, and when it is free, what its bytes are so far.

        Costs reading all its bytes, and on a containerd counts as opening it, which begins its
        24 hours anew (operators.md 0): only for people who ask, never on a timer. A complete
        ingest whose bytes are not the expected ones is poisoned from then on.

        Raises:
            NotFound: it is not there; nothing was made.
            Changed: it was begun anew since ``seen``.
        """

    def roots(self) -> list[Root]:
        """What keeps blobs beside labels and documents: image names, leases."""

    @property
    def images(self) -> ImageNames:
        """The names that content has here."""

    @property
    def collects(self) -> bool:
        """Whether a collector owns the bytes, as in a containerd.

        There, deleting only drops the name and the file goes at the next collection; what nobody
        needs goes by itself; and opening an ingest reads all its bytes while others wait.
        """

    def usage(self) -> Usage | None:
        """Space where the store lives; None when that means nothing."""

    def close(self) -> None: ...
