"""A monitor that ticks on request: ``python bench/tick.py ROOT``; prints seconds, a line each."""

from __future__ import annotations

import sys
import time

from contentui.content.model import ingest_id
from contentui.monitor.monitor import Monitor
from contentui.stores.local.store import LocalStore

CHANGED = 10
"""The first ones of the live_ingests grow before each tick."""

SETTLED_S = 12
"""After which the monitor takes the rest of the live_ingests, all just begun, for silent."""


def main() -> None:
    store = LocalStore(sys.argv[1])
    monitor = Monitor(store)
    ids = {ingest_id(f"layer-sha256:{index:064x}") for index in range(CHANGED)}
    settled = time.monotonic() + SETTLED_S
    while time.monotonic() < settled:
        monitor.tick()
        time.sleep(0.5)
    seen = {row.status.id: row.status.offset for row in monitor.tick().ingests}
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "scan":
            begun = time.perf_counter()
            store.statuses()
            print(time.perf_counter() - begun, flush=True)
            continue
        begun = time.perf_counter()
        monitor.hint(ids)  # what the kernel's announcements come to
        view = monitor.tick()
        print(time.perf_counter() - begun, flush=True)
        now = {row.status.id: row.status.offset for row in view.ingests}
        if any(now[one] <= seen[one] for one in ids):
            raise SystemExit("the tick did not see what had changed")
        seen = now


if __name__ == "__main__":
    main()
