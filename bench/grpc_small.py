"""Small blobs through one client, and the list of many, over gRPC."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bench.grpc_servers import UncollectedContainerd, both, script
from bench.listing import refill
from bench.measure import Judged, Row, Skipped, Subject, timed
from bench.peers import NAMESPACE, Missing
from bench.programs import api, lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.measure import Bench
    from bench.work import Work


def measure(bench: Bench, work: Work) -> Iterator[Row | Skipped]:
    """All rows of this theme."""
    try:
        yield from small(bench, work)
        yield from listing(bench, work)
    except Missing as missing:
        yield Skipped("small blobs over gRPC", str(missing))


def small(bench: Bench, work: Work) -> Iterator[Row]:
    """The seconds come from inside the client: content is made before its clock runs."""
    count = bench.scaled(1_000, 200)
    with both(bench, work) as (ours, daemon):

        def by(way: str, socket: Path) -> float:
            source = f"unix://{socket}?namespace={NAMESPACE}"
            return lines(script("grpc_client.py", source, way, count))[-1]["seconds"]

        for way, words in (("visible", "visible ingests"), ("put", "in one message each")):
            subjects = {
                "to our service": Subject(partial(by, way, ours.socket)),
                "to containerd": Subject(partial(by, way, daemon.socket)),
            }
            label = f"gRPC: {count:,} blobs of 16 KiB through our client, {words}"
            yield from bench.compare(
                subjects, [Judged(label, "to our service", "to containerd", 0.6)]
            )


def listing(bench: Bench, work: Work) -> Iterator[Row]:
    count = bench.scaled(100_000, 10_000)
    store, place = work.fresh("cui"), work.fresh("ctd")
    lines(api(store, "fill", str(count)))
    refill(UncollectedContainerd(place), "fill", str(count))
    with both(bench, work, store, place) as (ours, daemon):
        subjects = {
            "ctr from our service": Subject(lambda: timed(ours.ctr("content", "ls"))),
            "ctr from containerd": Subject(lambda: timed(daemon.ctr("content", "ls"))),
        }
        label = f"gRPC: ctr content ls, {count:,} blobs"
        yield from bench.compare(
            subjects, [Judged(label, "ctr from our service", "ctr from containerd", 0.8)]
        )
