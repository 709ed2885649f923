"""A store whose deletions, aborts and truncations are logged, one sentence each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.content.helpers import image_names
from contentui.text import human_size, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Self

    from contentui.content.digest import Digest
    from contentui.content.model import Descriptor, Image, Info, Status
    from contentui.content.roles import ImageNames
    from contentui.content.store import Store
    from contentui.content.streams import BlobReader, Writer
    from contentui.content.traits import Roles, Traits


class AuditedStore:
    """``store``, with a call of ``log`` after each deletion, abort and truncation."""

    def __init__(self, store: Store, log: Callable[[str], None]) -> None:
        self._store = store
        self._log = log

    @property
    def name(self) -> str:
        return self._store.name

    @property
    def traits(self) -> Traits:
        return self._store.traits

    @property
    def roles(self) -> Roles:
        """Those of the store, with image names that log."""
        roles = self._store.roles
        return roles if roles.image_naming is None else roles._replace(image_naming=self)

    @property
    def images(self) -> _AuditedImages:
        return _AuditedImages(image_names(self._store), self._log)

    def reader(self, digest: Digest) -> BlobReader:
        return self._store.reader(digest)

    def info(self, digest: Digest) -> Info:
        return self._store.info(digest)

    def walk(self, filters: Sequence[str] = ()) -> Iterator[Info]:
        return self._store.walk(filters)

    def update(self, digest: Digest, labels: Mapping[str, str], mask: Sequence[str] = ()) -> Info:
        return self._store.update(digest, labels, mask)

    def delete(self, digest: Digest, *, if_match: Info | None = None) -> None:
        self._store.delete(digest, if_match=if_match)
        self._log(f"deleted blob {digest}")

    def status(self, ref: str) -> Status:
        return self._store.status(ref)

    def statuses(self, filters: Sequence[str] = ()) -> list[Status]:
        return self._store.statuses(filters)

    def abort(self, ref: str, *, if_match: Status | None = None, force: bool = False) -> None:
        self._store.abort(ref, if_match=if_match, force=force)
        self._log(f"aborted ingest {visible(ref)}")

    def truncate(self, ref: str, *, if_match: Status | None = None) -> None:
        self._store.truncate(ref, if_match=if_match)
        self._log(f"truncated ingest {visible(ref)}")

    def writer(
        self,
        ref: str,
        *,
        total: int = 0,
        expected: Digest | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Writer:
        writer = self._store.writer(ref, total=total, expected=expected, labels=labels)
        return _AuditedWriter(writer, self._log)

    def close(self) -> None:
        self._store.close()


class _AuditedImages:
    """``images``, with a call of ``log`` after each name that is deleted."""

    def __init__(self, images: ImageNames, log: Callable[[str], None]) -> None:
        self._images = images
        self._log = log
        self.list = images.list

    def get(self, name: str) -> Image:
        return self._images.get(name)

    def put(self, name: str, target: Descriptor, labels: Mapping[str, str] | None = None) -> Image:
        return self._images.put(name, target, labels)

    def delete(self, name: str, *, if_match: Image | None = None) -> None:
        self._images.delete(name, if_match=if_match)
        self._log(f"deleted image name {visible(name)}")


class _AuditedWriter:
    """``writer``, with a call of ``log`` after a truncation that drops bytes."""

    def __init__(self, writer: Writer, log: Callable[[str], None]) -> None:
        self._writer = writer
        self._log = log
        # bound once, because some are called for every message
        self.write = writer.write
        self.append_from = writer.append_from
        self.digest = writer.digest
        self.status = writer.status
        self.commit = writer.commit
        self.close = writer.close

    @property
    def ref(self) -> str:
        return self._writer.ref

    @property
    def offset(self) -> int:
        return self._writer.offset

    def truncate(self, size: int) -> None:
        lost = self._writer.offset
        self._writer.truncate(size)
        if lost:
            self._log(f"truncated ingest {visible(self._writer.ref)}: {human_size(lost)} dropped")

    def __enter__(self) -> Self:
        self._writer.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._writer.__exit__(*exc)
