"""The live dashboard: ingests next to blobs, and what can be done about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.cli.arguments import interval

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from contentui.cli.context import Context

EXAMPLES = """
  contentui
  contentui --store /mnt/node7/io.containerd.content.v1.content --read-only
  contentui ui --low-bandwidth                over a slow line
"""


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_screen_options(parser)


def run(args: Namespace, context: Context) -> int:
    """Show the dashboard on the terminal; without any store, a picker of those found."""
    from contentui.tui.run import run_app

    return run_app(
        context.found,
        read_only=context.read_only,
        interval_s=args.interval,
        low_bandwidth=args.low_bandwidth,
        mouse=not args.no_mouse,
        theme=args.theme,
    )


def add_screen_options(parser: ArgumentParser) -> None:
    """How the screen behaves; `ui` and `demo` share it."""
    parser.add_argument(
        "--interval",
        metavar="TIME",
        type=interval,
        default=0.25,
        help="how often to look (default: 250ms)",
    )
    parser.add_argument(
        "--low-bandwidth",
        action="store_true",
        help="draw less often, in 16 colours, without the graph: for slow connections",
    )
    parser.add_argument(
        "--no-mouse", action="store_true", help="leave the mouse to the terminal's own selection"
    )
    parser.add_argument("--theme", metavar="NAME", help="a theme's name; ctrl+p lists them")
