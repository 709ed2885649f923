"""A wrapper that shows any store and lets nothing change it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from contentui.content.errors import ReadOnly
from contentui.content.store import Capability
from contentui.stores.image_names import ReadOnlyImages

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

    from contentui.content.digest import Digest
    from contentui.content.model import Holder, Info, IngestId, Probe, Root, Status, Usage
    from contentui.content.store import BlobReader, Store, Writer


class ReadOnlyStore:
    """``store`` without ``Capability.WRITE``; ``reason`` is a sentence with the way out.

    Everything that changes the store raises `ReadOnly` with that sentence.
    """

    def __init__(self, store: Store, reason: str) -> None:
        self._store = store
        self.read_only_reason = reason

    @property
    def name(self) -> str:
        return self._store.name

    @property
    def capabilities(self) -> Capability:
        return self._store.capabilities & ~Capability.WRITE

    def info(self, digest: Digest) -> Info:
        return self._store.info(digest)

    def walk(self, filters: Sequence[str] = ()) -> Iterator[Info]:
        return self._store.walk(filters)

    def reader(self, digest: Digest) -> BlobReader:
        return self._store.reader(digest)

    def status(self, ref: str) -> Status:
        return self._store.status(ref)

    def statuses(self, filters: Sequence[str] = ()) -> list[Status]:
        return self._store.statuses(filters)

    def refresh(self, seen: Sequence[Status]) -> list[Status | None]:
        return self._store.refresh(seen)

    def holders(self, ids: Iterable[IngestId]) -> Mapping[IngestId, Holder] | None:
        return self._store.holders(ids)

    def version(self) -> Hashable:
        return self._store.version()

    def digests(self) -> list[Digest]:
        return self._store.digests()

    def roots(self) -> list[Root]:
        return self._store.roots()

    @property
    def images(self) -> ReadOnlyImages:
        return ReadOnlyImages(self._store.images, self.read_only_reason)

    @property
    def collects(self) -> bool:
        return self._store.collects

    def usage(self) -> Usage | None:
        return self._store.usage()

    def close(self) -> None:
        self._store.close()

    def update(self, digest: Digest, labels: Mapping[str, str], mask: Sequence[str] = ()) -> Info:  # noqa: ARG002
        self._refuse("a label can't be changed")

    def delete(self, digest: Digest, *, seen: Info | None = None) -> None:  # noqa: ARG002
        self._refuse("a blob can't be deleted")

    def writer(
        self,
        ref: str,  # noqa: ARG002
        *,
        total: int = 0,  # noqa: ARG002
        expected: Digest | None = None,  # noqa: ARG002
        labels: Mapping[str, str] | None = None,  # noqa: ARG002
    ) -> Writer:
        self._refuse("nothing can be ingested")

    def abort(self, ref: str, *, seen: Status | None = None, force: bool = False) -> None:  # noqa: ARG002
        self._refuse("an ingest can't be aborted")

    def truncate(self, ref: str, *, seen: Status | None = None) -> None:  # noqa: ARG002
        self._refuse("an ingest can't be truncated")

    def probe(self, ref: str, *, seen: Status) -> Probe:  # noqa: ARG002
        self._refuse("an ingest can't be probed, which takes its lock")

    def put(
        self,
        data: bytes,  # noqa: ARG002
        *,
        expected: Digest | None = None,  # noqa: ARG002
        labels: Mapping[str, str] | None = None,  # noqa: ARG002
    ) -> Info:
        self._refuse("nothing can be stored")

    def put_many(
        self,
        items: Iterable[bytes],  # noqa: ARG002
        *,
        labels: Mapping[str, str] | None = None,  # noqa: ARG002
    ) -> list[Info]:
        self._refuse("nothing can be stored")

    def _refuse(self, what: str) -> NoReturn:
        raise ReadOnly(f"{what}: the store is read-only", advice=self.read_only_reason)
