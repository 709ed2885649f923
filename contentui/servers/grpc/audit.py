"""A store whose deletions, aborts and truncations are logged, one sentence each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from contentui.text import human_size, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from contentui.content.digest import Digest
    from contentui.content.model import Image, Info, Status
    from contentui.content.store import ImageNames, Store, Writer


class AuditedStore:
    """``store``, with a call of ``log`` after each deletion, abort and truncation.

    Everything else is the store's own.
    """

    def __init__(self, store: Store, log: Callable[[str], None]) -> None:
        self._store = store
        self._log = log
        self.images = _AuditedImages(store.images, log)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def delete(self, digest: Digest, *, seen: Info | None = None) -> None:
        """Raises as the store does."""
        self._store.delete(digest, seen=seen)
        self._log(f"deleted blob {digest}")

    def abort(self, ref: str, *, seen: Status | None = None, force: bool = False) -> None:
        """Raises as the store does."""
        self._store.abort(ref, seen=seen, force=force)
        self._log(f"aborted ingest {visible(ref)}")

    def truncate(self, ref: str, *, seen: Status | None = None) -> None:
        """Raises as the store does."""
        self._store.truncate(ref, seen=seen)
        self._log(f"truncated ingest {visible(ref)}")

    def writer(
        self,
        ref: str,
        *,
        total: int = 0,
        expected: Digest | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Writer:
        """Raises as the store does."""
        writer = self._store.writer(ref, total=total, expected=expected, labels=labels)
        return cast("Writer", _AuditedWriter(writer, self._log))


class _AuditedImages:
    """``images``, with a call of ``log`` after each name that is deleted."""

    def __init__(self, images: ImageNames, log: Callable[[str], None]) -> None:
        self._images = images
        self._log = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._images, name)

    def delete(self, name: str, *, seen: Image | None = None) -> None:
        """Raises as the store does."""
        self._images.delete(name, seen=seen)
        self._log(f"deleted image name {visible(name)}")


class _AuditedWriter:
    """``writer``, with a call of ``log`` after a truncation that drops bytes."""

    def __init__(self, writer: Writer, log: Callable[[str], None]) -> None:
        self._writer = writer
        self._log = log
        # bound once, because they are called for every message
        self.write = writer.write
        self.digest = writer.digest

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def truncate(self, size: int) -> None:
        """Raises as the writer does."""
        lost = self._writer.offset
        self._writer.truncate(size)
        if lost:
            self._log(f"truncated ingest {visible(self._writer.ref)}: {human_size(lost)} dropped")

    def __enter__(self) -> _AuditedWriter:
        self._writer.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._writer.__exit__(*exc)


def audited(store: Store, log: Callable[[str], None]) -> Store:
    """``store`` as a `AuditedStore`."""
    return cast("Store", AuditedStore(store, log))
