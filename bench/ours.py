"""Our store by its API, as a process: ``python bench/ours.py ROOT VERB ...``; prints JSON lines."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING

from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable


def read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 1 << 20)
    finally:
        os.close(descriptor)


def files(directory: str) -> list[str]:
    return [f"{directory}/{name}" for name in os.listdir(directory)]


def put(store: LocalStore, directory: str) -> None:
    for name in files(directory):
        store.put(read(name))


def put_many(store: LocalStore, directory: str) -> None:
    store.put_many(map(read, files(directory)))


def visible(store: LocalStore, directory: str) -> None:
    for name in files(directory):
        with store.writer("ref-" + os.path.basename(name)) as writer:
            writer.write(read(name))
            writer.commit()


def origin(store: LocalStore, count: str) -> None:
    """The origin's own benchmark: content and digests are made before the clock runs."""
    import random

    from contentui.content.digest import Digest

    for limit in (1 << 10, 4 << 10, 512 << 10, 1 << 20):
        chance = random.Random(limit)
        blobs = [os.urandom(chance.randrange(limit)) for _ in range(int(count))]
        named = [(Digest.of(blob), blob) for blob in blobs]
        begun = time.perf_counter()
        for index, (digest, blob) in enumerate(named):
            with store.writer(f"ref-{limit}-{index}", total=len(blob), expected=digest) as writer:
                writer.write(blob)
                writer.commit(len(blob), digest)
        seconds = time.perf_counter() - begun
        print_json(below=limit, blobs=len(blobs), bytes=sum(map(len, blobs)), seconds=seconds)


def statuses(store: LocalStore, repeat: str) -> None:
    for _ in range(int(repeat)):
        begun = time.perf_counter()
        found = store.statuses()
        print_json(ingests=len(found), seconds=time.perf_counter() - begun)


def live(store: LocalStore, count: str, prefix: str = "") -> None:
    """Ingests of 64 bytes, begun and closed."""
    for index in range(int(count)):
        with store.writer(f"{prefix}layer-sha256:{index:064x}", total=1 << 20) as writer:
            writer.write(b"x" * 64)


def fill(store: LocalStore, count: str) -> None:
    """Blobs of 16 bytes."""
    store.put_many(b"%016d" % index for index in range(int(count)))


def print_json(**fields: object) -> None:
    print(json.dumps(fields))


VERBS: dict[str, Callable[..., None]] = {
    "put": put,
    "put-many": put_many,
    "visible": visible,
    "origin": origin,
    "statuses": statuses,
    "live": live,
    "fill": fill,
}


def main() -> None:
    root, verb, *arguments = sys.argv[1:]
    store = LocalStore(root)
    VERBS[verb](store, *arguments)
    store.close()


if __name__ == "__main__":
    main()
