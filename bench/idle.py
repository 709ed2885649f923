"""What the dashboard costs while ten clients behind a socket have stopped sending."""

from __future__ import annotations

import contextlib
import subprocess
import time
from typing import TYPE_CHECKING

from bench.grpc_servers import OURS, PEER, both, client
from bench.measure import Failed, Figure, Skipped, used_by
from bench.peers import Missing
from bench.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.measure import Bench
    from bench.work import Work

INGESTS = 10
LIMIT = 1.0
"""Percent of a core."""
SETTLED_S = 45
"""After which everything is stalled, and what was found at the start is no longer new."""
PIECE = b"x" * (1 << 20)


def measure(bench: Bench, work: Work) -> Iterator[Figure | Skipped]:
    """All figures of this theme."""
    seconds = bench.scaled(30, 8)
    try:
        with both(bench, work) as (ours, daemon):
            for name, server in ((OURS, ours), (PEER, daemon)):
                assert server.process
                with stalled_clients(server.ctr("content", "ingest")):
                    argv = client(server.socket, "ui")
                    with Terminal(argv, work.fresh("idle")) as terminal:
                        terminal.await_output(lambda output: b"stalled-9" in output)
                        time.sleep(bench.scaled(SETTLED_S, 12))
                        pids = terminal.pid, server.process.pid
                        before = [used_by(pid) for pid in pids]
                        time.sleep(seconds)
                        used = [used_by(pid) - old for pid, old in zip(pids, before, strict=True)]
                note = f"over {seconds} s; the server used {used[1] / seconds:.1%}"
                label = f"CPU, {INGESTS} stalled ingests on {name}"
                yield Figure(label, used[0] / seconds * 100, "% of a core", LIMIT, note)
    except Missing as missing:
        yield Skipped("idle behind a socket", str(missing))


@contextlib.contextmanager
def stalled_clients(command: Sequence[str]) -> Iterator[None]:
    """Clients that each send a piece of an ingest and then wait."""
    clients = [
        subprocess.Popen(
            [*command, f"stalled-{index}"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for index in range(INGESTS)
    ]
    try:
        for each in clients:
            assert each.stdin
            each.stdin.write(PIECE)
            each.stdin.flush()
            if each.poll() is not None:
                raise Failed("ctr content ingest has ended")
        yield
    finally:
        for each in clients:
            each.kill()
            each.communicate()
