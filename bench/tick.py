"""A monitor that ticks when told: ``python bench/tick.py ROOT``; prints seconds, a line each."""

from __future__ import annotations

import sys
import time

from contentui.monitor.monitor import Monitor
from contentui.stores.local.store import LocalStore


def main() -> None:
    store = LocalStore(sys.argv[1])
    monitor = Monitor(store)
    monitor.tick()
    for line in sys.stdin:
        look = monitor.tick if line.strip() == "tick" else store.statuses
        begun = time.perf_counter()
        look()
        print(time.perf_counter() - begun, flush=True)


if __name__ == "__main__":
    main()
