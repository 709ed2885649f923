"""Large blobs over gRPC: the same ``ctr`` on both servers, and our client beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.grpc_servers import both, client, digest_of
from bench.ingest import size_of
from bench.measure import Judged, Row, Skipped, Subject, timed, together
from bench.peers import Missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.grpc_servers import Serving, UncollectedContainerd
    from bench.measure import Bench
    from bench.work import Work

AT_ONCE = 8


def measure(bench: Bench, work: Work) -> Iterator[Row | Skipped]:
    """All rows of this theme."""
    try:
        with both(bench, work) as (ours, daemon):
            yield from ingest(bench, work, ours, daemon)
            yield from get(bench, work, ours, daemon)
            yield from many(bench, work, ours, daemon)
    except Missing as missing:
        yield Skipped("large blobs over gRPC", str(missing))


def ingest(bench: Bench, work: Work, ours: Serving, daemon: UncollectedContainerd) -> Iterator[Row]:
    size, words = size_of(bench)
    file = work.random_file("large-1", size)
    digest = digest_of(file)

    def through(server: Serving | UncollectedContainerd, argv: Sequence[str]) -> float:
        seconds = timed(argv, cat=file)
        server.remove(digest)
        return seconds

    to_ours, to_daemon = "ctr to our service", "ctr to containerd"
    client_ours, client_daemon = "our client to containerd", "our client to our service"
    subjects = {
        to_ours: Subject(lambda: through(ours, ours.ctr("content", "ingest", "large"))),
        to_daemon: Subject(lambda: through(daemon, daemon.ctr("content", "ingest", "large"))),
        client_ours: Subject(
            lambda: through(daemon, client(daemon.socket, "ingest", "large")), python=True
        ),
        client_daemon: Subject(
            lambda: through(ours, client(ours.socket, "ingest", "large")), python=True
        ),
    }
    label = f"gRPC: ingest {words}"
    yield from bench.compare(
        subjects,
        [
            Judged(label, to_ours, to_daemon, 0.55),
            Judged(label, client_ours, to_daemon, 0.95),
            Judged(label, client_daemon, to_daemon, None),
        ],
    )


def get(bench: Bench, work: Work, ours: Serving, daemon: UncollectedContainerd) -> Iterator[Row]:
    size, words = size_of(bench)
    file = work.random_file("large-1", size)
    digest = digest_of(file)
    for server in (ours, daemon):
        timed(server.ctr("content", "ingest", "large"), cat=file)
    from_ours, from_daemon = "ctr from our service", "ctr from containerd"
    client_daemon, client_ours = "our client from containerd", "our client from our service"
    subjects = {
        from_ours: Subject(lambda: timed(ours.ctr("content", "get", digest))),
        from_daemon: Subject(lambda: timed(daemon.ctr("content", "get", digest))),
        client_daemon: Subject(lambda: timed(client(daemon.socket, "get", digest)), python=True),
        client_ours: Subject(lambda: timed(client(ours.socket, "get", digest)), python=True),
    }
    label = f"gRPC: get {words}"
    yield from bench.compare(
        subjects,
        [
            Judged(label, from_ours, from_daemon, 1.5),
            Judged(label, client_daemon, from_daemon, 0.25),
            Judged(label, client_ours, from_daemon, None),
        ],
    )
    for server in (ours, daemon):
        server.remove(digest)


def many(bench: Bench, work: Work, ours: Serving, daemon: UncollectedContainerd) -> Iterator[Row]:
    """Several clients at once, each with a file of its own."""
    size = bench.scaled(128 << 20, 16 << 20)
    files = [work.random_file(f"part-{number}", size) for number in range(AT_ONCE)]
    digests = [digest_of(file) for file in files]

    def at_once(server: Serving | UncollectedContainerd) -> float:
        seconds = together(*(ingest_from(server, file) for file in files))
        for digest in digests:
            server.remove(digest)
        return seconds

    subjects = {
        "ctr to our service": Subject(lambda: at_once(ours)),
        "ctr to containerd": Subject(lambda: at_once(daemon)),
    }
    label = f"gRPC: {AT_ONCE} ingests of {size >> 20} MiB at once"
    yield from bench.compare(
        subjects, [Judged(label, "ctr to our service", "ctr to containerd", 0.6)]
    )
    for file in files:
        file.unlink()


def ingest_from(server: Serving | UncollectedContainerd, file: Path) -> list[str]:
    """``ctr content ingest`` of a file, as one process."""
    line = " ".join(server.ctr("content", "ingest", file.name))
    return ["sh", "-c", f'exec {line} < "$0"', str(file)]
