"""One ingest in full: every field, and who holds it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from contentui.cli.arguments import add_format, ref
from contentui.cli.exits import Exit
from contentui.content.helpers import lock_holders

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from contentui.cli.context import Context

EXAMPLES = """
  contentui status layer-1
  contentui status id:5d41402abc4b2a76b9719d911017c592... --json
"""


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_format(parser)
    parser.add_argument("ref", metavar="REF", type=ref, help="the ingest's ref, or id:HEX")


def run(args: Namespace, context: Context) -> int:
    """Print the ingest."""
    store = context.store()
    status = store.status(args.ref)
    holders = lock_holders(store, (status.id,))
    if args.json:
        from contentui.present.records import held_record, json_line

        context.out.line(json_line(held_record(status, holders)))
    else:
        from contentui.present.detail import record_lines, status_fields

        context.out.lines(record_lines(status_fields(status, holders, time.time_ns())))
    return Exit.DONE
