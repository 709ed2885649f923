"""The most memory of both servers in all rows that were measured before this one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.grpc_servers import OURS, PEAKS, PEER
from bench.measure import Figure, Skipped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.measure import Bench
    from bench.work import Work


def measure(_: Bench, __: Work) -> Iterator[Figure | Skipped]:
    """The one row of this theme."""
    work = "gRPC: peak memory of the service in all of this"
    if not all(PEAKS.values()):
        yield Skipped(work, "no row over gRPC was measured before")
        return
    ours, peer = PEAKS[OURS] / 1024, PEAKS[PEER] / 1024
    note = f"{ours:.0f} MiB, containerd {peer:.0f} MiB"
    yield Figure(work, ours / peer, "of containerd's", 0.35, note, ours=OURS)
