"""Our client by its API, as a process: ``python bench/grpc_client.py SOURCE VERB ...``."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING

from contentui.content.digest import Digest
from contentui.stores.open import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from contentui.content.store import Store

SIZE = 16 << 10


def put(store: Store, blobs: list[bytes]) -> None:
    for blob in blobs:
        store.put(blob)


def visible(store: Store, blobs: list[bytes]) -> None:
    seed = os.urandom(8).hex()
    for index, blob in enumerate(blobs):
        with store.writer(f"ref-{seed}-{index}", total=len(blob)) as writer:
            writer.write(blob)
            writer.commit(len(blob), Digest.of(blob))


def taken(store: Store, way: Callable[[Store, list[bytes]], None], count: str) -> None:
    """Seconds for ``count`` new blobs."""
    blobs = [os.urandom(SIZE) for _ in range(int(count))]
    store.statuses()  # the connection is there
    begun = time.perf_counter()
    way(store, blobs)
    print_json(blobs=len(blobs), seconds=time.perf_counter() - begun)


def poll(store: Store, seconds: str) -> None:
    """A monitor that looks at everything four times a second; prints this process's CPU."""
    from contentui.monitor.monitor import Monitor

    monitor = Monitor(store)
    found = len(monitor.tick().ingests)
    print_json(ingests=found)
    begun, used = time.monotonic(), time.process_time()
    until = begun + float(seconds)
    due = begun
    while (due := due + 0.25) < until:
        time.sleep(max(0.0, due - time.monotonic()))
        monitor.hint(everything=True)  # while all of them are silent it would look less often
        monitor.tick()
    print_json(seconds=time.monotonic() - begun, cpu=time.process_time() - used)


def print_json(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


def main() -> None:
    source, verb, argument = sys.argv[1:]
    store = open_store(source)
    if verb == "poll":
        poll(store, argument)
    else:
        taken(store, {"put": put, "visible": visible}[verb], argument)
    store.close()


if __name__ == "__main__":
    main()
