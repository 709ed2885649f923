"""Get an image from a registry and give it its name here; what is there already isn't fetched.

Whatever interrupts it, the same command goes on where it stopped. Prints the image's digest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.cli.arguments import add_format
from contentui.cli.exits import Exit
from contentui.cli.output import print_error
from contentui.cli.progress import add_progress, mode_for
from contentui.cli.registries import add_registry

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from contentui.cli.context import Context
    from contentui.content.model import Descriptor
    from contentui.transfers.pull import Wanted

EXAMPLES = """
  contentui pull redis:7.4
  contentui pull --platform linux/arm64 ghcr.io/example/web:2.8
  contentui --store unix:///run/containerd/containerd.sock?namespace=k8s.io pull redis:7.4
  contentui pull --plain-http registry.lan:5000/team/app@sha256:84ff92…
"""


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_format(parser, quiet="no progress, only the digest")
    parser.add_argument("image", metavar="IMAGE", help="as in redis, ghcr.io/team/web:v2")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--platform",
        metavar="OS/ARCH",
        action="append",
        help="as in linux/arm64; repeatable (default: this machine's)",
    )
    which.add_argument("--all-platforms", action="store_true", help="the whole index")
    add_registry(parser)
    add_progress(parser, otherwise="plain")


def run(args: Namespace, context: Context) -> int:
    """Pull, and say on an interruption how to go on."""
    return get_image(args, context, record=True)


def get_image(args: Namespace, context: Context, *, record: bool) -> int:
    """Fetch an image's content, and with ``record`` its name."""
    from contentui.cli.allocator import keep_freed_memory
    from contentui.cli.pulling import TransferView
    from contentui.cli.registries import registry_for
    from contentui.cli.signals import Signalled, interruptible
    from contentui.present.shell import shell_line
    from contentui.transfers.board import Notice, board_of
    from contentui.transfers.pull import Pull

    keep_freed_memory()
    with registry_for(args, args.image) as registry:
        store = context.store(create=True)
        view = TransferView(mode_for(args.progress, "none" if args.quiet else "plain"))
        with view, Notice(board_of(context.source)) as notice:
            told = (view, notice)
            pull = Pull(store, registry, wanted=_wanted(args), record=record, tell=told)
            try:
                with interruptible():
                    root = pull.run()
            except Signalled as error:
                signum = error.signum
                root = None
    if root is None:
        again = shell_line(["contentui", *context.argv])
        print_error("interrupted: what arrived is kept", f"go on with: {again}")
        return 128 + signum
    _print(args, context, str(registry.reference), root)
    return Exit.DONE


def _wanted(args: Namespace) -> Wanted:
    from contentui.oci.platforms import parse_platform
    from contentui.transfers.pull import Wanted

    return Wanted(tuple(map(parse_platform, args.platform or ())), args.all_platforms)


def _print(args: Namespace, context: Context, name: str, root: Descriptor) -> None:
    if args.json:
        from contentui.present.records import json_line, transferred_record

        context.out.line(json_line(transferred_record(name, root)))
        return
    context.out.line(str(root.digest))
