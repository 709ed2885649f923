"""What the outside asks of the next look: hints of changes, and what a screen shows."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from contentui.content.model import IngestId


class ScanRequest(NamedTuple):
    """What was asked for until one tick."""

    ids: frozenset[str]
    """Ingests that something happened to."""
    blobs: bool
    """Blobs came or went."""
    everything: bool
    """Anything may have happened."""
    focus: frozenset[str]
    """Ids and digests that somebody is looking at."""


class HintQueue:
    """Collects request from any thread, and hands them over once."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._ids: set[str] = set()
        self._blobs = False
        self._everything = False
        self._focus: frozenset[str] = frozenset()

    def hint(self, ids: Collection[IngestId], *, blobs: bool, everything: bool) -> None:
        """Something happened to these."""
        with self._mutex:
            self._ids.update(ids)
            self._blobs |= blobs
            self._everything |= everything

    def focus(self, ids: Iterable[str]) -> None:
        """Somebody looks at these from now on, and at nothing else."""
        with self._mutex:
            self._focus = frozenset(ids)

    def take(self) -> ScanRequest:
        """What was hinted since the last call, and what is in focus."""
        with self._mutex:
            request = ScanRequest(frozenset(self._ids), self._blobs, self._everything, self._focus)
            self._ids, self._blobs, self._everything = set(), False, False
            return request

    def put_back(self, request: ScanRequest) -> None:
        """Ask again for what a failed tick could not answer."""
        with self._mutex:
            self._ids |= request.ids
            self._blobs |= request.blobs
            self._everything |= request.everything
