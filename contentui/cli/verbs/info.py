"""One blob in full: size, times, every label."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from contentui.cli.arguments import add_format, digest
from contentui.cli.exits import Exit

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from contentui.cli.context import Context

EXAMPLES = """
  contentui info sha256:e3b0c442...
  contentui info sha256:e3b0c442... --json | jq .labels
"""


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_format(parser)
    parser.add_argument("digest", metavar="DIGEST", type=digest)


def run(args: Namespace, context: Context) -> int:
    """Print the blob."""
    info = context.store().info(args.digest)
    if args.json:
        from contentui.present.records import info_record, json_line

        context.out.line(json_line(info_record(info)))
    else:
        from contentui.present.detail import info_fields, record_lines

        context.out.lines(record_lines(info_fields(info, time.time_ns())))
    return Exit.DONE
