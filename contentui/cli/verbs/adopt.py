"""Make a copied directory writable: only for a copy whose containerd will never come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.cli.arguments import FOLDERS, completes
from contentui.cli.exits import Exit
from contentui.content.errors import ReadOnly

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from contentui.cli.context import Context

EXAMPLES = """
  contentui adopt /mnt/dead-node/io.containerd.content.v1.content
"""


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    completes(parser.add_argument("directory", metavar="DIR"), FOLDERS)


def run(args: Namespace, context: Context) -> int:
    """Mark the directory as ours."""
    from contentui.stores.directory import adopt, path_of
    from contentui.stores.source import parse
    from contentui.text import visible

    directory = path_of(parse(args.directory), "adopted")
    if context.read_only:
        raise ReadOnly("adopting changes the directory, and --read-only was given")
    adopt(directory)
    context.out.line(f"{visible(directory)} is writable from here now")
    return Exit.DONE
