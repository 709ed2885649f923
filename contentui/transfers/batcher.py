"""Small blobs are stored in groups, which share their syncs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from contentui.content.errors import ContentError
from contentui.content.helpers import put_blob, put_blobs
from contentui.transfers.model import Part, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from contentui.content.store import Store

_MAX_WAITING = 8 << 20
"""Bytes that may wait to be stored; a thread that brings more waits as well."""


class BlobBatcher:
    """Stores what several threads bring; one of them at a time stores what all have brought.

    When the last `put` has returned, everything is stored, or one of them has raised.
    """

    def __init__(
        self, store: Store, labels: Mapping[str, str], report: Callable[[Part], None]
    ) -> None:
        """``report`` gets each part once it is durable, or failed."""
        self._store = store
        self._labels = labels
        self._report = report
        self._changed = threading.Condition()
        self._waiting: list[tuple[Part, bytes]] = []
        self._size = 0
        self._storing = False

    def put(self, part: Part, data: bytes) -> None:
        """Store a blob, of which the digest has been verified.

        Raises:
            ContentError: this blob, or another one that is waiting, can't be stored.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._storing or self._size < _MAX_WAITING)
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
            reason = error.message if isinstance(error, ContentError) else "interrupted"
            for part, _ in group:
                self._report(part._replace(phase=Phase.FAILED, message=reason))
            raise
        for part, _ in group:
            self._report(part._replace(phase=Phase.DONE, message=""))

    def _put_all(self, group: list[tuple[Part, bytes]]) -> None:
        usual = [data for part, data in group if part.descriptor.digest.algorithm == "sha256"]
        if usual:
            put_blobs(self._store, usual, labels=self._labels)
        for part, data in group:
            digest = part.descriptor.digest
            if digest.algorithm != "sha256":
                put_blob(self._store, data, expected=digest, labels=self._labels)
