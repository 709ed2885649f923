"""Where a blob's file is: the digest and the absolute path, or with -q the path alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from contentui.cli.arguments import add_format, digest
from contentui.cli.exits import Exit
from contentui.content.errors import FailedPrecondition

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from contentui.cli.context import Context
    from contentui.content.digest import Digest

EXAMPLES = """
  contentui path sha256:e3b0c442...
  tar tf "$(contentui path -q sha256:e3b0c442...)"
"""


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_format(parser, quiet="the path only")
    parser.add_argument("digest", metavar="DIGEST", type=digest, nargs="+")


def run(args: Namespace, context: Context) -> int:
    """Print the paths. Raises FailedPrecondition where blobs aren't files."""
    store = context.store()
    files = store.roles.file_paths
    if files is None:
        raise FailedPrecondition(
            f"{store.name}: behind a socket blobs have no paths, only bytes",
            advice="use 'contentui get'",
        )
    for name in args.digest:
        path = os.path.abspath(files.path(name))
        _print(args, context, name, path)
    return Exit.DONE


def _print(args: Namespace, context: Context, name: Digest, path: str) -> None:
    if args.json:
        from contentui.present.records import json_line, path_record

        context.out.lines((json_line(path_record(name, path)),))
    elif args.quiet:  # its exact bytes, because the caller opens the path
        context.out.write(os.fsencode(path) + b"\n")
    else:
        from contentui.text import visible

        context.out.lines((f"{name}  {visible(path)}",))
