"""A store in memory with containerd's semantics: the model that other stores are compared with."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from contentui.content.digest import Digest, new_hash
from contentui.content.errors import (
    AlreadyExists,
    Changed,
    FailedPrecondition,
    InvalidArgument,
    Locked,
    NotFound,
    OutOfRange,
)
from contentui.content.filters import info_filter, status_filter
from contentui.content.model import (
    Holder,
    Image,
    Info,
    IngestId,
    Liveness,
    Probe,
    Root,
    Status,
    ingest_id,
    ref_argument,
)
from contentui.content.rules import (
    check_blob_match,
    check_image,
    check_image_match,
    check_ingest_match,
    check_ref,
    check_total,
    checked_labels,
    image_not_found,
    updated_labels,
)
from contentui.content.traits import Roles, Traits

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
    from typing import BinaryIO, Self

    from contentui.content.model import Descriptor
    from contentui.content.streams import Progress

_PIECE = 1024 * 1024


class _Ingest:
    """What is known of one ref between and during sessions."""

    def __init__(self, ref: str, now: int) -> None:
        self.ref = ref
        self.data = bytearray()
        self.total = 0
        self.started_ns = now
        self.updated_ns = now
        self.expected: Digest | None = None
        self.refused: Digest | None = None

    def status(self) -> Status:
        return Status(
            self.ref,
            len(self.data),
            self.total,
            self.started_ns,
            self.updated_ns,
            self.expected,
            ingest_id(self.ref),
            refused=self.refused,
        )

    def probe(self) -> Probe:
        """What the bytes are; wrong ones are refused from now on.

        Only for an ingest without a writer.
        """
        wanted = self.expected
        digest = Digest.of(bytes(self.data), wanted.algorithm if wanted else "sha256")
        if wanted not in {None, digest} and 0 < self.total <= len(self.data):
            self.refused = digest
        return Probe(self.status(), Liveness.FREE, None, digest)

    def clear(self, now: int) -> None:
        # A new buffer: the old one may be under someone's eyes, and can't shrink then.
        self.data = bytearray()
        self.refused = None
        self.updated_ns = now


class MemoryStore:
    """Blobs and ingests in this process's memory; safe to use from many threads.

    ``clock``: wall time, ns. The content lives as long as the object.
    """

    traits = Traits()

    def __init__(self, name: str = "memory", clock: Callable[[], int] = time.time_ns) -> None:
        self.name = name
        self._clock = clock
        self._mutex = threading.RLock()
        self._blobs: dict[Digest, tuple[Info, bytes]] = {}
        self._ingests: dict[IngestId, _Ingest] = {}
        self._held: dict[IngestId, Holder] = {}
        self._version = self._labels_version = 0
        self.images = MemoryImages(clock)

    @property
    def roles(self) -> Roles:
        return Roles(
            probing=self,
            lock_holders=self,
            root_listing=self,
            image_naming=self,
            refreshing=self,
            batches=self,
            digest_listing=self,
            blob_versions=self,
        )

    # Blobs

    def info(self, digest: Digest) -> Info:
        """Raises NotFound."""
        return self._blob(digest)[0]

    def walk(self, filters: Sequence[str] = ()) -> Iterator[Info]:
        """All blobs that any filter matches, as they are now."""
        matches = info_filter(filters)
        with self._mutex:
            infos = [info for info, _ in self._blobs.values()]
        return filter(matches, infos) if matches else iter(infos)

    def reader(self, digest: Digest) -> MemoryReader:
        """Raises NotFound."""
        return MemoryReader(self._blob(digest)[1])

    def update(self, digest: Digest, labels: Mapping[str, str], mask: Sequence[str] = ()) -> Info:
        """Change labels by field mask, as `Manager.update`.

        Raises:
            NotFound: no such blob.
            InvalidArgument: a path that is no label, or a label that is too long.
        """
        with self._mutex:
            info, data = self._blob(digest)
            new = updated_labels(info.labels or {}, digest, labels, mask)
            info = info._replace(labels=new, updated_ns=self._clock())
            self._blobs[digest] = info, data
            self._labels_version += 1
            return info

    def delete(self, digest: Digest, *, if_match: Info | None = None) -> None:
        """Raises NotFound, Changed."""
        with self._mutex:
            info = self.info(digest)
            check_blob_match(info, if_match)
            del self._blobs[digest]
            self._version += 1

    def put(
        self,
        data: bytes,
        *,
        expected: Digest | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Info:
        """Store whole content; what exists keeps its labels.

        Raises:
            FailedPrecondition: ``data`` has another digest than ``expected``.
        """
        digest = Digest.of(data, expected.algorithm if expected else "sha256")
        if expected not in {None, digest}:
            raise FailedPrecondition(f"unexpected digest {digest}, expected {expected}")
        with self._mutex:
            if digest not in self._blobs:
                self._add(digest, bytes(data), labels)
            return self.info(digest)

    def put_many(
        self, items: Iterable[bytes], *, labels: Mapping[str, str] | None = None
    ) -> list[Info]:
        """`put` for many."""
        return [self.put(item, labels=labels) for item in items]

    def blobs_version(self) -> Hashable:
        """Differs after blobs came or went."""
        return self._version

    def labels_version(self) -> Hashable:
        """Differs after labels changed."""
        return self._labels_version

    def digests(self) -> list[Digest]:
        """The digests of all blobs."""
        with self._mutex:
            return list(self._blobs)

    def digest_lines(self) -> str:
        """The digests of all blobs as text, one a line."""
        return "".join(f"{digest}\n" for digest in self.digests())

    def roots(self) -> list[Root]:
        """The images."""
        return [Root("image", image.name, image.target.digest) for image in self.images.list()]

    def close(self) -> None:
        """Nothing to let go of."""

    # Ingests

    def writer(
        self,
        ref: str,
        *,
        total: int = 0,
        expected: Digest | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> MemoryWriter:
        """Open the ref's one writer.

        Raises:
            Locked, AlreadyExists, InvalidArgument: as `Store.writer`.
        """
        check_total(total)
        check_ref(ref)
        checked_labels(labels or {})
        with self._mutex:
            if expected in self._blobs:
                raise AlreadyExists(f"content {expected}: already exists")
            ident = ingest_id(ref)
            self._refuse_held(ident)
            ingest = self._opened(ident, ref, total)
            ingest.expected = expected or ingest.expected
            self._held[ident] = _this_process(self._clock())
        return MemoryWriter(self, ingest, expected, labels)

    def status(self, ref: str) -> Status:
        """Raises NotFound."""
        with self._mutex:
            return self._ingest(ref).status()

    def statuses(self, filters: Sequence[str] = ()) -> list[Status]:
        """All ingests that any filter matches."""
        matches = status_filter(filters)
        with self._mutex:
            found = [ingest.status() for ingest in self._ingests.values()]
        return [status for status in found if matches(status)] if matches else found

    def refresh(self, statuses: Sequence[Status]) -> list[Status | None]:
        """Each of ``statuses`` as it is now, None where it is gone."""
        with self._mutex:
            found = [self._ingests.get(status.id) for status in statuses]
            return [ingest.status() if ingest else None for ingest in found]

    def holders(self, ids: Iterable[IngestId]) -> Mapping[IngestId, Holder]:
        """Who holds which of these ingests: always this process."""
        with self._mutex:
            return {ident: self._held[ident] for ident in ids if ident in self._held}

    def abort(self, ref: str, *, if_match: Status | None = None, force: bool = False) -> None:
        """Raises NotFound, Changed, and Locked without ``force``."""
        with self._mutex:
            ingest = self._ingest(ref)
            if not force:
                self._refuse_held(ingest_id(ref))
            check_ingest_match(ingest.status(), if_match, repr(ref[:160]))
            del self._ingests[ingest_id(ref)]

    def truncate(self, ref: str, *, if_match: Status | None = None) -> None:
        """Raises NotFound, Locked, Changed."""
        with self._mutex:
            ingest = self._ingest(ref)
            self._refuse_held(ingest_id(ref))
            check_ingest_match(ingest.status(), if_match, repr(ref[:160]))
            ingest.clear(self._clock())

    def probe(self, ref: str, *, if_match: Status) -> Probe:
        """Raises NotFound, Changed."""
        with self._mutex:
            ingest = self._ingest(ref)
            found = ingest.status()
            if (found.id, found.started_ns) != (if_match.id, if_match.started_ns):
                raise Changed(f"ingest {ref[:160]!r} was begun anew", advice="look again")
            holder = self._held.get(found.id)
            if holder is not None:
                return Probe(found, Liveness.HELD, holder)
            return ingest.probe()

    # Inside

    def _blob(self, digest: Digest) -> tuple[Info, bytes]:
        with self._mutex:
            try:
                return self._blobs[digest]
            except KeyError:
                raise NotFound(f"content {digest}: not found") from None

    def _add(self, digest: Digest, data: bytes, labels: Mapping[str, str] | None) -> Info:
        now = self._clock()
        info = Info(digest, len(data), now, now, checked_labels(labels or {}))
        self._blobs[digest] = info, data
        self._version += 1
        return info

    def _ingest(self, ref: str) -> _Ingest:
        try:
            return self._ingests[ingest_id(ref)]
        except KeyError:
            raise NotFound(f"ingest {ref[:160]!r}: not found") from None

    def _opened(self, ident: IngestId, ref: str, total: int) -> _Ingest:
        ingest = self._ingests.get(ident)
        if ingest is None:
            ingest = self._ingests[ident] = _Ingest(ref, self._clock())
        elif total and ingest.total and total != ingest.total:
            ingest.clear(self._clock())  # another total is another content
        ingest.total = total or ingest.total
        return ingest

    def _refuse_held(self, ident: IngestId) -> None:
        holder = self._held.get(ident)
        if holder is None:
            return
        ingest = self._ingests.get(ident)
        name = ref_argument(ingest.status()) if ingest else f"id:{ident}"
        raise Locked(
            f"ref {name[:160]} is locked by process {holder.pid}",
            holder=holder,
            advice="wait for that writer, or end it",
        )

    def _end(self, ingest: _Ingest) -> None:
        del self._held[ingest_id(ingest.ref)]

    def _is_current(self, ingest: _Ingest) -> bool:
        return self._ingests.get(ingest_id(ingest.ref)) is ingest


class MemoryImages:
    """See `contentui.content.store.ImageNames`; safe to use from many threads."""

    def __init__(self, clock: Callable[[], int]) -> None:
        """``clock``: wall time, ns."""
        self._clock = clock
        self._mutex = threading.Lock()
        self._images: dict[str, Image] = {}

    def list(self) -> list[Image]:
        with self._mutex:
            return [self._images[name] for name in sorted(self._images)]

    def get(self, name: str) -> Image:
        """Raises NotFound."""
        with self._mutex:
            return self._found(name)

    def put(self, name: str, target: Descriptor, labels: Mapping[str, str] | None = None) -> Image:
        """Raises InvalidArgument."""
        check_image(name, target)
        checked = None if labels is None else checked_labels(labels)
        with self._mutex:
            now, old = self._clock(), self._images.get(name)
            kept = old.labels if old else {}
            image = Image(
                name,
                target,
                kept if checked is None else checked,
                old.created_ns if old else now,
                now,
            )
            self._images[name] = image
            return image

    def delete(self, name: str, *, if_match: Image | None = None) -> None:
        """Raises NotFound, Changed."""
        with self._mutex:
            check_image_match(self._found(name), if_match)
            del self._images[name]

    def _found(self, name: str) -> Image:
        try:
            return self._images[name]
        except KeyError:
            raise image_not_found(name) from None


class MemoryReader:
    """A blob's bytes; they outlive the blob's deletion."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read_at(self, size: int, offset: int) -> bytes:
        """Raises OutOfRange for a negative offset."""
        if offset < 0:
            raise OutOfRange(f"there is no byte at {offset}")
        return self._data[offset : offset + max(size, 0)]

    def close(self) -> None:
        """Nothing to let go of."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class MemoryWriter:
    """The one live session on an ingest."""

    def __init__(
        self,
        store: MemoryStore,
        ingest: _Ingest,
        expected: Digest | None,
        labels: Mapping[str, str] | None,
    ) -> None:
        self._store = store
        self._ingest = ingest
        self._expected = expected
        self._labels = labels
        self._algorithm = expected.algorithm if expected else "sha256"
        self._hash = new_hash(self._algorithm, bytes(ingest.data))
        self._closed = False

    @property
    def ref(self) -> str:
        return self._ingest.ref

    @property
    def offset(self) -> int:
        return len(self._ingest.data)

    def digest(self) -> Digest:
        """The digest of the bytes so far."""
        return Digest(f"{self._algorithm}:{self._hash.hexdigest()}")

    def status(self) -> Status:
        with self._store._mutex:  # noqa: SLF001 - one class in two parts
            return self._ingest.status()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Raises FailedPrecondition when closed."""
        self._refuse_closed("write to")
        with self._store._mutex:  # noqa: SLF001
            self._ingest.data += data
            self._hash.update(data)
            self._ingest.updated_ns = self._store._clock()  # noqa: SLF001
            if len(data):
                self._ingest.refused = None

    def append_from(self, source: BinaryIO, progress: Progress | None = None) -> int:
        """Append everything that ``source`` still yields; return how many bytes that was."""
        self._refuse_closed("write to")
        before = self.offset
        while piece := _read(source):
            self.write(piece)
            if progress is not None:
                progress(self.offset)
        return self.offset - before

    def truncate(self, size: int) -> None:
        """Raises InvalidArgument unless ``size`` is 0."""
        self._refuse_closed("truncate")
        if size != 0:
            raise InvalidArgument(f"an ingest can be truncated to 0 only, not to {size}")
        with self._store._mutex:  # noqa: SLF001
            self._ingest.clear(self._store._clock())  # noqa: SLF001
            self._hash = new_hash(self._algorithm)

    def commit(
        self,
        size: int | None = None,
        expected: Digest | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Info:
        """Make the bytes a blob and end the session; errors as `Writer.commit`."""
        self._refuse_closed("commit on")
        chosen = checked_labels((self._labels if labels is None else labels) or {})
        with self, self._store._mutex:  # noqa: SLF001
            if not self._store._is_current(self._ingest):  # noqa: SLF001
                raise NotFound(f"ingest {self.ref[:160]!r} was removed under its writer")
            digest = self._checked(size, expected or self._expected)
            return self._moved(digest, chosen)

    def close(self) -> None:
        """End the session and keep the ingest. Twice is fine."""
        with self._store._mutex:  # noqa: SLF001
            if not self._closed:
                self._closed = True
                self._store._end(self._ingest)  # noqa: SLF001

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _refuse_closed(self, what: str) -> None:
        if self._closed:
            raise FailedPrecondition(f"cannot {what} closed writer of {self.ref[:160]!r}")

    def _checked(self, size: int | None, expected: Digest | None) -> Digest:
        """The blob's digest, if size and digest are the wanted ones."""
        if size is not None and size != self.offset:
            raise FailedPrecondition(f"unexpected commit size {self.offset}, expected {size}")
        if expected is None:
            return self.digest()
        digest = Digest.of(bytes(self._ingest.data), expected.algorithm)
        if digest != expected:
            if self.offset >= self._ingest.total:
                self._ingest.refused = digest
            raise FailedPrecondition(f"unexpected commit digest {digest}, expected {expected}")
        return digest

    def _moved(self, digest: Digest, labels: Mapping[str, str]) -> Info:
        store = self._store
        del store._ingests[ingest_id(self.ref)]  # noqa: SLF001
        if digest in store._blobs:  # noqa: SLF001
            raise AlreadyExists(f"content {digest}: already exists")
        return store._add(digest, bytes(self._ingest.data), labels)  # noqa: SLF001


def _read(source: BinaryIO) -> bytes:
    """The source's next bytes; empty only at its end, where one that has none *yet* is not."""
    piece: bytes | None = source.read(_PIECE)
    if piece is None:
        raise BlockingIOError(errno.EAGAIN, "the source has no bytes yet and can't wait")
    return piece


def _this_process(now: int) -> Holder:
    return Holder(os.getpid(), 0, " ".join(sys.orig_argv), now)
