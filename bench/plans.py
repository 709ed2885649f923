"""Time and memory from a key to the plan of deleting very many blobs.

``python -m bench.plans [COUNT]``
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from contentui.actions.model import Verb
from contentui.content.digest import Digest
from contentui.content.model import Info
from contentui.stores.source import parse
from contentui.tui.screens.plan import PlanScreen
from contentui.tui.session import Session

COUNT = 100_000
LIMIT_S = 0.3
LIMIT_MB = 100
_LAYER = 50_000_000
"""Bytes of a blob that is too large to be a document, and so is never read."""


def resident_mb() -> float:
    """The memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def main() -> int:
    """Print both; 1: more than the limits."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    infos = [Info(Digest(f"sha256:{n:064x}"), _LAYER + n, 10**18, 0, {}) for n in range(count)]
    with tempfile.TemporaryDirectory() as place:
        session = Session(parse(place), create=True)
        session.open()
        session.store.walk = lambda _filters=(): iter(infos)  # type: ignore[method-assign]
        session.plan(Verb.DELETE, infos[:1], ())  # the index knows them, as on a running screen
        before, began = resident_mb(), time.perf_counter()
        plan = session.plan(Verb.DELETE, infos, ())
        screen = PlanScreen(plan, 10**18)
        lines = screen.lines()
        seconds, memory = time.perf_counter() - began, resident_mb() - before
        session.close()
    print(
        f"{count:,} blobs: {seconds:.2f} s, at most {LIMIT_S}; {memory:.0f} MB, at most {LIMIT_MB}"
    )
    print(f"{len(lines)} lines, {plan.lost_bytes:,} bytes")
    return int(seconds > LIMIT_S or memory > LIMIT_MB)


if __name__ == "__main__":
    raise SystemExit(main())
