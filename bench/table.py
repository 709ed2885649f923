"""The results as a table, for a terminal and for the documents that hold it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from bench.measure import Figure, Row, Skipped
from bench.work import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.measure import Bench

DOCS = Path(__file__).parent.parent / "docs"


class Place(NamedTuple):
    """Where results are kept: between two marks of a document."""

    document: Path
    begin: str
    end: str


USUAL = Place(DOCS / "performance.md", "<!-- bench: begin -->", "<!-- bench: end -->")
PLACES = {
    "pull": Place(DOCS / "pull.md", "<!-- speed table -->", "<!-- end of speed table -->"),
}
"""Where the results of a theme stand instead."""
HEAD: tuple[str, ...] = (
    "work",
    "ours",
    "peer",
    "ours, ms",
    "peer, ms",
    "ratio",
    "quartiles",
    "at most",
    "reached",
    "others",
)


def words(seconds: float) -> str:
    """Milliseconds with three digits."""
    value = seconds * 1000
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def cells(row: Row | Figure | Skipped) -> tuple[str, ...]:
    """A line of the table."""
    if isinstance(row, Skipped):
        return (row.work, "not measured: " + row.reason, *[""] * (len(HEAD) - 2))
    if isinstance(row, Figure):
        value = f"{row.value:.3g} {row.unit}"
        limit = f"{row.limit:g} {row.unit}"
        reached = "yes" if row.reached else "**no**"
        return (row.work, row.ours, row.note, value, "", "", "", limit, reached, "")
    reached = {True: "yes", False: "**no**", None: ""}[row.reached]
    return (
        row.work, row.ours, row.peer, words(row.ours_s), words(row.peer_s), f"{row.ratio:.3f}",
        f"{row.low:.3f}–{row.high:.3f}", "" if row.target is None else f"{row.target:g}", reached,
        f"{row.foreign:.0%}",
    )  # fmt: skip


def markdown(rows: Sequence[Row | Figure | Skipped]) -> str:
    """All results as one Markdown table."""
    lines = [HEAD, tuple("---" for _ in HEAD), *map(cells, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def version(*argv: str) -> str:
    """The first line that a program prints about itself."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except OSError:
        return f"no {argv[0]}"
    return (done.stdout.splitlines() or [""])[0]


def preamble(bench: Bench) -> str:
    """Where and with what it was measured."""
    system = version("stat", "-f", "-c", "%T", str(ROOT))
    start = f", a bare interpreter starts in {median(bench.bare or [0]) * 1000:.1f} ms"
    facts = [
        f"{os.cpu_count()} CPUs, Linux {platform.release()}, {system}",
        f"Python {platform.python_version()}{start}",
        version("ctr", "--version"),
        version("openssl", "version"),
        "Debian's " + version("go", "version"),
        "current " + version(str(ROOT / "go/go/bin/go"), "version"),
        f"{bench.rounds} rounds" + ", a quick run with smaller amounts" * bench.quick,
    ]
    return "\n".join(f"* {fact}" for fact in facts)


def write(text: str, place: Place = USUAL) -> None:
    """Put results between the marks of a document."""
    old = place.document.read_text()
    before, mark, rest = old.partition(place.begin)
    _, other, after = rest.partition(place.end)
    if not mark or not other:
        sys.exit(f"{place.document} has no marks for the table")
    place.document.write_text(f"{before}{place.begin}\n{text}\n{place.end}{after}")
    print(f"written to {place.document}", file=sys.stderr)
