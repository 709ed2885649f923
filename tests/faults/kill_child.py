"""A process that writes into a store, acknowledging each deed on stdout, until it is killed."""

from __future__ import annotations

import contextlib
import os
import random
import sys
import threading

from contentui.content.digest import Digest
from contentui.content.errors import AlreadyExists
from contentui.stores.local.store import LocalStore


def acknowledge(*words: object) -> None:
    """One write of less than PIPE_BUF: whole or not at all."""
    os.write(1, (" ".join(str(word) for word in words) + "\n").encode())


def content(seed: int, size: int) -> bytes:
    """The same bytes for the same seed, in every process."""
    return random.Random(seed).randbytes(size)


def small_writes(store: LocalStore, seed: int) -> None:
    data = content(seed, 3000)
    with store.writer(f"ref-{seed}", total=len(data)) as writer:
        for at in range(writer.offset, len(data), 500):
            writer.write(data[at : at + 500])
        with contextlib.suppress(AlreadyExists):
            writer.commit(len(data))
    acknowledge("blob", seed, len(data), "")


def labelled(store: LocalStore, seed: int) -> None:
    data = content(seed, 700)
    with store.writer(f"ref-{seed}", expected=Digest.of(data)) as writer:
        writer.write(data[writer.offset :])
        writer.commit(labels={"seed": str(seed)})
    acknowledge("blob", seed, len(data), seed)


def from_file(store: LocalStore, seed: int) -> None:
    data = content(seed, 3 << 20)
    with open(sys.argv[3], "w+b", buffering=0) as file:
        file.write(data)
        file.seek(0)
        with store.writer(f"ref-{seed}", total=len(data)) as writer:
            writer.append_from(file)
            writer.commit()
    acknowledge("blob", seed, len(data), "")


def from_pipe(store: LocalStore, seed: int) -> None:
    data = content(seed, 3 << 20)
    ours, theirs = os.pipe()

    def feed() -> None:
        with os.fdopen(theirs, "wb") as pipe:
            pipe.write(data)

    threading.Thread(target=feed, daemon=True).start()
    with os.fdopen(ours, "rb", buffering=0) as pipe, store.writer(f"ref-{seed}") as writer:
        writer.append_from(pipe)
        writer.commit()
    acknowledge("blob", seed, len(data), "")


def closed_and_resumed(store: LocalStore, seed: int) -> None:
    data = content(seed, 40_000)
    for end in (10_000, 20_000, 30_000):
        with store.writer(f"ref-{seed}") as writer:
            writer.write(data[writer.offset : end])
        acknowledge("ingest", seed, end, len(data))
    with store.writer(f"ref-{seed}") as writer:
        writer.write(data[writer.offset :])
        writer.commit(labels={"seed": str(seed)})
    acknowledge("blob", seed, len(data), seed)


def put(store: LocalStore, seed: int) -> None:
    store.put(content(seed, 900), labels={"seed": str(seed)})
    acknowledge("blob", seed, 900, seed)


def put_many(store: LocalStore, seed: int) -> None:
    store.put_many([content(seed + n, 600) for n in range(20)])
    for n in range(20):
        acknowledge("blob", seed + n, 600, "")


KINDS = [small_writes, labelled, from_file, from_pipe, closed_and_resumed, put, put_many]


def main() -> None:
    store = LocalStore(sys.argv[1])
    seed = int(sys.argv[2])
    acknowledge("started")
    while True:
        KINDS[seed // 1000 % len(KINDS)](store, seed)
        seed += 1000


if __name__ == "__main__":
    main()
