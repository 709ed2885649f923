"""Read blobs and compare them with their digests; without arguments all of them.

--ingest asks for an ingest's lock instead, and what its bytes are so far: held since when and by
whom, or free, resumable, complete and right, or poisoned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.cli.arguments import add_format, digest, ref
from contentui.cli.exits import Exit, exit_for
from contentui.cli.output import print_error
from contentui.cli.progress import ProgressLine, add_progress, mode_for
from contentui.content.errors import ContentError

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterable

    from contentui.cli.context import Context
    from contentui.content.digest import Digest
    from contentui.content.model import Info
    from contentui.content.store import Store

EXAMPLES = """
  contentui verify
  contentui verify -q | xargs -r contentui delete       removes what is altered
  contentui verify sha256:84ff92... --json
  contentui verify --ingest layer-1                     is a writer live, are its bytes right?
"""


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_format(parser, quiet="the digests of altered blobs only (refs with --ingest), one a line")
    parser.add_argument("digests", metavar="DIGEST", type=digest, nargs="*")
    parser.add_argument(
        "--ingest",
        metavar="REF",
        action="append",
        type=ref,
        default=[],
        help="ask once for this ingest's lock and read its bytes; repeatable",
    )
    add_progress(parser)


def run(args: Namespace, context: Context) -> int:
    """Read the blobs; the exit code is FINDINGS when one is altered."""
    from contentui.cli.signals import interruptible

    store = context.store()
    with interruptible():
        probed: int = Exit.DONE
        if args.ingest:
            from contentui.cli.probing import probe_all

            probed = probe_all(args, context, store, args.ingest)
            if not args.digests:
                return probed
        infos, missing = _chosen(store, args.digests)
        total = sum(info.size for info in infos)
        with ProgressLine("verify", total, mode_for(args.progress)) as progress:
            findings, failed = _verify_all(args, context, store, infos, progress)
    if findings:
        print_error(f"{findings} of {len(infos)} blobs do not match their digests")
        return Exit.FINDINGS
    return Exit.FINDINGS if probed == Exit.FINDINGS else missing or failed or probed


def _chosen(store: Store, names: Iterable[Digest]) -> tuple[list[Info], int]:
    """The blobs to read, and the code of the first one that isn't there."""
    names = list(dict.fromkeys(names))
    if not names:
        return list(store.walk()), Exit.DONE
    found, code = [], Exit.DONE
    for name in names:
        try:
            found.append(store.info(name))
        except ContentError as error:
            print_error(error.message, error.advice)
            code = code or exit_for(error)
    return found, code


def _verify_all(
    args: Namespace, context: Context, store: Store, infos: list[Info], progress: ProgressLine
) -> tuple[int, int]:
    """How many are altered, and the code of the first one that could not be read."""
    from contentui.content.helpers import verify_blobs

    findings = 0
    failed: int = Exit.DONE
    for info, ok, error in verify_blobs(store, infos, progress):
        findings += ok is False
        if ok is None and error is not None:
            failed = failed or exit_for(error)
        _print(args, context, info, ok, "" if error is None else error.message)
    return findings, failed


def _print(args: Namespace, context: Context, info: Info, ok: bool | None, problem: str) -> None:
    """``ok`` None: it could not be read, which is no reason to delete it."""
    if args.json:
        from contentui.present.records import json_line, verified_record

        context.out.line(json_line(verified_record(info, ok, problem)))
        return
    if not args.quiet:
        word = "unreadable" if ok is None else "ok" if ok else "altered"
        context.out.line(f"{info.digest}  {word}")
    elif ok is False:
        context.out.line(info.digest)
    if problem and not (args.quiet and ok is False):
        print_error(problem)
