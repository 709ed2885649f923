"""Lists: all blobs, and only their digests."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from bench.measure import Judged, Row, Skipped, Subject, timed
from bench.peers import NAMESPACE, Containerd, Missing, current_go
from bench.programs import api, contentui, lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.measure import Bench
    from bench.work import Work


def measure(bench: Bench, work: Work) -> Iterator[Row | Skipped]:
    """All rows of this theme."""
    count = bench.scaled(100_000, 10_000)
    label = f"of {count:,} blobs"
    store = work.fresh("list")
    lines(api(store, "fill", str(count)))
    subjects = {
        "contentui list": Subject(lambda: timed(contentui(store, "list")), python=True),
        "contentui list -q": Subject(lambda: timed(contentui(store, "list", "-q")), python=True),
    }
    rows = []
    try:
        walker = current_go()
        subjects["content/local Walk"] = Subject(lambda: timed([walker, store, "walk"]))
        rows.append(Judged(f"list {label}", "contentui list", "content/local Walk", None))
    except Missing as missing:
        yield Skipped(f"list {label} / content/local", str(missing))
    try:
        daemon = Containerd(work.fresh("containerd"))
        refill(daemon, "fill", str(count))
        with daemon:
            subjects["ctr content ls"] = Subject(lambda: timed(daemon.ctr("content", "ls")))
            subjects["ctr content ls -q"] = Subject(
                lambda: timed(daemon.ctr("content", "ls", "-q"))
            )
            rows.append(Judged(f"list {label}", "contentui list", "ctr content ls", 0.40))
            rows.append(Judged(f"list -q {label}", "contentui list -q", "ctr content ls -q", 0.16))
            yield from bench.compare(subjects, rows)
    except Missing as missing:
        yield Skipped(f"list and list -q {label} / ctr", str(missing))
        yield from bench.compare(subjects, rows)


def refill(daemon: Containerd, verb: str, *arguments: str) -> None:
    """Let our API fill a stopped daemon's own directory, and enter it all into its database.

    Raises:
        Missing: there is no containerd here, or no Go peer.
    """
    with daemon:
        pass  # makes the database
    lines(api(daemon.place / "made", verb, *arguments))
    for name in ("blobs", "ingest"):
        shutil.rmtree(daemon.content / name, ignore_errors=True)
        made = daemon.place / "made" / name
        made.mkdir(exist_ok=True)  # content/local can't walk a store without blobs/
        made.rename(daemon.content / name)
    lines([current_go(), daemon.content, "adopt", daemon.database, NAMESPACE])
