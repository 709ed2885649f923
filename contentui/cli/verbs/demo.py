"""The dashboard on a temporary store full of live ingests, which other processes make.

Every key works on it. The store, its processes and its journal are gone when it ends.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from contentui.cli.arguments import duration
from contentui.cli.exits import Exit
from contentui.cli.output import print_error
from contentui.cli.signals import Signalled, interruptible
from contentui.cli.verbs.ui import add_screen_options

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from contentui.cli.context import Context
    from contentui.stores.source import Source

EXAMPLES = """
  contentui demo
  contentui demo --headless --seconds 5 --json
"""


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_screen_options(parser)
    parser.add_argument("--headless", action="store_true", help="print what happens, no screen")
    parser.add_argument(
        "--seconds",
        metavar="TIME",
        type=duration,
        default=10.0,
        help="how long, with --headless (default: 10)",
    )
    parser.add_argument("--json", action="store_true", help="with --headless: views as JSON")


def run(args: Namespace, context: Context) -> int:
    """Run until the user leaves, or for --seconds."""
    if not args.headless:
        from contentui.tui.run import screen_problem

        if problem := screen_problem():
            print_error(problem, "or: contentui demo --headless --seconds 5 --json")
            return Exit.USAGE
    from contentui.demo.session import demo_store

    try:
        # SIGTERM before the screen is up, or after it, must not leave the folder behind
        with interruptible(), demo_store() as source:
            return _headless(args, context, source) if args.headless else _show(args, source)
    except Signalled as error:
        return 128 + error.signum
    except RuntimeError as error:
        print_error(str(error))
        return Exit.FAILED


def _show(args: Namespace, source: Source) -> int:
    from contentui.tui.run import run_app

    return run_app(
        source,
        read_only=args.read_only,
        interval_s=args.interval,
        low_bandwidth=args.low_bandwidth,
        mouse=not args.no_mouse,
        theme=args.theme,
    )


def _headless(args: Namespace, context: Context, source: Source) -> int:
    """Print each view as JSON, else its events as sentences."""
    from contentui.index.content_index import ContentIndex
    from contentui.monitor.monitor import Monitor
    from contentui.present.events import event_text
    from contentui.present.records import json_line, store_view_record
    from contentui.stores.open import open_store

    store = open_store(source, read_only=True)
    monitor = Monitor(store, index=ContentIndex(store))
    end = time.monotonic() + args.seconds
    while time.monotonic() < end:
        view = monitor.tick()
        if args.json:
            context.out.line(json_line(store_view_record(view, blobs=True)))
        else:
            context.out.lines(map(event_text, view.events))
            context.out.flush()
        time.sleep(max(min(args.interval, end - time.monotonic()), 0))
    return Exit.DONE
