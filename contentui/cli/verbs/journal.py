"""What was aborted, deleted, repaired and so on from here, newest last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.cli.arguments import add_format, add_wide
from contentui.cli.exits import Exit
from contentui.cli.output import print_error

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from contentui.cli.context import Context

EXAMPLES = """
  contentui journal
  contentui journal -n 1000 --json | jq 'select(.result == "done")'
"""


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_format(parser)
    parser.add_argument(
        "-n", "--lines", metavar="COUNT", type=int, default=20, help="how many (default: 20)"
    )
    add_wide(parser)


def run(args: Namespace, context: Context) -> int:
    """Print the journal's end."""
    from contentui.actions.journal import Journal

    journal = Journal()
    records = journal.tail(max(args.lines, 0))
    if journal.problem:
        print_error(journal.problem)
        return Exit.FAILED
    if args.json:
        from contentui.present.records import json_line

        context.out.lines(map(json_line, records))
    else:
        from contentui.present.journal import journal_entry
        from contentui.present.table import table

        width = None if args.wide else context.out.width
        rows = [
            (entry.at, entry.user, entry.verb, entry.name, entry.result, entry.reason)
            for entry in map(journal_entry, records)
        ]
        header = ("WHEN (UTC)", "WHO", "WHAT", "NAME", "RESULT", "REASON")
        context.out.lines(table(header, rows, flexible=(5, 3), width=width))
    return Exit.DONE
