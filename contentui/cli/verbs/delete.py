"""Remove blobs: named ones at once, a selection after a question.

A blob that something needs stays, unless what needs it is deleted by the same command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.cli.arguments import add_filters, digest
from contentui.cli.destroying import add_destroying, carry_out, check_choice
from contentui.cli.exits import Exit
from contentui.cli.output import print_error

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterable, Mapping

    from contentui.cli.context import Context
    from contentui.content.digest import Digest
    from contentui.content.model import Info

EXAMPLES = """
  contentui delete sha256:84ff92...
  contentui list -q | xargs contentui delete       empties the store, without a question
  contentui delete --match 'labels.team==web' --dry-run
  contentui delete sha256:84ff92... --force          although a manifest needs it
"""


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("digests", metavar="DIGEST", type=digest, nargs="*")
    add_filters(parser, "labels.team==web")
    add_destroying(parser, "blobs that something needs, or for which that can't be known")


def run(args: Namespace, context: Context) -> int:
    """Delete; the code is that of the first blob that was not."""
    from contentui.actions.planner import Planner

    selected = bool(args.match)
    check_choice(args.digests, selected, "blobs")
    if selected:
        from contentui.cli.selection import check_digest_filters

        check_digest_filters(args.match)
    store = context.store()
    there = {info.digest: info for info in store.walk()}
    if selected:
        chosen, missing = _matching(there, args.match), 0
    else:
        chosen, missing = _named(there, args.digests)
    planner = Planner(store)
    plan = planner.delete(chosen, listed=there.values())
    code = carry_out(
        args, context, store, plan, confirm=selected, refresher=planner.referrer_refresher()
    )
    return missing or code


def _matching(there: Mapping[Digest, Info], filters: list[str]) -> list[Info]:
    from contentui.content.filters import info_filter

    matches = info_filter(filters)
    return [info for info in there.values() if matches is None or matches(info)]


def _named(there: Mapping[Digest, Info], names: Iterable[Digest]) -> tuple[list[Info], int]:
    """The blobs of these digests, and the code when one isn't there."""
    chosen: list[Info] = []
    code: int = Exit.DONE
    for name in dict.fromkeys(names):
        if name in there:
            chosen.append(there[name])
        else:
            print_error(f"there is no blob {name}")
            code = Exit.NOT_FOUND
    return chosen, code
