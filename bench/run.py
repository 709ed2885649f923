"""The benchmarks' command: ``python -m bench.run [THEME...] [--rounds N] [--quick] [--write]``."""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import TYPE_CHECKING

from bench import table
from bench.measure import Bench, Failed, Figure, Row, Skipped
from bench.peers import Missing
from bench.work import Work

if TYPE_CHECKING:
    from collections.abc import Iterator

    Result = Row | Figure | Skipped

THEMES = (
    "ingest", "small", "listing", "status", "screen", "bandwidth", "idle",
    "grpc_large", "grpc_small", "grpc_image", "grpc_poll", "grpc_memory", "pull",
)  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument(
        "themes", nargs="*", metavar="THEME", help=", ".join(THEMES) + " (default: all)"
    )
    parser.add_argument(
        "--rounds", type=int, default=7, help="measured rounds after one to warm up"
    )
    parser.add_argument(
        "--quick", action="store_true", help="smaller amounts: to see that it works"
    )
    parser.add_argument("--quiet", type=float, default=10.0, metavar="SECONDS",
                        help="how long to wait for an idle machine before each run")  # fmt: skip
    parser.add_argument(
        "--write",
        action="store_true",
        help="put the tables into docs/performance.md and docs/pull.md",
    )
    options = parser.parse_args()
    if unknown := set(options.themes) - set(THEMES):
        parser.error(f"no such theme: {', '.join(sorted(unknown))}")
    return options


def results(bench: Bench, work: Work, themes: list[str]) -> Iterator[tuple[table.Place, Result]]:
    """All rows of the themes, and where they go; a theme that fails is a row with its error."""
    for theme in themes:
        print(f"{theme} …", file=sys.stderr)
        place = table.PLACES.get(theme, table.USUAL)
        try:
            for row in importlib.import_module(f"bench.{theme}").measure(bench, work):
                yield place, row
        except (Failed, Missing, ImportError) as error:
            yield place, Skipped(theme, str(error).replace("\n", " "))


def main() -> None:
    options = arguments()
    bench = Bench(options.rounds, quick=options.quick, quiet=options.quiet)
    rows: dict[table.Place, list[Result]] = {}
    with Work() as work:
        for place, row in results(bench, work, options.themes or list(THEMES)):
            rows.setdefault(place, []).append(row)
            print(" | ".join(table.cells(row)), file=sys.stderr)
    for place, some in rows.items():
        text = f"{table.preamble(bench)}\n\n{table.markdown(some)}"
        print(text)
        if options.write:
            table.write(text, place)


if __name__ == "__main__":
    main()
