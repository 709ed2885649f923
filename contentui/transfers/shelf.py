"""Small blobs on their way into a store: in groups, which share their syncs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from contentui.content.errors import ContentError
from contentui.content.helpers import put_blob, put_blobs
from contentui.transfers.model import Part, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from contentui.content.store import Store

_ROOM = 8 << 20
"""Bytes that may wait; who brings more waits as well."""


class Shelf:
    """Stores what threads bring; one of them at a time does it for all. Nothing stays behind.

    When the last `put` has returned, everything is stored, or one of them has raised.
    """

    def __init__(
        self, store: Store, labels: Mapping[str, str], tell: Callable[[Part], None]
    ) -> None:
        """``tell`` hears of each part once it is durable, or failed."""
        self._store = store
        self._labels = labels
        self._tell = tell
        self._changed = threading.Condition()
        self._waiting: list[tuple[Part, bytes]] = []
        self._size = 0
        self._storing = False

    def put(self, part: Part, data: bytes) -> None:
        """Bring a blob, whose bytes have been compared with its digest.

        Raises:
            ContentError: this blob, or others that were brought meanwhile, can't be stored.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._storing or self._size < _ROOM)
            self._waiting.append((part, data))
            self._size += len(data)
            if self._storing:
                return
            self._storing = True
        while group := self._next():
            self._store_group(group)

    def _next(self) -> list[tuple[Part, bytes]]:
        """All that waits; empty: this thread stores no more."""
        with self._changed:
            group, self._waiting, self._size = self._waiting, [], 0
            self._storing = bool(group)
            self._changed.notify_all()
            return group

    def _store_group(self, group: list[tuple[Part, bytes]]) -> None:
        try:
            self._put_all(group)
        except BaseException as error:
            with self._changed:
                self._storing = False
                self._changed.notify_all()
            words = error.message if isinstance(error, ContentError) else "interrupted"
            for part, _ in group:
                self._tell(part._replace(phase=Phase.FAILED, words=words))
            raise
        for part, _ in group:
            self._tell(part._replace(phase=Phase.DONE, words=""))

    def _put_all(self, group: list[tuple[Part, bytes]]) -> None:
        usual = [data for part, data in group if part.descriptor.digest.algorithm == "sha256"]
        if usual:
            put_blobs(self._store, usual, labels=self._labels)
        for part, data in group:
            digest = part.descriptor.digest
            if digest.algorithm != "sha256":
                put_blob(self._store, data, expected=digest, labels=self._labels)
