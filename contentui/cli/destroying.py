"""What abort, truncate and delete share: show the plan, ask, act, tell each outcome."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from contentui.actions.describe import describe_outcome, describe_plan
from contentui.actions.model import Concern, Result
from contentui.actions.run import run
from contentui.cli.exits import Exit, exit_for
from contentui.cli.output import print_error, print_note
from contentui.content.errors import InvalidArgument

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Sequence

    from contentui.actions.model import Outcome, Plan
    from contentui.cli.context import Context
    from contentui.content.digest import Digest
    from contentui.content.store import Store
    from contentui.index.model import Referrer

_SHOWN = 50


def add_destroying(parser: ArgumentParser, forced: str, *, selects: bool = True) -> None:
    """``--dry-run``, ``--force``, ``--json``, and ``--yes`` where selections are."""
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="print the plan and do nothing"
    )
    parser.add_argument("-f", "--force", action="store_true", help=f"also {forced}")
    if selects:
        parser.add_argument("-y", "--yes", action="store_true", help="don't ask about a selection")
    parser.add_argument("--json", action="store_true", help="JSON lines (fields: docs/json.md)")


def check_choice(names: Sequence[object], selecting: bool, what: str) -> None:
    """Arguments or a selection, one of them.

    Raises:
        InvalidArgument: neither, or both.
    """
    if names and selecting:
        raise InvalidArgument(f"name {what} or select them, not both")
    if not names and not selecting:
        raise InvalidArgument(f"no {what} named", advice=f"name some, or select {what} by --match")


def carry_out(
    args: Namespace,
    context: Context,
    store: Store,
    plan: Plan,
    *,
    selected: bool = False,
    needs: Callable[[Digest], tuple[Referrer, ...] | None] | None = None,
) -> int:
    """Show the plan, or do it: at once for what was named, after a yes for a selection.

    Returns:
        The code of the first thing that was not done.
    """
    if args.dry_run:
        return _show(args, context, plan)
    if not plan.steps:
        if selected:
            print_note("nothing matches: nothing was done")
        return Exit.DONE
    if selected and not args.yes and not _agreed(args, plan):
        print_error("nothing was done")
        return Exit.FAILED
    return _run(args, context, store, plan, needs)


def _run(
    args: Namespace,
    context: Context,
    store: Store,
    plan: Plan,
    needs: Callable[[Digest], tuple[Referrer, ...] | None] | None,
) -> int:
    """Do the plan; a signal ends it once the item at hand is noted and told."""
    from contentui.actions.journal import Journal
    from contentui.cli.signals import Signalled, interruptible

    journal = Journal()
    allow = frozenset(Concern) if args.force else frozenset[Concern]()
    teller = _Teller(args, context)
    try:
        with interruptible():
            run(store, plan, allow=allow, journal=journal, report=teller, needs=needs)
    except Signalled:
        untold = len(plan.steps) - len(teller.told)
        print_error(f"interrupted: {untold} more of {len(plan.steps)} are left alone")
        raise
    finally:
        if journal.problem:
            print_error(f"the outcome is not noted: {journal.problem}")
    return teller.code


def _show(args: Namespace, context: Context, plan: Plan) -> int:
    if args.json:
        from contentui.actions.records import step_to_json
        from contentui.present.records import json_line

        context.out.lines(json_line(step_to_json(step)) for step in plan.steps)
    else:
        context.out.lines(line.text for line in describe_plan(plan, time.time_ns()))
        if plan.concerns and not args.force:
            print_note("what is held, needed or unknown is refused without --force")
    return Exit.DONE


def _agreed(args: Namespace, plan: Plan) -> bool:
    """Whether a person at the terminal says yes.

    Raises:
        InvalidArgument: nobody is there to ask.
    """
    if sys.stdin is None or sys.stderr is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InvalidArgument(
            f"{plan.verb} {len(plan.steps)} selected ones? Nobody can answer",
            advice="look at --dry-run, then give --yes",
        )
    for line in describe_plan(plan, time.time_ns(), limit=_SHOWN):
        print_note(line.text)
    if plan.concerns and not args.force:
        print_note("What is held, needed or unknown is refused without --force.")
    sys.stderr.write(f"{str(plan.verb).capitalize()} {len(plan.steps)}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


class _Teller:
    """Prints each outcome as it comes; keeps the code of the first thing not done."""

    def __init__(self, args: Namespace, context: Context) -> None:
        self._json = args.json
        self._out = context.out
        self.code: int = Exit.DONE
        self.told: set[str] = set()

    def __call__(self, outcome: Outcome) -> None:
        self.told.add(outcome.step.name)
        if outcome.result is not Result.DONE:
            self.code = self.code or _code(outcome)
        if self._json:
            from contentui.actions.records import outcome_to_json
            from contentui.present.records import json_line

            self._out.lines((json_line(outcome_to_json(outcome)),))
        elif outcome.result is Result.DONE:
            from contentui.text import visible

            self._out.lines((visible(outcome.step.name),))
        else:
            print_error(describe_outcome(outcome).text)


def _code(outcome: Outcome) -> Exit:
    if outcome.error is not None:
        return exit_for(outcome.error)
    if outcome.step.holder is not None:
        return Exit.LOCKED
    return Exit.FAILED
