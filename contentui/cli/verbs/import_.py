"""Import images from an archive: an OCI layout (tar archive or directory), or a docker archive.

The archive may be compressed, and is read once, so it can be a pipe. All content is compared with
its digests. Prints each image's name and digest; a name that exists is moved to the new image.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from contentui.cli.arguments import FILES, add_format, completes
from contentui.cli.exits import Exit
from contentui.cli.output import print_error, print_note
from contentui.cli.progress import ProgressLine, add_progress, mode_for
from contentui.text import visible

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator
    from typing import BinaryIO

    from contentui.archives.importing import Imported
    from contentui.archives.tar import Member
    from contentui.cli.context import Context

EXAMPLES = """
  contentui import redis.tar
  docker save redis:7.4 | contentui import -
  contentui import --name registry.lan/team/web:v2 layout/
  contentui --store unix:///run/containerd/containerd.sock?namespace=k8s.io import web.tar.gz
"""


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_format(parser, quiet="digests only, one a line")
    completes(
        parser.add_argument(
            "file",
            metavar="FILE",
            help="an archive or a layout's directory; - for standard input",
        ),
        FILES,
    )
    parser.add_argument("--name", metavar="IMAGE", help="the name of the archive's only image")
    add_progress(parser)


def run(args: Namespace, context: Context) -> int:
    """Import; an interruption keeps complete blobs."""
    from contentui.archives.importing import Import
    from contentui.cli.signals import Signalled, interruptible
    from contentui.oci.references import parse_reference

    name = str(parse_reference(args.name)) if args.name else ""
    store = context.store(create=True)
    try:
        with interruptible():
            found = Import(store, name=name).run(_members(args))
    except Signalled as error:
        print_error("interrupted: complete blobs are kept", "import the archive again to resume")
        return 128 + error.signum
    for image in found:
        _print(args, context, image)
    return Exit.DONE


def _members(args: Namespace) -> Iterator[Member]:
    from contentui.archives.sources import archive_members, directory_members

    if args.file != "-" and os.path.isdir(args.file):
        yield from directory_members(args.file)
        return
    with _opened(args.file) as file:
        size = os.fstat(file.fileno()).st_size
        mode = mode_for(args.progress)
        with ProgressLine(args.file, size, mode) as bar:
            yield from archive_members(file, bar)


def _opened(path: str) -> BinaryIO:
    if path != "-":
        return open(path, "rb", buffering=0)
    from contentui.content.errors import InvalidArgument

    if sys.stdin is None:
        raise InvalidArgument("standard input is closed", advice="name the archive's file")
    if sys.stdin.isatty():
        raise InvalidArgument("standard input is a terminal, not an archive")
    return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)


def _print(args: Namespace, context: Context, image: Imported) -> None:
    digest = image.target.digest
    if image.replaced is not None:
        print_note(f"{image.name} was {image.replaced} before")
    if not image.name:
        name = f": {visible(image.called, 200)} in the archive" if image.called else ""
        print_error(f"{digest.short()} has no valid name{name}", "import it with --name IMAGE")
    if args.json:
        from contentui.present.records import imported_record, json_line

        record = imported_record(image.name, image.target, image.replaced)
        context.out.line(json_line(record))
    elif args.quiet or not image.name:
        context.out.line(str(digest))
    else:
        context.out.line(f"{image.name} {digest}")
