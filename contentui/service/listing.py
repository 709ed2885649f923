"""Listing blobs fast: sorted by digest, each encoded once for as long as it stays the same."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

from contentui.protocol import wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from contentui.content.model import Info
    from contentui.content.store import Store

_by_digest = itemgetter(0)


def encoded_info(info: Info) -> bytes:
    """An InfoResponse. A time that isn't known is told by the other one."""
    digest, size, committed, updated, labels, _ = info
    created = committed or updated
    return wire.info_row(digest, size, created, updated or created, labels or {})


class Listing:
    """A store's blobs as messages."""

    def __init__(self, store: Store, piece: int) -> None:
        """``piece``: blobs in one message."""
        self._store = store
        self._piece = piece

    def messages(self, filters: Sequence[str]) -> Iterator[bytes]:
        """All blobs that any of ``filters`` matches. Raises ContentError."""
        infos = sorted(self._store.walk(filters), key=_by_digest)
        for start in range(0, len(infos), self._piece):
            yield b"".join(map(encoded_info, infos[start : start + self._piece]))
