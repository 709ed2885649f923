"""Pulls and pushes as their processes report them, joined with the ingests of a view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.monitor.clock import SECOND_NS
from contentui.monitor.model import Group
from contentui.monitor.rates import GrowthMeter, eta_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from contentui.monitor.model import IngestRow, RowKey, Transfer, TransferPart

ENDED = frozenset({"exists", "mounted", "done"})
"""Phases of a part that is finished."""
_NOT_MOVED = frozenset({"exists", "mounted"})
_PASSIVE = frozenset({"waiting"}) | ENDED
LINGER_NS = 15 * SECOND_NS
"""How long a transfer that ended early is still shown with its ingests, nanoseconds."""
_DOUBT_NS = SECOND_NS
"""Silence after which a transfer counts as ended early: its ingests are listed again by then."""

Parts = dict[int, "IngestRow"]
"""Place of a part in its transfer -> its ingest."""


class TransferTracker:
    """The transfers of a store. `update` costs next to nothing while there are none."""

    def __init__(self, read: Callable[[], Sequence[Transfer]] | None, source: str = "") -> None:
        self._read = read
        self._source = source
        self._tracked: dict[tuple[int, int], _TrackedTransfer] = {}
        self._rows: tuple[tuple[IngestRow, ...], tuple[IngestRow, ...]] = ((), ())
        self._members: dict[RowKey, tuple[IngestRow, IngestRow]] = {}

    @property
    def is_calm(self) -> bool:
        """Whether there are no transfers."""
        return not self._tracked

    def update(
        self, rows: tuple[IngestRow, ...], mono: int
    ) -> tuple[tuple[IngestRow, ...], tuple[Group, ...]]:
        """The rows with the parts that transfers report, and the transfers, the oldest first.

        ``mono``: nanoseconds of a monotonic clock. A row, and all rows, are the same objects
        again where nothing changed.
        """
        reported = self._read() if self._read is not None else ()
        if not reported and not self._tracked:
            return rows, ()
        for transfer in reported:
            key = (transfer.pid, transfer.started_ns)
            if key not in self._tracked:
                self._tracked[key] = _TrackedTransfer(transfer, mono, self._source)
            self._tracked[key].update(transfer, mono)
        found = self._find(rows)
        groups = []
        for key, tracked in list(self._tracked.items()):
            group = tracked.group(found.get(key, {}), mono)
            if group is None:
                del self._tracked[key]
            else:
                groups.append(group)
        return self._with_parts(rows, found), tuple(groups)

    def _find(self, rows: Iterable[IngestRow]) -> dict[tuple[int, int], Parts]:
        """The ingests of each transfer; an ingest is part of one, preferably one that moves it."""
        places: dict[str, list[tuple[tuple[int, int], int, TransferPart]]] = {}
        for key, tracked in self._tracked.items():
            for place, part in enumerate(tracked.transfer.parts):
                for name in {part.ref, part.descriptor.digest}:
                    places.setdefault(name, []).append((key, place, part))
        found: dict[tuple[int, int], Parts] = {}
        for row in rows:
            status = row.status
            candidates = places.get(status.ref) or places.get(status.expected or "")
            if not candidates:
                continue
            key, place, _ = min(candidates, key=lambda candidate: candidate[2].phase in _PASSIVE)
            other = found.setdefault(key, {}).get(place)
            if other is None or other.status.updated_ns < status.updated_ns:
                found[key][place] = row
        return found

    def _with_parts(
        self, rows: tuple[IngestRow, ...], found: Mapping[tuple[int, int], Parts]
    ) -> tuple[IngestRow, ...]:
        members: dict[RowKey, tuple[IngestRow, IngestRow]] = {}
        for key, parts in found.items():
            tracked = self._tracked.get(key)
            for place, row in parts.items() if tracked is not None else ():
                assert tracked is not None
                members[row.key] = row, self._member(row, tracked, place)
        if rows is self._rows[0] and _same(members, self._members):
            return self._rows[1]
        self._members = members
        made = tuple([members[r.key][1] if r.key in members else r for r in rows])
        self._rows = rows, made if members else rows
        return self._rows[1]

    def _member(self, row: IngestRow, tracked: _TrackedTransfer, place: int) -> IngestRow:
        part = None if tracked.has_ended else tracked.transfer.parts[place]
        before = self._members.get(row.key)
        image = tracked.transfer.image
        if before is not None and before[0] is row:
            known = before[1]
            if known.part == part and known.image == image:
                return known
        return row._replace(part=part, image=image)


def _same(
    some: Mapping[RowKey, tuple[IngestRow, IngestRow]],
    others: Mapping[RowKey, tuple[IngestRow, IngestRow]],
) -> bool:
    return some.keys() == others.keys() and all(some[key][1] is others[key][1] for key in some)


def _limited(size: int) -> int:
    """A size from another process, limited to a range that is safe to add."""
    return min(max(size, 0), 1 << 60)


class _TrackedTransfer:
    """One transfer, its rate, and whether it has ended early."""

    def __init__(self, transfer: Transfer, mono: int, source: str) -> None:
        self._source = source
        self.transfer = transfer
        self._growth = GrowthMeter(mono)
        self._offsets: dict[str, int] = {}
        self._updated_at = 0
        self.has_ended = False

    def update(self, transfer: Transfer, mono: int) -> None:
        """Store the latest report of its process."""
        self.transfer, self._updated_at, self.has_ended = transfer, mono, False

    def group(self, rows: Parts, mono: int) -> Group | None:
        """Its current state; None when it is no longer shown."""
        silent_ns = mono - self._updated_at
        parts = self.transfer.parts
        if silent_ns:
            failed = self.transfer.error or any(part.phase == "failed" for part in parts)
            if silent_ns > LINGER_NS or not (rows or failed):
                return None
            self.has_ended = bool(failed) or silent_ns > _DOUBT_NS
        offset = self._see(rows, mono)
        total = sum(_limited(part.descriptor.size) for part in parts)
        rate = 0.0 if self.has_ended else self._growth.rate(mono)
        members = tuple([row.key for row in rows.values()])
        eta = eta_s(offset, total, rate) if rate else None
        return Group(self.transfer, members, offset, total, rate, eta, self.has_ended, self._source)

    def _see(self, rows: Parts, mono: int) -> int:
        """Note how far each part is; returns the sum in bytes."""
        grown = 0
        before, self._offsets = self._offsets, {}
        for place, part in enumerate(self.transfer.parts):
            row = None if part.phase in ENDED else rows.get(place)
            offset = _limited(part.offset if row is None else row.status.offset)
            digest = part.descriptor.digest
            self._offsets[digest] = offset
            if part.phase not in _NOT_MOVED:
                grown += max(offset - before.get(digest, offset), 0)
        self._growth.add(grown, mono)
        return sum(self._offsets.values())
