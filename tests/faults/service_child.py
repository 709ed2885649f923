"""A client of a service, as a process: ``service_child.py VERB SOCKET ARGUMENT...``."""

from __future__ import annotations

import sys

import fuzz_wire


def hold(socket: str, *refs: str) -> None:
    """Write a little to each ref, and then nothing: the streams stay open."""
    wire = fuzz_wire.Wire(f"unix:{socket}")
    streams = [wire.write() for _ in refs]
    for ref, stream in zip(refs, streams, strict=True):
        stream.send(fuzz_wire.encode({1: 1, 2: ref, 6: b"half of it"}))
        assert stream.answer()
    print("ready", flush=True)
    sys.stdin.read()


def read_slowly(socket: str, digest: str) -> None:
    """Ask for a blob and take only the first piece."""
    wire = fuzz_wire.Wire(f"unix:{socket}")
    answers = wire.channel.unary_stream("/containerd.services.content.v1.Content/Read")(
        fuzz_wire.encode({1: digest}), metadata=wire.metadata
    )
    next(answers)
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    {"hold": hold, "read_slowly": read_slowly}[sys.argv[1]](*sys.argv[2:])
