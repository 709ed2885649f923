"""A store that tells what is destroyed in it through a service, one sentence each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from contentui.text import human_size, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from contentui.content.digest import Digest
    from contentui.content.model import Image, Info, Status
    from contentui.content.store import ImageNames, Store, Writer


class ToldStore:
    """``store``, and ``tell`` hears of each deletion, abort and truncation that was done.

    Everything else is the store's own.
    """

    def __init__(self, store: Store, tell: Callable[[str], None]) -> None:
        self._store = store
        self._tell = tell
        self.images = ToldImages(store.images, tell)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def delete(self, digest: Digest, *, seen: Info | None = None) -> None:
        """Raises as the store does."""
        self._store.delete(digest, seen=seen)
        self._tell(f"deleted blob {digest}")

    def abort(self, ref: str, *, seen: Status | None = None, force: bool = False) -> None:
        """Raises as the store does."""
        self._store.abort(ref, seen=seen, force=force)
        self._tell(f"aborted ingest {visible(ref)}")

    def truncate(self, ref: str, *, seen: Status | None = None) -> None:
        """Raises as the store does."""
        self._store.truncate(ref, seen=seen)
        self._tell(f"truncated ingest {visible(ref)}")

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
        return cast("Writer", _ToldWriter(writer, self._tell))


class ToldImages:
    """``images``, and ``tell`` hears of each name that was deleted."""

    def __init__(self, images: ImageNames, tell: Callable[[str], None]) -> None:
        self._images = images
        self._tell = tell

    def __getattr__(self, name: str) -> Any:
        return getattr(self._images, name)

    def delete(self, name: str, *, seen: Image | None = None) -> None:
        """Raises as the store does."""
        self._images.delete(name, seen=seen)
        self._tell(f"deleted image name {visible(name)}")


class _ToldWriter:
    """``writer``, and ``tell`` hears of bytes that it drops."""

    def __init__(self, writer: Writer, tell: Callable[[str], None]) -> None:
        self._writer = writer
        self._tell = tell
        # bound once: these are called for every message
        self.write = writer.write
        self.digest = writer.digest

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def truncate(self, size: int) -> None:
        """Raises as the writer does."""
        lost = self._writer.offset
        self._writer.truncate(size)
        if lost:
            self._tell(f"truncated ingest {visible(self._writer.ref)}: {human_size(lost)} dropped")

    def __enter__(self) -> _ToldWriter:
        self._writer.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._writer.__exit__(*exc)


def told(store: Store, tell: Callable[[str], None]) -> Store:
    """``store`` as a `ToldStore`."""
    return cast("Store", ToldStore(store, tell))
