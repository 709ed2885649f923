"""What was aborted, truncated, deleted, untagged and repaired from here, newest last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
        from contentui.present.table import table

        width = None if args.wide else context.out.width
        rows = [_row(record) for record in records]
        header = ("WHEN (UTC)", "WHO", "WHAT", "NAME", "RESULT", "REASON")
        context.out.lines(table(header, rows, flexible=(5, 3), width=width))
    return Exit.DONE


def _row(record: dict[str, Any]) -> tuple[str, ...]:
    """A line of the journal, which anybody may have written: every value is made harmless."""
    from contentui.text import visible

    when = str(record.get("at") or "?")[:19].replace("T", " ")
    user, verb, name, result, reason = (
        str(record.get(key) or "") for key in ("user", "verb", "name", "result", "reason")
    )
    if space := record.get("namespace"):
        name = f"{name} ({space})"
    return tuple(visible(text) for text in (when, user, verb, name, result, reason))
