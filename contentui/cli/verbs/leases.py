"""List the leases of a daemon, with what each keeps from garbage collection; or delete some.

The garbage collector deletes what only a deleted lease kept, ingests too: --remove shows how much
that is and asks first. Whether a client still needs its lease can't be seen: that takes --force.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from contentui.cli.arguments import add_format, add_wide
from contentui.cli.destroying import add_removing
from contentui.cli.exits import Exit
from contentui.cli.output import print_error
from contentui.content.errors import InvalidArgument
from contentui.text import human_age, visible

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from contentui.cli.context import Context
    from contentui.content.model import Lease
    from contentui.content.store import Store

EXAMPLES = """
  export CONTENTUI_STORE=unix:///run/containerd/containerd.sock
  contentui leases
  contentui leases --remove 1790-aBcD --dry-run
  contentui leases --json | jq -r 'select(.expires_at == null).lease'
"""


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_format(parser, quiet="ids only, one a line")
    add_removing(parser, "ID", "a lease")
    parser.add_argument(
        "-f",
        "--force",
        action="store_true",
        help="with --remove: also leases that a client may need, and what only they keep",
    )
    add_wide(parser)


def run(args: Namespace, context: Context) -> int:
    """List, or delete leases; returns the exit code of the first that was not deleted."""
    store = context.store()
    role = store.roles.leasing
    if role is None:
        raise InvalidArgument(
            f"{visible(store.name, 200)} has no leases: nothing there collects garbage",
            advice="name a containerd's socket with --store",
        )
    leases = role.list_leases()
    if args.remove:
        return _remove(args, context, store, leases)
    if args.quiet:
        context.out.lines(visible(lease.id) for lease in leases)
    elif args.json:
        from contentui.present.records import json_line, lease_record

        context.out.lines(json_line(lease_record(lease)) for lease in leases)
    else:
        _print(args, context, leases)
    return Exit.DONE


def _remove(args: Namespace, context: Context, store: Store, leases: list[Lease]) -> int:
    from contentui.actions.planner import Planner
    from contentui.cli.destroying import carry_out

    missing: int = Exit.DONE
    for name in dict.fromkeys(args.remove):
        if not any(lease.id == name for lease in leases):
            print_error(f"no lease {visible(name, 200)}", "'contentui leases' lists them")
            missing = Exit.NOT_FOUND
    chosen = [lease for lease in leases if lease.id in args.remove]
    if not chosen:
        return missing
    planner = Planner(store)
    plan = planner.release(chosen)
    code = carry_out(
        args,
        context,
        store,
        plan,
        confirm=plan.lost_bytes > 0,
        refresher=planner.referrer_refresher(),
    )
    return missing or code


def _print(args: Namespace, context: Context, leases: list[Lease]) -> None:
    from contentui.present.table import table, with_column

    now = time.time_ns()
    header: tuple[str, ...] = ("LEASE", "BLOBS", "INGESTS", "OTHERS", "AGE", "EXPIRES")
    rows: list[tuple[str, ...]] = [
        (
            visible(lease.id),
            f"{len(lease.blobs):,}",
            f"{len(lease.ingests):,}",
            f"{lease.others:,}",
            human_age(lease.created_ns, now),
            _expires(lease.expires_ns, now),
        )
        for lease in leases
    ]
    right: tuple[int, ...] = (1, 2, 3, 4)
    if any(lease.namespace for lease in leases):
        spaces = [visible(lease.namespace) for lease in leases]
        header, rows = with_column(header, rows, "NAMESPACE", spaces)
        right = (2, 3, 4, 5)
    width = None if args.wide else context.out.width
    context.out.lines(table(header, rows, right=right, flexible=(right[0] - 1,), width=width))


def _expires(expires_ns: int, now_ns: int) -> str:
    from contentui.text import human_duration

    if not expires_ns:
        return "never"
    left_s = (expires_ns - now_ns) / 1e9
    return f"in {human_duration(left_s)}" if left_s > 0 else "at the next collection"
