"""Live writers in a process of their own: ``python bench/writers.py ROOT FIRST COUNT``.

Opens COUNT ingests and holds them, says ``ready``, then obeys lines on its standard input:
``touch N`` writes to the first N and answers ``done``; ``rate HZ N`` writes to the first N that
often, until the next line; the end of input ends it.
"""

from __future__ import annotations

import os
import resource
import select
import sys
import time
from typing import TYPE_CHECKING

from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contentui.content.streams import Writer

PIECE = b"x" * 1024


def touch(writers: Sequence[Writer]) -> None:
    for writer in writers:
        writer.write(PIECE)


def keep_rate(writers: Sequence[Writer], hertz: float) -> None:
    """Write to each once a period, until there is something on standard input."""
    due = time.monotonic()
    while not select.select([0], [], [], max(0.0, due - time.monotonic()))[0]:
        due += 1 / hertz
        touch(writers)


def obey(writers: Sequence[Writer], line: str) -> None:
    verb, *numbers = line.split()
    if verb == "rate":
        keep_rate(writers[: int(numbers[1])], float(numbers[0]))
    else:
        touch(writers[: int(numbers[0])])
        print("done", flush=True)


def main() -> None:
    root, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    store = LocalStore(root)
    writers = []
    for index in range(first, first + count):
        writers.append(store.writer(f"layer-sha256:{index:064x}", total=1 << 30))
        writers[-1].write(PIECE)
    print("ready", flush=True)
    buffer = b""
    while piece := os.read(0, 4096):  # unbuffered: select must see what is there
        *lines, buffer = (buffer + piece).split(b"\n")
        for line in lines:
            obey(writers, line.decode())
    os._exit(0)


if __name__ == "__main__":
    main()
