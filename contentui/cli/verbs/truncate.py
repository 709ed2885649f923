"""Drop the bytes of an idle ingest and keep the ingest: its next writer starts at zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.cli.arguments import ref
from contentui.cli.destroying import add_destroying, carry_out
from contentui.cli.naming import statuses_named

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from contentui.cli.context import Context

EXAMPLES = """
  contentui truncate layer-1
  contentui truncate layer-1 --dry-run
"""


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("refs", metavar="REF", type=ref, nargs="+", help="a ref, or id:HEX")
    add_destroying(parser, "when it can't be known whether a writer is live", selects=False)


def run(args: Namespace, context: Context) -> int:
    """Truncate; the code is that of the first ingest that was not."""
    from contentui.actions.planner import Planner

    store = context.store()
    statuses, missing = statuses_named(store, args.refs)
    planner = Planner(store)
    plan = planner.truncate(planner.facts(statuses))
    code = carry_out(args, context, store, plan)
    return missing or code
