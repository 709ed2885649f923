"""``verify --ingest``: probe ingests: whether they are locked, and the digest of their bytes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from contentui.actions.probe import Finding, finding
from contentui.cli.exits import Exit, exit_for
from contentui.cli.naming import statuses_named
from contentui.cli.output import print_error, print_note
from contentui.content.errors import ContentError
from contentui.content.helpers import probe_ingest
from contentui.present.probes import probe_cost, probe_lines

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable

    from contentui.cli.context import Context
    from contentui.content.model import Probe
    from contentui.content.store import Store

_CODES = {
    Finding.POISONED: Exit.FINDINGS,
    Finding.DAMAGED: Exit.FAILED,
    Finding.HELD: Exit.LOCKED,
}


def probe_all(args: Namespace, context: Context, store: Store, refs: Iterable[str]) -> int:
    """Probe the ingest of each ref once.

    Returns:
        FINDINGS when one is poisoned; else the code of the first that is not intact and free.
    """
    statuses, code = statuses_named(store, refs)
    poisoned = False
    for status in statuses:
        if cost := probe_cost(status, garbage_collected=store.traits.garbage_collected):
            print_note(cost)
        try:
            probe = probe_ingest(store, status.id, if_match=status)
        except ContentError as error:
            print_error(error.message, error.advice)
            code = code or exit_for(error)
            continue
        found = finding(probe)
        poisoned |= found is Finding.POISONED
        code = code or _CODES.get(found, Exit.DONE)
        _print(args, context, probe, found)
    return Exit.FINDINGS if poisoned else code


def _print(args: Namespace, context: Context, probe: Probe, found: Finding) -> None:
    if args.json:
        from contentui.present.records import json_line, probe_record

        context.out.line(json_line(probe_record(probe, str(found))))
    elif not args.quiet:
        name, *lines = (line.text for line in probe_lines(probe, time.time_ns()))
        context.out.line("\n".join([name, *(f"  {line}" for line in lines)]))
    elif found is Finding.POISONED:
        from contentui.present.shell import ref_for_pipes

        context.out.line(ref_for_pipes(probe.status))
