"""Large blobs: from a file, from a pipe, two at once."""

from __future__ import annotations

import subprocess
from functools import partial
from typing import TYPE_CHECKING

from bench.measure import Judged, Row, Skipped, Subject, timed, together
from bench.peers import Containerd, Missing, current_go, debian_go, need
from bench.programs import contentui

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.measure import Bench
    from bench.work import Work

GIB = 1 << 30


def in_fresh(work: Work, command: Callable[[Path], list[str]], cat: Path | None = None) -> float:
    """The time of a command on a new store, which is removed again."""
    store = work.fresh()
    try:
        return timed(command(store), cat=cat)
    finally:
        work.drop(store)


def peer_ingest(peer: Path, file: Path, store: Path) -> list[str]:
    return [str(peer), str(store), "ingest", str(file)]


def size_of(bench: Bench) -> tuple[int, str]:
    size = bench.scaled(GIB, GIB // 4)
    return size, f"{size >> 20} MiB" if size < GIB else "1 GiB"


def measure(bench: Bench, work: Work) -> Iterator[Row | Skipped]:
    """All rows of this theme."""
    yield from from_file(bench, work)
    yield from from_pipe(bench, work)
    yield from two_at_once(bench, work)


def from_file(bench: Bench, work: Work) -> Iterator[Row | Skipped]:
    size, words = size_of(bench)
    file = work.random_file("large-1", size)
    label = f"ingest {words} from a file, fsync on"
    ours, old, new = (
        "contentui ingest --from",
        "content/local, Debian's Go",
        "content/local, current Go",
    )
    subjects = {
        ours: Subject(
            lambda: in_fresh(
                work, lambda at: contentui(at, "ingest", "large", "--from", str(file))
            ),
            python=True,
        ),
        "openssl dgst": Subject(
            lambda: timed([need("openssl", "openssl"), "dgst", "-sha256", file])
        ),
    }
    rows = [Judged(label, ours, "openssl dgst", 1.05)]
    for name, program, target in ((new, current_go, 0.62), (old, debian_go, None)):
        try:
            peer = program()
        except Missing as missing:
            yield Skipped(f"{label} / {name}", str(missing))
            continue
        subjects[name] = Subject(partial(in_fresh, work, partial(peer_ingest, peer, file)))
        rows.append(Judged(label, ours, name, target))
    yield from bench.compare(subjects, rows)


def from_pipe(bench: Bench, work: Work) -> Iterator[Row | Skipped]:
    size, words = size_of(bench)
    file = work.random_file("large-1", size)
    label = f"ingest {words} from a pipe"
    digest = (
        "sha256:"
        + subprocess.check_output(["openssl", "dgst", "-sha256", "-r", file], text=True)[:64]
    )
    try:
        with Containerd(work.fresh("containerd")) as daemon:

            def through_daemon() -> float:
                seconds = timed(daemon.ctr("content", "ingest", "large"), cat=file)
                daemon.remove(digest)
                return seconds

            subjects = {
                "contentui ingest": Subject(
                    lambda: in_fresh(work, lambda at: contentui(at, "ingest", "large"), cat=file),
                    python=True,
                ),
                "ctr content ingest": Subject(through_daemon),
            }
            yield from bench.compare(
                subjects, [Judged(label, "contentui ingest", "ctr content ingest", 0.18)]
            )
    except Missing as missing:
        yield Skipped(label, str(missing))


def two_at_once(bench: Bench, work: Work) -> Iterator[Row]:
    size, words = size_of(bench)
    files = [work.random_file(f"large-{number}", size) for number in (1, 2)]

    def ingest(count: int) -> float:
        store = work.fresh()
        try:
            return together(
                *(
                    contentui(store, "ingest", file.name, "--from", str(file))
                    for file in files[:count]
                )
            )
        finally:
            work.drop(store)

    subjects = {
        "two": Subject(lambda: ingest(2), python=True),
        "one": Subject(lambda: ingest(1), python=True),
    }
    yield from bench.compare(
        subjects, [Judged(f"two ingests of {words} at once", "two", "one", 1.5)]
    )
