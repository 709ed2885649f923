"""What the dashboard's polling costs, on the client's side and on the server's."""

from __future__ import annotations

import json
import subprocess
from statistics import median
from typing import TYPE_CHECKING

from bench.grpc_servers import OURS, PEER, UncollectedContainerd, both, script
from bench.listing import refill
from bench.measure import Failed, Figure, Skipped, used_by
from bench.peers import NAMESPACE, Missing
from bench.programs import api, lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.measure import Bench
    from bench.work import Work

LIMIT = 5.0
"""Percent of a core, on each side."""


def measure(bench: Bench, work: Work) -> Iterator[Figure | Skipped]:
    """All rows of this theme."""
    count = bench.scaled(1_000, 200)
    seconds = bench.scaled(20, 6)
    store, place = work.fresh("cui"), work.fresh("ctd")
    lines(api(store, "live", str(count)))
    try:
        refill(UncollectedContainerd(place), "live", str(count), f"{NAMESPACE}/1/")
        with both(bench, work, store, place) as (ours, daemon):
            for name, server in ((OURS, ours), (PEER, daemon)):
                assert server.process
                pid = server.process.pid
                shares = [polled(server.socket, pid, seconds, count) for _ in range(3)]
                label = f"gRPC: a monitor of {count:,} ingests at 4 Hz on {name}"
                for side, limit, values in (
                    ("client", LIMIT, [client for client, _ in shares]),
                    ("server", LIMIT, [served for _, served in shares]),
                ):
                    yield Figure(f"{label}, {side}", median(values), "% of a core", limit,
                                 ours=f"the {side}")  # fmt: skip
    except Missing as missing:
        yield Skipped("a monitor over gRPC", str(missing))


def polled(socket: Path, server: int, seconds: int, count: int) -> tuple[float, float]:
    """The percents of a core that client and server use while the client polls."""
    source = f"unix://{socket}?namespace={NAMESPACE}"
    with subprocess.Popen(
        script("grpc_client.py", source, "poll", seconds), stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout
        first = client.stdout.readline()
        if not first or json.loads(first)["ingests"] != count:
            raise Failed(f"the monitor saw {first!r}, not {count} ingests")
        before = used_by(server)
        last = json.loads(client.stdout.readline() or "{}")
        served = used_by(server) - before
    if not last:
        raise Failed("the monitor has ended")
    return 100 * last["cpu"] / last["seconds"], 100 * served / last["seconds"]
