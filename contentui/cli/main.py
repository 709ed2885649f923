"""The program: find the command, run it, and report an error in one line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from contentui.cli.context import Context
from contentui.cli.exits import BROKEN_PIPE, Exit, exit_for
from contentui.cli.output import Output, OutputError, print_error
from contentui.cli.parser import parse
from contentui.content.errors import ContentError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns its exit code (see `contentui.cli.exits`)."""
    words = tuple(sys.argv[1:] if argv is None else argv)
    out = Output()
    try:
        code = _run(words, out)
        out.flush()
    except BrokenPipeError:
        out.abandon()
        return BROKEN_PIPE
    except OutputError as error:
        out.abandon()
        print_error(f"cannot write to standard output: {error}")
        return Exit.FAILED
    return int(code)


def _run(words: tuple[str, ...], out: Output) -> int:
    try:
        name, args = parse(words)
        from contentui.cli.commands import load
        from contentui.cli.signals import catch_interrupts

        context = Context(args.store, args.read_only, words, out, [])
        verb = load(name)
        catch_interrupts()
        try:
            return verb.run(args, context)
        finally:
            context.close()
    except SystemExit as ended:  # argparse, after its own message
        return ended.code if isinstance(ended.code, int) else Exit.FAILED
    except KeyboardInterrupt as interruption:
        from contentui.cli.signals import ignore_more

        ignore_more()
        return 128 + int(getattr(interruption, "signum", 2))
    except BrokenPipeError:
        raise
    except (ContentError, OSError) as error:
        return report(error)


def report(error: ContentError | OSError) -> Exit:
    """Print what happened and what to do; returns the exit code."""
    if isinstance(error, ContentError):
        print_error(error.message, error.advice)
    else:
        print_error(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    return exit_for(error)
