"""Make a store, for oneself or for a group of users."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.cli.exits import Exit
from contentui.content.errors import InvalidArgument

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from contentui.cli.context import Context

EXAMPLES = """
  contentui init --store /srv/content
  sudo contentui init --store /srv/content --shared ops
"""
_GROUPS = (1 << 32) - 1
"""Group ids are below this."""


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "--shared",
        metavar="GROUP",
        help="let all members of GROUP (a name or a number) use the store; also one that exists",
    )


def run(args: Namespace, context: Context) -> int:
    """Make the directory, and open it to the group."""
    from contentui.stores.directory import make
    from contentui.text import visible

    group = None if args.shared is None else _group(args.shared)
    make(context.source, group=group, read_only=context.read_only)
    shared = "" if group is None else f", shared with group {visible(args.shared)}"
    context.out.line(f"{visible(context.source.text)} is a content store{shared}")
    return Exit.DONE


def _group(text: str) -> int:
    """The id of a group. Raises InvalidArgument."""
    import grp

    try:
        if not (text.isascii() and text.isdigit()):
            return grp.getgrnam(text).gr_gid
        if int(text) < _GROUPS:
            return int(text)
        raise ValueError(text)
    except (KeyError, ValueError):
        from contentui.text import visible

        raise InvalidArgument(
            f"there is no group {visible(text, 64)}", advice="'getent group' lists them"
        ) from None
