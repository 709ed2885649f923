"""Send an image to a registry; what it has already isn't sent.

The source is the name of an image here, or a digest; left out, it is the name to push to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.cli.arguments import add_format, size
from contentui.cli.exits import Exit
from contentui.cli.output import print_error
from contentui.cli.progress import add_progress, mode_for
from contentui.cli.registries import add_registry

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from contentui.cli.context import Context

EXAMPLES = """
  contentui push registry.lan:5000/team/web:v2
  contentui push registry.lan:5000/team/web:v2 docker.io/library/redis:7.4
  contentui push registry.lan:5000/team/web:v2 sha256:84ff92…
"""


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_format(parser, quiet="no progress, only the digest")
    parser.add_argument("image", metavar="IMAGE", help="where it goes: registry/repository:tag")
    parser.add_argument("source", metavar="SOURCE", nargs="?", help="what is sent")
    parser.add_argument(
        "--chunk",
        metavar="SIZE",
        type=size,
        help="send blobs in pieces of this size, for proxies that limit requests",
    )
    parser.add_argument(
        "--foreign", action="store_true", help="also layers that say they are not for registries"
    )
    add_registry(parser)
    add_progress(parser, otherwise="plain")


def run(args: Namespace, context: Context) -> int:
    """Push, and say on an interruption how to go on."""
    from contentui.cli.allocator import keep_freed_memory
    from contentui.cli.image_names import image_named
    from contentui.cli.pulling import TransferView
    from contentui.cli.registries import registry_for
    from contentui.cli.signals import Signalled, interruptible
    from contentui.present.shell import shell_line
    from contentui.transfers.board import Notice, board_of
    from contentui.transfers.push import Push

    signum = 0
    keep_freed_memory()
    with registry_for(args, args.image) as registry:
        store = context.store()
        root = image_named(store, args.source or str(registry.reference)).target
        view = TransferView(mode_for(args.progress, "none" if args.quiet else "plain"))
        with view, Notice(board_of(context.source)) as notice:
            push = Push(
                store,
                registry,
                root,
                foreign=args.foreign,
                chunk=args.chunk,
                tell=(view, notice),
            )
            try:
                with interruptible():
                    push.run()
            except Signalled as error:
                signum = error.signum
    if signum:
        again = shell_line(["contentui", *context.argv])
        print_error("interrupted: what the registry has isn't sent again", f"go on with: {again}")
        return 128 + signum
    if args.json:
        from contentui.present.records import json_line, pushed_record

        context.out.line(json_line(pushed_record(str(registry.reference), root)))
    else:
        context.out.line(str(root.digest))
    return Exit.DONE
