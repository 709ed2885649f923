"""List the ingests: ref, bytes received and expected, age since the start, state."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from contentui.cli.arguments import add_filters, add_format, add_wide, duration, interval
from contentui.cli.exits import Exit
from contentui.content.helpers import lock_holders

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence

    from contentui.cli.context import Context
    from contentui.content.model import Status
    from contentui.content.store import Store

EXAMPLES = """
  watch -n0.2 contentui active
  contentui active --match 'ref~=^layer-'
  contentui active --verdict                  moving, stalled, abandoned...
  contentui active --watch --json             changes as they happen
  contentui active -q | xargs contentui abort
"""

_HEADER = ("REF", "OFFSET", "TOTAL", "AGE", "STATE")


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_format(
        parser, quiet="refs only, one a line; id:HEX for those that a pipe to xargs would split"
    )
    add_filters(parser, "ref~=^layer-")
    parser.add_argument(
        "--verdict",
        action="store_true",
        help="read twice, and print the state: moving, stalled, abandoned...",
    )
    parser.add_argument(
        "--stalled-after",
        metavar="TIME",
        type=duration,
        help="silence after which a held ingest is stalled (default: 30s; 2m in a containerd's)",
    )
    parser.add_argument(
        "--watch", action="store_true", help="keep running: one line for each change"
    )
    parser.add_argument(
        "--interval",
        metavar="TIME",
        type=interval,
        default=1.0,
        help="how often to look with --watch (default: 1s)",
    )
    add_wide(parser)


def run(args: Namespace, context: Context) -> int:
    """Print the ingests."""
    store = context.store()
    if args.watch:
        from contentui.cli.watching import watch

        return watch(args, context, store)
    if args.verdict and not args.quiet:
        from contentui.cli.watching import print_verdicts

        print_verdicts(args, context, store)
        return Exit.DONE
    statuses = store.statuses(args.match)
    statuses.sort(key=lambda status: (status.ref, status.namespace, status.id))
    if args.quiet:
        from contentui.present.shell import refs_for_pipes

        context.out.lines(refs_for_pipes(statuses))
    elif args.json:
        _print_json(context, store, statuses)
    else:
        _print_columns(args, context, store, statuses)
    return Exit.DONE


def _print_json(context: Context, store: Store, statuses: Sequence[Status]) -> None:
    from contentui.present.records import held_record, json_line

    holders = lock_holders(store, (status.id for status in statuses))
    context.out.lines(json_line(held_record(status, holders)) for status in statuses)


def _print_columns(
    args: Namespace, context: Context, store: Store, statuses: Sequence[Status]
) -> None:
    from contentui.content.model import ref_argument
    from contentui.present.table import table, with_column
    from contentui.present.texts import state_text, total_text
    from contentui.text import human_age, human_size, visible

    holders = lock_holders(store, (status.id for status in statuses))
    now = time.time_ns()
    rows: list[tuple[str, ...]] = [
        (
            visible(status.ref or ref_argument(status)),
            human_size(status.offset),
            total_text(status),
            human_age(status.started_ns, now),
            state_text(status, holders, now),
        )
        for status in statuses
    ]
    width = None if args.wide else context.out.width
    right: tuple[int, ...] = (1, 2, 3)
    header: tuple[str, ...] = _HEADER
    flexible: tuple[int, ...] = (0, 4)
    if any(status.namespace for status in statuses):
        spaces = [visible(status.namespace) for status in statuses]
        header, rows = with_column(header, rows, "NAMESPACE", spaces)
        right, flexible = (2, 3, 4), (1, 5)
    context.out.lines(table(header, rows, right=right, flexible=flexible, width=width))
