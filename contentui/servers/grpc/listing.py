"""Listing blobs fast: sorted by digest, each encoded once for as long as it stays the same."""

from __future__ import annotations

import contextlib
import gc
import time
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from contentui.protocol import names, wire

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from contentui.content.digest import Digest
    from contentui.content.model import Info
    from contentui.content.store import Store

_by_digest = itemgetter(0)
_MOST_ROWS = 250_000
"""Rows that are kept, some 100 MB."""
_MOST_BYTES = 128 << 20
"""Bytes in all the rows that are kept: labels can make them long."""
_COARSE_S = 0.1
"""How far apart two changes must be to be told apart by the times of directories, seconds."""
_UNKNOWN = {names.LABELS_UNKNOWN: "true"}
_LONG = 4 << 20
"""Bytes from which on the rows of a message are sent one by one; each fits into one."""


def encoded_info(info: Info) -> bytes:
    """An InfoResponse. A time that isn't known is told by the other one."""
    digest, size, committed, updated, labels, _ = info
    created = committed or updated
    sent = _UNKNOWN if labels is None else labels
    return wire.encode_info(digest, size, created, updated or created, sent)


class Listing:
    """A store's blobs as messages."""

    def __init__(self, store: Store, piece: int) -> None:
        """``piece``: blobs in one message."""
        self._store = store
        self._piece = piece
        self._rows = _Rows({}, {})
        self._labels: Callable[[], Hashable] | None = getattr(store, "labels_version", None)
        self._token: Hashable = None
        self._token_since = 0.0
        self._kept: tuple[Hashable, list[bytes]] | None = None

    def messages(self, filters: Sequence[str]) -> Iterator[bytes]:
        """All blobs that any of ``filters`` matches. Raises ContentError."""
        if any(filters):
            yield from self._walked(filters)
            return
        token, settled = self._look()
        kept = self._kept
        if kept is not None and kept[0] == token:
            yield from kept[1]
            return
        made: list[bytes] = []
        size = 0
        for message in self._walked(()):
            size += len(message)
            if settled and size <= _MOST_BYTES:
                made.append(message)
            yield message
        if settled and size <= _MOST_BYTES:
            self._kept = (token, made)

    def _look(self) -> tuple[Hashable, bool]:
        """What differs after blobs or labels changed, and whether it would differ after the next.

        A change right after another one may leave the directory's time as it is; so only what has
        been the same for a while stands for what will be listed from now on.
        """
        version = self._store.version() if self._labels is not None else None
        if version is None or self._labels is None:
            return None, False
        token, now = (version, self._labels()), time.monotonic()
        if token != self._token:
            self._token, self._token_since = token, now
        return token, now - self._token_since >= _COARSE_S

    def _walked(self, filters: Sequence[str]) -> Iterator[bytes]:
        with _without_collecting():
            infos = sorted(self._store.walk(filters), key=_by_digest)
        rows = _Rows({}, {})
        size = 0
        for start in range(0, len(infos), self._piece):
            for message in _messages(self._encoded(infos[start : start + self._piece], rows)):
                size += len(message)
                yield message
        if not any(filters) and len(infos) <= _MOST_ROWS and size <= _MOST_BYTES:
            self._rows = rows

    def _encoded(self, infos: Sequence[Info], rows: _Rows) -> list[bytes]:
        """One row for each of ``infos``, those from last time where nothing has changed."""
        known, old = self._rows
        facts, new = rows
        found = []
        for info in infos:
            digest = info[0]
            facts[digest] = now = _facts(info)
            row = old[digest] if known.get(digest) == now else encoded_info(info)
            new[digest] = row
            found.append(row)
        return found


def _messages(rows: Sequence[bytes]) -> Iterator[bytes]:
    """One message, or several where one would be longer than clients take."""
    whole = b"".join(rows)
    if len(whole) <= _LONG:
        yield whole
        return
    yield from rows


@contextlib.contextmanager
def _without_collecting() -> Iterator[None]:
    """Let no garbage be collected: it would look at all of 100,000 new tuples again and again."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class _Rows(NamedTuple):
    """What the last listing of everything encoded; never changed then, only replaced.

    Hashes stand for what was encoded: 100,000 more tuples would cost every collection of garbage
    more than encoding them again.
    """

    facts: dict[Digest, int]
    rows: dict[Digest, bytes]


def _facts(info: Info) -> int:
    """A hash of all that a row is made of, but the digest."""
    _, size, committed, updated, labels, _ = info
    if labels:
        return hash((size, committed, updated, frozenset(labels.items())))
    return hash((size, committed, updated, labels is None))
