"""Remove ingests and their bytes: named ones at once, a selection after a question."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from contentui.cli.arguments import add_filters, duration, ref
from contentui.cli.destroying import add_destroying, carry_out, check_choice
from contentui.cli.naming import statuses_named
from contentui.content.errors import InvalidArgument

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from contentui.actions.facts import IngestFacts
    from contentui.actions.planner import Planner
    from contentui.cli.context import Context
    from contentui.content.store import Store

EXAMPLES = """
  contentui abort layer-1 upload-7
  contentui abort --abandoned --dry-run
  contentui abort --stalled-for 10m --match 'ref~=^layer-' --yes
  contentui abort id:2c26b46b68ffc68f... --force     although a writer holds it
"""

_SECOND_LOOK_S = 0.5


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("refs", metavar="REF", type=ref, nargs="*", help="a ref, or id:HEX")
    add_filters(parser, "ref~=^layer-")
    parser.add_argument(
        "--stalled-for",
        metavar="TIME",
        type=duration,
        help="select what got no byte for so long (10m, 2h), held or not",
    )
    parser.add_argument(
        "--abandoned",
        action="store_true",
        help="select incomplete ones that are silent (30s, or --stalled-for) and not held",
    )
    add_destroying(parser, "ingests that a live writer holds: its commit will fail")


def run(args: Namespace, context: Context) -> int:
    """Abort; the code is that of the first ingest that was not."""
    from contentui.actions.planner import Planner

    selected = bool(args.match or args.abandoned or args.stalled_for is not None)
    check_choice(args.refs, selected, "ingests")
    if args.stalled_for is not None and args.stalled_for <= 0:
        raise InvalidArgument("--stalled-for 0 would select everything")
    missing = 0
    if selected:
        from contentui.cli.selection import check_ref_filters

        check_ref_filters(args.match)
        store = context.store()
        planner = Planner(store)
        facts = _selected(args, store, planner)
    else:
        store = context.store()
        planner = Planner(store)
        statuses, missing = statuses_named(store, args.refs)
        facts = planner.facts(statuses)
    code = carry_out(args, context, store, planner.abort(facts), confirm=selected)
    return missing or code


def _selected(args: Namespace, store: Store, planner: Planner) -> list[IngestFacts]:
    from contentui.cli.selection import ABANDONED_AFTER_S, is_abandoned, is_silent

    by_silence = args.abandoned or args.stalled_for is not None
    statuses = store.statuses(args.match)
    facts = planner.facts(statuses, second_look_s=_SECOND_LOOK_S if by_silence else None)
    if not by_silence:
        return facts
    now = time.time_ns()
    silence = ABANDONED_AFTER_S if args.stalled_for is None else args.stalled_for
    chosen = is_abandoned if args.abandoned else is_silent
    return [fact for fact in facts if chosen(fact, silence, now)]
