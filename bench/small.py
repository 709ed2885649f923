"""Small blobs: in memory one by one and in groups, and through visible ingests."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bench.measure import Judged, Row, Skipped, Subject, judge, timed
from bench.peers import Missing, current_go, debian_go
from bench.programs import api, lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.measure import Bench
    from bench.work import Work

WAYS = {
    "put": ("put, one by one", 0.25),
    "put-many": ("put_many, in groups", 0.12),
    "visible": ("visible ingests", 0.55),
}


def measure(bench: Bench, work: Work) -> Iterator[Row | Skipped]:
    """All rows of this theme."""
    try:
        peer = current_go()
    except Missing as missing:
        yield Skipped("small blobs", str(missing))
        return
    yield from many(bench, work, str(peer))
    yield from origin(bench, work, str(peer))


def many(bench: Bench, work: Work, peer: str) -> Iterator[Row]:
    count = bench.scaled(10_000, 1_000)
    source = work.small_files("small", count, 16 << 10)
    label = f"{count:,} blobs of 16 KiB, durable"

    def ours(way: str) -> float:
        return timed(api(work.fresh(), way, str(source)))

    subjects = {way: Subject(partial(ours, way), python=True) for way in WAYS}
    subjects["content/local, current Go"] = Subject(
        lambda: timed([peer, work.fresh(), "small", source])
    )
    rows = [
        Judged(f"{label}: {words}", way, "content/local, current Go", target)
        for way, (words, target) in WAYS.items()
    ]
    try:
        old = str(debian_go())
        subjects["content/local, Debian's Go"] = Subject(
            lambda: timed([old, work.fresh(), "small", source])
        )
        rows += [row._replace(peer="content/local, Debian's Go", target=None) for row in rows]
    except Missing:
        pass
    yield from bench.compare(subjects, rows)


def origin(bench: Bench, work: Work, peer: str) -> Iterator[Row]:
    """The seconds of both sides come from inside their processes: only the ingests count."""
    count = str(bench.scaled(300, 40))
    taken: dict[str, dict[str, list[float]]] = {}
    for turn in range(-1, bench.rounds):
        for name, argv in (
            ("visible ingests", api(work.fresh(), "origin", count)),
            ("content/local, current Go", [peer, str(work.fresh()), "origin", count]),
        ):
            for line in lines(argv):
                one = taken.setdefault(f"{int(line['below']) >> 10} KiB", {}).setdefault(name, [])
                if turn >= 0:
                    one.append(line["seconds"])
    for limit, both in taken.items():
        row = Judged(
            f"{count} blobs of random length below {limit}, visible ingests",
            "visible ingests", "content/local, current Go", 0.6,
        )  # fmt: skip
        yield judge(row, both, 0.0, "time")
