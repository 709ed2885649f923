"""What callers of a store need and no store need implement.

Bytes into a store with resumption, and out of it with verification; and for each optional role
of `contentui.content.roles` that has one, its substitute by the mandatory methods.

Convention: `Writer.append_from` reads from the source's *logical* position, ``source.tell()``
where there is one. A raw file (``io.FileIO``) may be read through its descriptor; a buffered
one may hold bytes that its descriptor has left behind, and is read through its own methods.
`write_blob` hands over the raw file, positioned, wherever it can.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
from typing import TYPE_CHECKING, BinaryIO, Literal, NamedTuple, cast

from contentui.content.digest import Digest, new_hash
from contentui.content.errors import (
    AlreadyExists,
    ContentError,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    Locked,
    NotFound,
)
from contentui.content.model import Info

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from contentui.content.model import (
        Descriptor,
        Holder,
        Image,
        IngestId,
        Lease,
        Probe,
        Root,
        Status,
        Usage,
    )
    from contentui.content.roles import ImageNames
    from contentui.content.store import Store
    from contentui.content.streams import BlobReader, Progress, Writer

MIB = 1024 * 1024
_BACKOFF_FIRST_S = 0.010
_BACKOFF_MOST_S = 0.500


class Written(NamedTuple):
    """What `write_blob` did."""

    info: Info
    outcome: Literal["created", "existed", "resumed"]
    resumed_from: int
    """Bytes that an earlier session had left and that were kept; 0 for a start from nothing."""


def open_writer(
    store: Store,
    ref: str,
    *,
    total: int = 0,
    expected: Digest | None = None,
    labels: Mapping[str, str] | None = None,
    wait_s: float | None = 0.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> Writer:
    """`Store.writer`, waiting up to ``wait_s`` seconds for the ref's lock; None: without limit.

    Raises:
        Locked: still held when the time was over.
        AlreadyExists, InvalidArgument: as `Store.writer`.
    """
    deadline = None if wait_s is None else clock() + wait_s
    delay = _BACKOFF_FIRST_S
    while True:
        try:
            return store.writer(ref, total=total, expected=expected, labels=labels)
        except Locked:
            left = delay if deadline is None else deadline - clock()
            if left <= 0:
                raise
        sleep(min(left, delay * _scatter()))
        delay = min(delay * 2, _BACKOFF_MOST_S)


def _scatter() -> float:
    """A random factor, so that many waiters don't come back together."""
    import random

    return random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def find_lease(store: Store, lease: Lease) -> Lease:
    """A lease as it is now.

    Raises:
        NotFound: it is gone, or the store has no leases.
    """
    role = store.roles.leasing
    for found in role.list_leases() if role else ():
        if (found.namespace, found.id) == (lease.namespace, lease.id):
            return found
    raise NotFound(f"no lease {lease.id[:200]!a}")


def has_ingest(store: Store, ref: str) -> bool:
    """Whether there is an ingest of this ref."""
    try:
        store.status(ref)
    except NotFound:
        return False
    return True


def write_blob(
    store: Store,
    ref: str,
    source: BinaryIO | ReaderFile,
    *,
    size: int | None = None,
    expected: Digest | None = None,
    labels: Mapping[str, str] | None = None,
    wait_s: float | None = 0.0,
    progress: Progress | None = None,
) -> Written:
    """Store ``source`` from its current position, and resume an interrupted ingest.

    A file starts at its current position, a `ReaderFile` at 0. What an earlier session
    left is kept only if it can be of this source: with ``expected`` the digest decides, at the
    end, and the whole source is read once more if it differs; without, the stored bytes are
    compared with the source's first ones. A source that can't be rewound starts over. When it
    fails or is interrupted, the ingest stays, resumable.

    Args:
        store: where to.
        ref: the ingest's name, or its `IngestId`.
        source: a binary file, or a blob's reader as a `ReaderFile`.
        size: bytes that must arrive; None takes any number (the size of a `ReaderFile`
            counts, a file's does not: it may be growing).
        expected: the digest that the bytes must have.
        labels: the blob's labels; a blob that exists keeps its own.
        wait_s: seconds to wait for the ref's lock; None: without limit.
        progress: called with the offset, bytes, after each piece.

    Raises:
        Locked: a live writer has the ref.
        FailedPrecondition: size or digest differ.
    """
    feed = _feed(source)
    size = feed.size if size is None else size
    try:
        if expected is not None and not _is_begun(store, ref):
            there = _existing(store, expected)
            if there is not None:
                return Written(there, "existed", 0)
        writer = open_writer(
            store, ref, total=size or 0, expected=expected, labels=labels, wait_s=wait_s
        )
    except AlreadyExists:
        if expected is None:
            raise
        return Written(_existing_info(store, expected, size), "existed", 0)
    with writer:
        kept = _fill(writer, feed, size, expected, progress)
        digest = expected or writer.digest()
        try:
            info = writer.commit(size, expected, labels)
        except AlreadyExists:
            return Written(_existing_info(store, digest, writer.offset), "existed", kept)
    return Written(info, "resumed" if kept else "created", kept)


def verified_chunks(store: Store, digest: Digest, chunk_size: int = MIB) -> Iterator[bytes]:
    """A whole blob in pieces of ``chunk_size`` bytes, checked against its digest at the end.

    Raises:
        NotFound: no such blob.
        DataLoss: after the last piece, when the bytes have another digest.
    """
    if chunk_size <= 0:
        raise InvalidArgument(f"a chunk of {chunk_size} bytes can't be read")
    return _verified(store, digest, chunk_size)


def verify(store: Store, digest: Digest, progress: Progress | None = None) -> None:
    """Read a blob and check it.

    Raises:
        NotFound: no such blob.
        DataLoss: the bytes have another digest.
    """
    offset = 0
    for chunk in verified_chunks(store, digest):
        offset += len(chunk)
        if progress is not None:
            progress(offset)


class Verified(NamedTuple):
    """A blob that `verify_blobs` has read."""

    info: Info
    ok: bool | None
    """Whether its bytes match its digest; None: they could not be read."""
    error: ContentError | None = None
    """Why it is not ok."""


def verify_blobs(
    store: Store, infos: Iterable[Info], progress: Progress | None = None
) -> Iterator[Verified]:
    """Read blobs and check each, going on after failures; deleted ones are left out.

    ``progress`` is called with the bytes that have been read of all blobs together.
    """
    done = 0
    for info in infos:

        def report(offset: int, before: int = done) -> None:
            if progress is not None:
                progress(before + offset)

        try:
            verify(store, info.digest, report)
        except NotFound:
            continue
        except DataLoss as error:
            yield Verified(info, ok=False, error=error)
        except ContentError as error:
            yield Verified(info, ok=None, error=error)
        else:
            yield Verified(info, ok=True)
        done += info.size


def _verified(store: Store, digest: Digest, chunk_size: int) -> Iterator[bytes]:
    size = store.info(digest).size
    running = new_hash(digest.algorithm)
    offset = 0
    with store.reader(digest) as reader:
        # One byte past the known end is asked for, so that a longer file is noticed.
        while chunk := reader.read_at(chunk_size, offset):
            offset += len(chunk)
            running.update(chunk)
            yield chunk
            if offset > size:
                break
    if offset != size:
        more = "more than" if offset > size else f"{offset} of"
        raise _altered(digest, f"it has {more} its {size} bytes")
    if running.hexdigest() != digest.encoded:
        raise _altered(digest, f"its {size} bytes hash to {digest.algorithm}:{running.hexdigest()}")


# -- the optional roles, or their substitutes


def put_blob(
    store: Store,
    data: bytes,
    *,
    expected: Digest | None = None,
    labels: Mapping[str, str] | None = None,
) -> Info:
    """`Batches.put`; where the store has no such role, through a writer of a ref made for it.

    Raises:
        FailedPrecondition: ``data`` has another digest than ``expected``.
    """
    if (batches := store.roles.batches) is not None:
        return batches.put(data, expected=expected, labels=labels)
    digest = Digest.of(data, expected.algorithm if expected else "sha256")
    if expected not in {None, digest}:
        raise FailedPrecondition(f"unexpected digest {digest}, expected {expected}")
    ref = f"put-{os.urandom(8).hex()}-{digest}"
    try:
        with store.writer(ref, total=len(data), expected=digest, labels=labels) as writer:
            writer.write(data)
            return writer.commit(len(data), digest)
    except AlreadyExists:
        return _existing_info(store, digest, len(data))
    except BaseException:
        with contextlib.suppress(ContentError):
            store.abort(ref)
        raise


def put_blobs(
    store: Store, items: Iterable[bytes], *, labels: Mapping[str, str] | None = None
) -> list[Info]:
    """`Batches.put_many`, or `put_blob` for each."""
    if (batches := store.roles.batches) is not None:
        return batches.put_many(items, labels=labels)
    return [put_blob(store, item, labels=labels) for item in items]


def refresh_statuses(store: Store, statuses: Sequence[Status]) -> list[Status | None]:
    """`Refreshing.refresh`, or a listing of all ingests."""
    if (refreshing := store.roles.refreshing) is not None:
        return refreshing.refresh(statuses)
    found = {status.id: status for status in store.statuses()} if statuses else {}
    return [found.get(status.id) for status in statuses]


def list_digests(store: Store) -> list[Digest]:
    """`DigestListing.digests`, or a walk."""
    if (listing := store.roles.digest_listing) is not None:
        return listing.digests()
    return [info.digest for info in store.walk()]


def lock_holders(store: Store, ids: Iterable[IngestId]) -> Mapping[IngestId, Holder] | None:
    """`LockHolders.holders`; None, for unknown, where the store has no such role."""
    role = store.roles.lock_holders
    return None if role is None else role.holders(ids)


def probe_ingest(store: Store, ref: str, *, if_match: Status) -> Probe:
    """`Probing.probe`.

    Raises:
        NotFound, Changed: as there.
        FailedPrecondition: the store has no such role.
    """
    if (probing := store.roles.probing) is not None:
        return probing.probe(ref, if_match=if_match)
    raise FailedPrecondition(
        f"{store.name[:160]!r} can't probe an ingest", advice="look whether its offset grows"
    )


def list_roots(store: Store) -> list[Root]:
    """`RootListing.roots`; none where the store has no such role."""
    role = store.roles.root_listing
    return [] if role is None else role.roots()


def disk_usage(store: Store) -> Usage | None:
    """`DiskUsage.usage`; None where the store has no such role."""
    role = store.roles.disk_usage
    return None if role is None else role.usage()


def image_names(store: Store) -> ImageNames:
    """`ImageNaming.images`; without that role an empty list that can't be changed."""
    role = store.roles.image_naming
    return NoImageNames(store.name) if role is None else role.images


class NoImageNames:
    """The `ImageNames` of a store that keeps none."""

    def __init__(self, store_name: str) -> None:
        self._store_name = store_name

    def list(self) -> list[Image]:
        return []

    def get(self, name: str) -> Image:
        """Raises NotFound."""
        raise NotFound(
            f"image {name[:160]!r}: the store {self._store_name[:160]!r} keeps no image names",
            advice="name content by its digest",
        )

    def put(self, name: str, target: Descriptor, labels: Mapping[str, str] | None = None) -> Image:  # noqa: ARG002
        """Raises FailedPrecondition."""
        raise FailedPrecondition(
            f"the store {self._store_name[:160]!r} keeps no image names: "
            f"{name[:160]!r} can't be recorded",
            advice=f"name the content by its digest, {target.digest}",
        )

    def delete(self, name: str, *, if_match: Image | None = None) -> None:  # noqa: ARG002
        """Raises NotFound."""
        self.get(name)


def _altered(digest: Digest, why: str) -> DataLoss:
    return DataLoss(
        f"blob {digest} is damaged: {why}", advice="delete it and ingest or pull it again"
    )


def _existing(store: Store, digest: Digest) -> Info | None:
    try:
        return store.info(digest)
    except NotFound:
        return None


def _existing_info(store: Store, digest: Digest, size: int | None) -> Info:
    """A blob that was there at the commit, even where another process has deleted it since."""
    found = _existing(store, digest)
    return found if found is not None else Info(digest, size or 0, 0, 0, None)


def _is_begun(store: Store, ref: str) -> bool:
    """Whether there is an ingest; opening its writer also ends what a killed one left."""
    try:
        store.status(ref)
    except NotFound:
        return False
    return True


def _fill(
    writer: Writer,
    feed: _Feed,
    size: int | None,
    expected: Digest | None,
    progress: Progress | None,
) -> int:
    """Bring all of the source into the writer; return how many stored bytes were kept."""
    kept = _usable_prefix(writer, feed, size, expected)
    if kept == 0 and writer.offset > 0:
        writer.truncate(0)
    writer.append_from(feed.at(kept), progress)
    if kept and _is_foreign(writer, size, expected):
        kept = 0
        writer.truncate(0)
        writer.append_from(feed.at(0), progress)
    return kept


def _usable_prefix(writer: Writer, feed: _Feed, size: int | None, expected: Digest | None) -> int:
    """The writer's offset if its bytes may be this source's first ones, else 0."""
    offset = writer.offset
    if offset == 0 or not feed.rewindable or (size is not None and offset > size):
        return 0
    if writer.status().refused is not None:
        return 0
    if expected is None and not _begins_with(feed.at(0), offset, writer.digest()):
        return 0
    return offset


def _is_foreign(writer: Writer, size: int | None, expected: Digest | None) -> bool:
    """Whether a resumed prefix turned out to be another source's, which only a digest shows.

    A wrong size is no sign of it: it would be as wrong after a start from nothing.
    """
    if expected is None or (size is not None and writer.offset != size):
        return False
    digest = writer.digest()
    return digest.algorithm == expected.algorithm and digest != expected


def _begins_with(source: BinaryIO, length: int, digest: Digest) -> bool:
    """Whether the next ``length`` bytes of ``source`` have that digest."""
    running = new_hash(digest.algorithm)
    while length > 0:
        piece = source.read(min(length, MIB))
        if not piece:
            return False
        running.update(piece)
        length -= len(piece)
    return running.hexdigest() == digest.encoded


class _Feed(NamedTuple):
    """A source under one roof, whatever kind it is."""

    file: BinaryIO
    base: int
    """Where in ``file`` the content begins."""
    rewindable: bool
    size: int | None
    """Bytes, when the source itself knows."""

    def at(self, offset: int) -> BinaryIO:
        """The file, positioned at ``offset`` of the content."""
        if self.rewindable:
            self.file.seek(self.base + offset)
        return self.file


def _feed(source: BinaryIO | ReaderFile) -> _Feed:
    if isinstance(source, ReaderFile):
        return _Feed(cast("BinaryIO", source), 0, rewindable=True, size=source.reader.size)
    file = source
    seekable = getattr(file, "seekable", None)
    if seekable is None or not seekable():
        return _Feed(file, 0, rewindable=False, size=None)
    base = file.tell()
    if isinstance(file, io.BufferedReader):
        # From here on only the raw file is moved: the buffer would not know.
        file = cast("BinaryIO", file.raw)
    return _Feed(file, base, rewindable=True, size=None)


class ReaderFile(io.RawIOBase):
    """A blob's reader as a file, so that a blob can be the source of `write_blob`."""

    def __init__(self, reader: BlobReader) -> None:
        self.reader = reader
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.reader.size}
        self._at = max(start[whence] + offset, 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed: Buffer has no len
        data = self.reader.read_at(len(buffer), self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
