"""Ingests: a full scan, a monitor's tick, and `active`."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.listing import refill
from bench.live_ingests import LiveIngests
from bench.measure import Failed, Judged, Row, Skipped, Subject, timed
from bench.peers import Containerd, Missing, current_go, debian_go
from bench.programs import api, contentui, lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.measure import Bench
    from bench.work import Work

TICK = Path(__file__).with_name("tick.py")
REPEAT = "6"


def measure(bench: Bench, work: Work) -> Iterator[Row | Skipped]:
    """All rows of this theme."""
    yield from scan(bench, work)
    yield from tick(bench, work)
    yield from active(bench, work)


def warm(argv: Sequence[str | Path]) -> float:
    """The median of the seconds that a process prints, the first one left out."""
    return median(line["seconds"] for line in lines(argv)[1:])


def scan(bench: Bench, work: Work) -> Iterator[Row | Skipped]:
    count = bench.scaled(10_000, 1_000)
    label = f"statuses of {count:,} ingests, full scan"
    store = work.fresh("statuses")
    lines(api(store, "live", str(count)))
    subjects = {"LocalStore.statuses": Subject(lambda: warm(api(store, "statuses", REPEAT)))}
    rows = []
    for name, program, target in (
        ("ListStatuses, current Go", current_go, 0.60),
        ("ListStatuses, Debian's Go", debian_go, None),
    ):
        try:
            peer = program()
        except Missing as missing:
            yield Skipped(f"{label} / {name}", str(missing))
            continue
        subjects[name] = Subject(partial(warm, [peer, store, "statuses", REPEAT]))
        rows.append(Judged(label, "LocalStore.statuses", name, target))
    yield from bench.compare(subjects, rows)


def tick(bench: Bench, work: Work) -> Iterator[Row]:
    """Both sides are ours, in one process that watches a live_ingests of others."""
    count = bench.scaled(10_000, 1_000)
    store = work.fresh("tick")
    with (
        LiveIngests(store, count) as live_ingests,
        subprocess.Popen(
            [sys.executable, str(TICK), str(store)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as watcher,
    ):
        assert watcher.stdin
        assert watcher.stdout

        if watcher.stdout.readline().strip() != "ready":
            raise Failed("the monitor does not start")

        def ask(what: str) -> float:
            assert watcher.stdin
            assert watcher.stdout
            live_ingests.touch(10)
            watcher.stdin.write(what + "\n")
            watcher.stdin.flush()
            answer = watcher.stdout.readline()
            if not answer:
                raise Failed("the monitor has ended")
            return float(answer)

        subjects = {
            "Monitor.tick": Subject(lambda: median(ask("tick") for _ in range(7))),
            "LocalStore.statuses": Subject(lambda: ask("scan")),
        }
        label = f"a monitor's tick, 10 of {count:,} ingests changed"
        yield from bench.compare(
            subjects, [Judged(label, "Monitor.tick", "LocalStore.statuses", 0.15)]
        )
        watcher.stdin.close()


def active(bench: Bench, work: Work) -> Iterator[Row | Skipped]:
    count = bench.scaled(1_000, 200)
    label = f"active with {count:,} ingests"
    store = work.fresh("active")
    lines(api(store, "live", str(count)))
    try:
        daemon = Containerd(work.fresh("containerd"))
        refill(daemon, "live", str(count), "default/1/")
        with daemon:
            subjects = {
                "contentui active": Subject(lambda: timed(contentui(store, "active")), python=True),
                "ctr content active": Subject(lambda: timed(daemon.ctr("content", "active"))),
            }
            yield from bench.compare(
                subjects, [Judged(label, "contentui active", "ctr content active", 0.6)]
            )
    except Missing as missing:
        yield Skipped(label, str(missing))
