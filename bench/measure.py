"""Alternated rounds of whole processes, their medians, and the median of their ratios."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

BARE = (sys.executable, "-c", "pass")
HERTZ = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A measured command did not succeed."""


class Subject(NamedTuple):
    """Something whose time is taken."""

    run: Callable[[], float]
    """Does it once; returns seconds."""
    python: bool = False
    """A whole process of Python: the start of a bare interpreter is subtracted."""


class Judged(NamedTuple):
    """A row of the table: which subjects are compared, and what was hoped for."""

    work: str
    ours: str
    peer: str
    target: float | None
    """The most that ours / peer should be."""


@dataclass(frozen=True)
class Row:
    """A measured comparison. Seconds are medians; the ratio is the median of each round's."""

    work: str
    ours: str
    peer: str
    ours_s: float
    peer_s: float
    ratio: float
    low: float
    high: float
    """The quartiles of the ratio."""
    target: float | None
    foreign: float
    """The share of one core that others used meanwhile, median."""
    unit: str = "time"

    @property
    def reached(self) -> bool | None:
        return None if self.target is None else self.ratio <= self.target


@dataclass(frozen=True)
class Figure:
    """A single figure with a limit of its own."""

    work: str
    value: float
    unit: str
    limit: float
    note: str = ""
    ours: str = "contentui ui"

    @property
    def reached(self) -> bool:
        return self.value <= self.limit


@dataclass(frozen=True)
class Skipped:
    """A row that could not be measured here."""

    work: str
    reason: str


def busy() -> float:
    """Seconds of CPU that the whole machine has used."""
    with open("/proc/stat", encoding="ascii") as file:
        fields = file.readline().split()[1:]
    return (sum(map(int, fields[:3])) + sum(map(int, fields[5:8]))) / HERTZ


def used_by(pid: int) -> float:
    """Seconds of CPU that a process has used; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / HERTZ


def own() -> float:
    """Seconds of CPU of this process and of its finished children."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in (
            resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
    )


def await_quiet(limit: float) -> None:
    """Wait until the others use less than a third of a core, ``limit`` seconds at most."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        before = busy()
        time.sleep(0.3)
        if busy() - before < 0.09:
            return


def timed(
    argv: Sequence[object], *, cat: Path | None = None, env: Mapping[str, str] | None = None
) -> float:
    """Seconds that a process takes from its start to its end.

    ``cat``: a file that another process feeds through a pipe to its standard input.

    Raises:
        Failed: it ended with an error.
    """
    feeder = None
    begun = time.perf_counter()
    if cat is not None:
        feeder = subprocess.Popen(["cat", str(cat)], stdout=subprocess.PIPE)
    source = feeder.stdout if feeder else subprocess.DEVNULL
    done = subprocess.run(
        list(map(str, argv)),
        stdin=source,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **env} if env else None,
        check=False,
    )
    seconds = time.perf_counter() - begun
    if feeder:
        assert feeder.stdout
        feeder.stdout.close()
        feeder.wait()
    if done.returncode:
        message = done.stderr[-500:].decode(errors="replace").strip()
        raise Failed(f"{argv[0]} ended with {done.returncode}: {message}")
    return seconds


def together(*commands: Sequence[object]) -> float:
    """Seconds until all of several processes that were started at once have ended."""
    begun = time.perf_counter()
    running = [
        subprocess.Popen(list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for argv in commands
    ]
    codes = [process.wait() for process in running]
    seconds = time.perf_counter() - begun
    if any(codes):
        raise Failed(f"{commands[0][0]} ended with {codes}")
    return seconds


class Bench:
    """How often, and how patiently, to measure."""

    def __init__(self, rounds: int, *, quick: bool, quiet: float) -> None:
        self.rounds = rounds
        self.quick = quick
        self.quiet = quiet
        self.bare: list[float] = []
        """Seconds of every bare interpreter that was started."""
        self._servers: list[int] = []

    def scaled(self, count: int, quick: int) -> int:
        """``count``, or ``quick`` in a quick run."""
        return quick if self.quick else count

    @contextlib.contextmanager
    def serving(self, pids: Iterable[int]) -> Iterator[None]:
        """Count these running processes among our own, not among the others."""
        self._servers = list(pids)
        try:
            yield
        finally:
            self._servers = []

    def compare(
        self, subjects: Mapping[str, Subject], rows: Sequence[Judged], unit: str = "time"
    ) -> list[Row]:
        """Run all subjects in turn, once to warm up and then `rounds` times; judge the rows."""
        taken: dict[str, list[float]] = {name: [] for name in subjects}
        foreign: list[float] = []
        for turn in range(-1, self.rounds):
            start = median(timed(BARE) for _ in range(3))
            self.bare.append(start)
            for name, subject in subjects.items():
                seconds, share = self._once(subject)
                if turn >= 0:
                    taken[name].append(max(seconds - start, 1e-5) if subject.python else seconds)
                    foreign.append(share)
        return [judge(row, taken, median(foreign), unit) for row in rows]

    def _once(self, subject: Subject) -> tuple[float, float]:
        await_quiet(self.quiet)
        machine, mine, clock = busy(), self._own(), time.perf_counter()
        seconds = subject.run()
        others = (busy() - machine) - (self._own() - mine)
        return seconds, max(0.0, others) / (time.perf_counter() - clock)

    def _own(self) -> float:
        return own() + sum(map(used_by, self._servers))


def judge(row: Judged, taken: Mapping[str, Sequence[float]], foreign: float, unit: str) -> Row:
    """A row out of the seconds of each round."""
    ratios = sorted(a / b for a, b in zip(taken[row.ours], taken[row.peer], strict=True))
    count = len(ratios)
    return Row(
        row.work, row.ours, row.peer, median(taken[row.ours]), median(taken[row.peer]),
        median(ratios), ratios[count // 4], ratios[-1 - count // 4], row.target, foreign, unit,
    )  # fmt: skip
