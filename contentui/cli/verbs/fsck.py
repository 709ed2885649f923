"""Check a directory for what crashes, other programs and failing disks leave there.

Finds labels without blobs, half-made and orphaned files, wrong modes, stale and contradictory
ownership marks, damaged databases and image names without content. Checking changes nothing;
--repair shows what it would do and asks. Both are safe while others use the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.cli.arguments import add_format, add_wide
from contentui.cli.destroying import is_confirmed
from contentui.cli.exits import Exit
from contentui.cli.output import print_error, print_note
from contentui.cli.progress import ProgressLine, add_progress, mode_for
from contentui.content.errors import InvalidArgument, ReadOnly
from contentui.text import visible

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterable, Iterator, Sequence

    from contentui.cli.context import Context
    from contentui.stores.directory import Finding, LocalStore, Repaired

EXAMPLES = """
  contentui fsck
  contentui fsck --verify                reads all blobs as well
  contentui fsck --repair --dry-run
  contentui fsck --repair --yes          in scripts; ends with 3 when something remains
"""

_SHOWN = 50


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_format(parser, quiet="names only, one a line")
    parser.add_argument("--repair", action="store_true", help="repair what can be repaired")
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="with --repair: print the plan, do nothing"
    )
    parser.add_argument("-y", "--yes", action="store_true", help="with --repair: don't ask")
    parser.add_argument(
        "--verify", action="store_true", help="read all blobs and compare their digests"
    )
    add_wide(parser)
    add_progress(parser)


def run(args: Namespace, context: Context) -> int:
    """Check, and repair; the exit code is that of what remains.

    Raises:
        FailedPrecondition: the store is no directory.
        ReadOnly: it must not be repaired from here.
    """
    from contentui.cli.signals import interruptible
    from contentui.stores.directory import checkable

    if (args.dry_run or args.yes) and not args.repair:
        raise InvalidArgument("--dry-run and --yes need --repair: a check changes nothing")
    store = checkable(context.store())
    if args.repair and (reason := store.traits.read_only_reason):
        raise ReadOnly(f"{visible(store.name)} is read-only here", advice=reason)
    with interruptible():
        findings = _found(args, store)
        if not args.repair or args.dry_run or not any(finding.repair for finding in findings):
            _show(args, context, findings)
            return _code(findings)
        if not args.yes and not _agreed(findings):
            print_error("nothing was done")
            return Exit.FAILED
        return _repair(args, context, store, findings)


def _found(args: Namespace, store: LocalStore) -> list[Finding]:
    from contentui.stores.directory import check, check_bytes

    findings = check(store)
    if args.verify:
        total = sum(info.size for info in store.walk())
        mode = mode_for(args.progress or ("none" if args.quiet else None))
        with ProgressLine("verify", total, mode) as progress:
            findings += check_bytes(store, progress)
    return findings


def _code(remaining: Iterable[Finding]) -> int:
    """Findings count more than what could not be checked."""
    from contentui.stores.directory import Kind

    kinds = {finding.kind for finding in remaining}
    if kinds - {Kind.UNCHECKED}:
        return Exit.FINDINGS
    return Exit.FAILED if kinds else Exit.DONE


def _show(args: Namespace, context: Context, findings: Sequence[Finding]) -> None:
    if args.json:
        from contentui.actions.records import finding_to_json
        from contentui.present.records import json_line

        context.out.lines(json_line(finding_to_json(finding)) for finding in findings)
        return
    if args.quiet:
        context.out.lines(visible(finding.name) for finding in findings)
        return
    if not findings:
        print_note("nothing found")
        return
    context.out.lines(_table(findings, None if args.wide else context.out.width))
    able = sum(bool(finding.repair) for finding in findings)
    found = f"{len(findings)} finding{'' if len(findings) == 1 else 's'}"
    print_note(f"{found}, {able or 'none'} of which can be repaired here")


def _table(findings: Iterable[Finding], width: int | None) -> Iterator[str]:
    from contentui.present.table import table

    rows = [
        (
            str(finding.kind),
            visible(finding.name, 400),
            finding.problem,
            finding.repair or (f"(by hand: {visible(finding.advice)})" if finding.advice else ""),
        )
        for finding in findings
    ]
    return table(("KIND", "NAME", "PROBLEM", "REPAIR"), rows, flexible=(3, 2, 1), width=width)


def _agreed(findings: Sequence[Finding]) -> bool:
    """Whether a person at the terminal confirms. Raises InvalidArgument without a terminal."""
    able = [finding for finding in findings if finding.repair]
    lines = []
    for finding in able[:_SHOWN]:
        lines.append(f"  {visible(finding.name, 400)}: {finding.problem}")
        lines.append(f"    {finding.repair}")
    if len(able) > _SHOWN:
        lines.append(f"  and {len(able) - _SHOWN} more")
    findings_text = f"{len(able)} finding{'' if len(able) == 1 else 's'}"
    return is_confirmed(f"repair {findings_text}", lines, preview="--repair --dry-run")


def _repair(
    args: Namespace, context: Context, store: LocalStore, findings: Sequence[Finding]
) -> int:
    from contentui.actions.journal import Journal
    from contentui.actions.repair import repair

    journal = Journal()
    remaining = [finding for finding in findings if not finding.repair]
    try:
        outcomes = repair(
            store, findings, journal=journal, report=lambda outcome: _tell(args, context, outcome)
        )
    except KeyboardInterrupt:
        print_error("interrupted: the other findings are left alone", "check again")
        raise
    finally:
        if journal.problem:
            print_error(f"the outcome is not recorded: {journal.problem}")
    for finding in remaining:
        _tell_remaining(args, context, finding)
    remaining += [outcome.finding for outcome in outcomes if outcome.remains]
    return _code(remaining)


def _tell(args: Namespace, context: Context, outcome: Repaired) -> None:
    name = visible(outcome.finding.name, 400)
    if args.json:
        from contentui.actions.records import repaired_to_json
        from contentui.present.records import json_line

        context.out.line(json_line(repaired_to_json(outcome)))
    elif outcome.result == "done":
        context.out.line(name)
    else:
        advice = outcome.error.advice if outcome.error else ""
        print_error(f"{name}: {outcome.result}: {visible(outcome.reason, 2000)}", advice)


def _tell_remaining(args: Namespace, context: Context, finding: Finding) -> None:
    if args.json:
        from contentui.actions.records import finding_to_json
        from contentui.present.records import json_line

        record = {**finding_to_json(finding), "result": "left", "reason": "no repair from here"}
        context.out.line(json_line(record))
    else:
        print_error(f"{visible(finding.name, 400)}: {finding.problem}", finding.advice)
