"""What abort, truncate, delete and ``images --remove`` share: plan, confirmation, run, outcomes."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from contentui.cli.exits import Exit, exit_for
from contentui.cli.output import print_error, print_note
from contentui.content.errors import InvalidArgument

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterable, Sequence

    from contentui.actions.model import Outcome, Plan
    from contentui.cli.context import Context
    from contentui.content.store import Store
    from contentui.index.refresher import ReferrerRefresher

_FORCE_HINT = "what is held, needed, unknown or takes others along is refused without --force"


def add_destroying(parser: ArgumentParser, forced: str, *, selects: bool = True) -> None:
    """``--dry-run``, ``--force``, ``--json``, and ``--yes`` for verbs that take selections."""
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="print the plan and do nothing"
    )
    parser.add_argument("-f", "--force", action="store_true", help=f"also {forced}")
    if selects:
        parser.add_argument("-y", "--yes", action="store_true", help="don't ask about a selection")
    parser.add_argument("--json", action="store_true", help="JSON lines (fields: docs/json.md)")


def add_removing(parser: ArgumentParser, metavar: str, what: str) -> None:
    """``--remove`` of a verb that lists otherwise, with ``--dry-run`` and ``--yes``."""
    parser.add_argument(
        "--remove", metavar=metavar, action="append", help=f"remove {what}; repeatable"
    )
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="with --remove: print the plan and do nothing"
    )
    parser.add_argument(
        "-y", "--yes", action="store_true", help="with --remove: don't ask, even if content goes"
    )


def check_choice(names: Sequence[object], selecting: bool, what: str) -> None:
    """Check that there are either arguments or a selection.

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
    confirm: bool = False,
    refresher: ReferrerRefresher | None = None,
) -> int:
    """Print the plan (``--dry-run``) or run it, with ``confirm`` only after a question.

    Returns:
        The exit code of the first item that was not done.

    Raises:
        InvalidArgument: a question is necessary and there is no terminal.
    """
    if args.dry_run:
        return _show(args, context, plan)
    if not plan.steps:
        if confirm:
            print_note("nothing matches: nothing was done")
        return Exit.DONE
    if confirm and not args.yes and not _plan_confirmed(args, plan):
        print_error("nothing was done")
        return Exit.FAILED
    return _run(args, context, store, plan, refresher)


def is_confirmed(
    action: str, lines: Iterable[str], *, preview: str = "--dry-run", effect: str = ""
) -> bool:
    """Print ``lines`` and ask on the terminal whether to do ``action`` (``delete 3 blobs``).

    ``effect``: what is lost, for the error without a terminal.

    Raises:
        InvalidArgument: there is no terminal; the advice names ``preview`` and ``--yes``.
    """
    if sys.stdin is None or sys.stderr is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InvalidArgument(
            f"{action}{effect}: this needs a confirmation, and there is no terminal to ask on",
            advice=f"look at {preview}, then give --yes",
        )
    for line in lines:
        print_note(line)
    sys.stderr.write(f"{action[0].upper()}{action[1:]}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _run(
    args: Namespace,
    context: Context,
    store: Store,
    plan: Plan,
    refresher: ReferrerRefresher | None,
) -> int:
    """Run the plan; a signal ends it after the current item is recorded and printed."""
    from contentui.actions.journal import Journal
    from contentui.actions.model import Concern
    from contentui.actions.run import run
    from contentui.cli.signals import Signalled, interruptible

    journal = Journal()
    allow = frozenset(Concern) if args.force else frozenset[Concern]()
    printer = _OutcomePrinter(args, context, plan)
    try:
        with interruptible():
            run(
                store,
                plan,
                allow=allow,
                journal=journal,
                report=printer,
                referrers=refresher,
                unreferenced=None if refresher is None else refresher.unreferenced,
            )
    except Signalled:
        left = len(plan.steps) - printer.count
        print_error(f"interrupted: {left} more of {len(plan.steps)} were not touched")
        raise
    finally:
        if journal.problem:
            print_error(f"the outcome is not recorded: {journal.problem}")
    return printer.code


def _show(args: Namespace, context: Context, plan: Plan) -> int:
    from contentui.present import plans

    if args.json:
        from contentui.present.records import json_line

        context.out.lines(json_line(plans.step_record(step, plan)) for step in plan.steps)
    else:
        context.out.lines(line.text for line in plans.plan_lines(plan, time.time_ns()))
        if plan.concerns and not args.force:
            print_note(_FORCE_HINT)
    return Exit.DONE


def _plan_confirmed(args: Namespace, plan: Plan) -> bool:
    """Whether a person at the terminal confirms. Raises InvalidArgument without a terminal."""
    from contentui.present import plans

    lines = [line.text for line in plans.plan_lines(plan, time.time_ns(), summary=True)]
    if plan.concerns and not args.force:
        lines.append(_FORCE_HINT)
    action = f"{plan.verb} {plans.count_text(plan.verb, len(plan.steps))}"
    return is_confirmed(action, lines, effect=f", {plans.lost_text(plan)} lost")


class _OutcomePrinter:
    """Prints each outcome when it is known; remembers the exit code of the first not done."""

    def __init__(self, args: Namespace, context: Context, plan: Plan) -> None:
        self._json = args.json
        self._out = context.out
        self._plan = plan
        self.code: int = Exit.DONE
        self.count = 0

    def __call__(self, outcome: Outcome) -> None:
        from contentui.actions.model import Result
        from contentui.present import plans

        self.count += 1
        if outcome.result is not Result.DONE:
            self.code = self.code or _code(outcome)
        if self._json:
            from contentui.present.records import json_line

            self._out.lines((json_line(plans.outcome_record(outcome, self._plan)),))
        elif outcome.result is Result.DONE:
            from contentui.text import visible

            self._out.lines((visible(outcome.step.name),))
        else:
            print_error(plans.outcome_line(outcome).text)


def _code(outcome: Outcome) -> Exit:
    if outcome.error is not None:
        return exit_for(outcome.error)
    if outcome.step.holder is not None:
        return Exit.LOCKED
    return Exit.FAILED
