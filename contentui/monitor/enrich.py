"""Kinds and referrers of blobs, filled into their rows in slices of time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from contentui.content.errors import ContentError
from contentui.monitor.clock import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from contentui.content.digest import Digest
    from contentui.content.model import Info
    from contentui.index.model import Referrer
    from contentui.monitor.clock import Now
    from contentui.monitor.model import BlobRow
    from contentui.oci.kinds import Kind

_SLICE_NS = 20_000_000
"""How long one tick may read blobs, nanoseconds."""
_PAUSE_NS = 2 * SECOND_NS
"""Between two passes over all rows."""
_ROOTS_NS = 5 * SECOND_NS
"""After which the names and leases that keep blobs are asked for again."""
_SHARE = 20
"""Asking for them may take one part in so many of the time."""


class Index(Protocol):
    """Finds kinds and referrers of blobs: `ContentIndex`."""

    @property
    def version(self) -> int: ...
    def update(self, infos: Iterable[Info]) -> None: ...
    def update_roots(self) -> None: ...
    def scan(self, budget_s: float) -> bool: ...
    def kind(self, digest: Digest) -> Kind: ...
    def referrers(self, digest: Digest) -> tuple[Referrer, ...] | None: ...


class Enricher:
    """Fills in kinds and referrers: what is in focus at once, the rest in slices of time.

    Args:
        rows: the rows by digest; entries are replaced, none comes or goes.
        mono: the clock that measures the slices.
    """

    def __init__(self, index: Index, rows: dict[str, BlobRow], mono: Callable[[], int]) -> None:
        self._index = index
        self._rows = rows
        self._mono = mono
        self._todo: list[str] = []
        self._scanned = False
        self._version = -1
        self._focus_version = -1
        self._focus: Collection[str] = ()
        self._updated_at: int | None = None
        self._passed_at: int | None = None
        self._roots_at = 0
        self._roots_cost_ns = 0
        self.stale = True
        """Blobs or labels changed since the index heard of them."""

    @property
    def is_busy(self) -> bool:
        """Whether rows still wait for what is known about them."""
        unread = self._version != self._index.version
        return self.stale or not self._scanned or unread or bool(self._todo)

    def tick(self, now: Now, focus: Collection[str], *, ready: bool) -> bool:
        """Work for a slice of time; True when a row changed.

        ``ready``: all blobs are known, so that referrers are certain.
        """
        if not ready:
            return False
        deadline = self._mono() + _SLICE_NS
        if self.stale and _is_due(self._updated_at, now):
            self._index.update([row.info for row in self._rows.values()])
            self._updated_at, self.stale, self._scanned = now.mono, False, False
            self._roots_at = now.mono
        else:
            self._ask_for_roots(now)
        changed = self._fill_focus(focus)
        if not self._scanned:
            self._scanned = self._index.scan(max(deadline - self._mono(), 0) / SECOND_NS)
        if self._scanned and self._version != self._index.version and _is_due(self._passed_at, now):
            self._version, self._passed_at = self._index.version, now.mono
            self._todo = list(reversed(self._rows))
        while self._todo and self._mono() < deadline:
            changed |= self._fill(self._todo.pop())
        return changed

    def _ask_for_roots(self, now: Now) -> None:
        """Names and leases come and go without any blob."""
        if now.mono - self._roots_at < max(_ROOTS_NS, self._roots_cost_ns * _SHARE):
            return
        began = self._mono()
        self._index.update_roots()
        self._roots_at, self._roots_cost_ns = now.mono, self._mono() - began

    def _fill_focus(self, focus: Collection[str]) -> bool:
        if focus == self._focus and self._focus_version == self._index.version:
            return False
        changed = False
        for key in focus:
            changed |= self._fill(key)
        self._focus, self._focus_version = focus, self._index.version
        return changed

    def _fill(self, key: str) -> bool:
        row = self._rows.get(key)
        if row is None:
            return False
        try:
            kind = self._index.kind(row.info.digest) if row.kind is None else row.kind
            referrers = self._index.referrers(row.info.digest)
        except ContentError:
            return False
        if kind is row.kind and referrers == row.referrers:
            return False
        self._rows[key] = row._replace(kind=kind, referrers=referrers)
        return True


def _is_due(last_ns: int | None, now: Now) -> bool:
    return last_ns is None or now.mono - last_ns >= _PAUSE_NS
