"""Requests for the next tick: hints of changes, and what a screen shows."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from contentui.content.model import IngestId
    from contentui.monitor.model import Verified


class ScanRequest(NamedTuple):
    """What was requested since the last tick."""

    ids: frozenset[str]
    """Ingests that may have changed."""
    blobs: bool
    """Blobs may have been added or removed."""
    everything: bool
    """Anything may have changed."""
    focus: frozenset[str]
    """Ids and digests that are on a screen."""
    verified: Mapping[str, Verified]
    """Results of verifications, by digest."""


class HintQueue:
    """Collects requests from any thread; `take` returns each once."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._ids: set[str] = set()
        self._blobs = False
        self._everything = False
        self._focus: frozenset[str] = frozenset()
        self._verified: dict[str, Verified] = {}

    def hint(self, ids: Collection[IngestId], *, blobs: bool, everything: bool) -> None:
        """These may have changed."""
        with self._mutex:
            self._ids.update(ids)
            self._blobs |= blobs
            self._everything |= everything

    def verified(self, digest: str, result: Verified) -> None:
        """A blob was verified."""
        with self._mutex:
            self._verified[digest] = result

    def focus(self, ids: Iterable[str]) -> None:
        """Replace what is on a screen."""
        with self._mutex:
            self._focus = frozenset(ids)

    def take(self) -> ScanRequest:
        """What was hinted since the last call, and what is in focus."""
        with self._mutex:
            request = ScanRequest(
                frozenset(self._ids), self._blobs, self._everything, self._focus, self._verified
            )
            self._ids, self._blobs, self._everything, self._verified = set(), False, False, {}
            return request

    def put_back(self, request: ScanRequest) -> None:
        """Repeat the requests of a failed tick."""
        with self._mutex:
            self._ids |= request.ids
            self._blobs |= request.blobs
            self._everything |= request.everything
            self._verified = {**request.verified, **self._verified}
