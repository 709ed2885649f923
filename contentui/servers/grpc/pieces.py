"""How much of a blob goes into one message: little, where many readers might not take theirs."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_FEW = 8
"""Readers that get messages of full length at once."""
_FIRST = 32 << 10
"""Bytes of the first messages of further ones."""
_AT_FIRST = 4
"""So many prove nothing: HTTP/2 receives 64 KiB also for a client that never reads."""


class Pieces:
    """The lengths of messages, for all readers of a service.

    A message is held in memory, three times at worst, until its client takes it. The first few
    readers get ``longest`` bytes at a time, further ones once they have taken some messages, and
    many together share what a few may have.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._first = min(_FIRST, longest)
        self._mutex = threading.Lock()
        self._readers = 0

    @contextmanager
    def lengths(self) -> Iterator[Iterator[int]]:
        """For one reader: the length of each message at most."""
        self._count(1)
        try:
            yield self._growing()
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._mutex:
            self._readers += change

    def _growing(self) -> Iterator[int]:
        taken, grown = 0, self._first
        while True:
            share = _FEW * self._longest // max(self._readers, 1)
            yield max(min(self._longest if self._readers <= _FEW else grown, share), self._first)
            taken += 1
            if taken >= _AT_FIRST:
                grown = min(2 * grown, self._longest)
