"""A client of a service, as a process: ``service_child.py VERB SOCKET ARGUMENT...``."""

from __future__ import annotations

import sys
import threading

import fuzz_wire

READ = "/containerd.services.content.v1.Content/Read"


def hold(socket: str, *refs: str) -> None:
    """Write a little to each ref, and then nothing: the streams stay open."""
    wire = fuzz_wire.Wire(f"unix:{socket}")
    streams = [wire.write() for _ in refs]
    for ref, stream in zip(refs, streams, strict=True):
        stream.send(fuzz_wire.encode({1: 1, 2: ref, 6: b"half of it"}))
        assert stream.answer()
    print("ready", flush=True)
    sys.stdin.read()


def read_never(socket: str, digest: str, count: str, connections: str) -> None:
    """Ask for a blob many times, over so many connections, and take nothing."""
    # On a slow machine the client's probe grows its windows until they hold the whole blob.
    options = [("grpc.http2.bdp_probe", 0)]
    wires = [fuzz_wire.Wire(f"unix:{socket}", options=options) for _ in range(int(connections))]
    answers = [
        wires[index % len(wires)].channel.unary_stream(READ)(
            fuzz_wire.encode({1: digest}), metadata=wires[0].metadata
        )
        for index in range(int(count))
    ]
    print("ready", flush=True)
    sys.stdin.read()
    del answers


def read_many(target: str, digest: str, count: str) -> None:
    """Read a blob again and again in several streams at once."""
    wire = fuzz_wire.Wire(target)

    def read() -> None:
        while True:
            for _ in wire.channel.unary_stream(READ)(
                fuzz_wire.encode({1: digest}), metadata=wire.metadata
            ):
                begun.release()

    begun = threading.Semaphore(0)
    for _ in range(int(count)):
        threading.Thread(target=read, daemon=True).start()
    for _ in range(10 * int(count)):
        begun.acquire()
    print("ready", flush=True)
    sys.stdin.read()


def read_slowly(socket: str, digest: str) -> None:
    """Ask for a blob and take only the first piece."""
    wire = fuzz_wire.Wire(f"unix:{socket}")
    answers = wire.channel.unary_stream(READ)(fuzz_wire.encode({1: digest}), metadata=wire.metadata)
    next(answers)
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    verbs = (hold, read_many, read_never, read_slowly)
    {verb.__name__: verb for verb in verbs}[sys.argv[1]](*sys.argv[2:])
