"""Upload an image to a registry; blobs that it has are skipped.

SOURCE is the name of an image in the store, or a digest (default: IMAGE). An index is pushed if all
its platforms are here or there; if exactly one is here, its manifest. Prints the digest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.cli.arguments import add_format, size
from contentui.cli.exits import Exit
from contentui.cli.output import print_note
from contentui.cli.progress import add_progress
from contentui.cli.registries import add_registry, registry_for

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence

    from contentui.cli.context import Context
    from contentui.transfers.base import Report

EXAMPLES = """
  contentui push registry.lan:5000/team/web:v2
  contentui push registry.lan:5000/team/web:v2 docker.io/library/redis:7.4
  contentui push registry.lan:5000/team/web:v2 sha256:84ff92...
  contentui push --platform linux/arm64 registry.lan:5000/team/web:v2-arm64 redis:7.4
"""


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_format(parser, quiet="no progress, only the digest")
    parser.add_argument("image", metavar="IMAGE", help="the destination: registry/repository:tag")
    parser.add_argument("source", metavar="SOURCE", nargs="?", help="the image to upload")
    parser.add_argument(
        "--platform",
        metavar="OS/ARCH",
        help="push the manifest of this platform, also in the place of an index",
    )
    parser.add_argument(
        "--chunk",
        metavar="SIZE",
        type=size,
        help="upload blobs in chunks of this size, for proxies that limit requests",
    )
    parser.add_argument(
        "--foreign", action="store_true", help="also layers that are marked as not distributable"
    )
    add_registry(parser)
    add_progress(parser, otherwise="plain")


def run(args: Namespace, context: Context) -> int:
    """Push, and print the command that resumes it after an interruption."""
    from contentui.cli.image_names import image_named
    from contentui.cli.transferring import run_transfer
    from contentui.oci.platforms import parse_platform
    from contentui.present.records import pushed_record
    from contentui.transfers.push import Push

    made: list[Push] = []
    with registry_for(args, args.image) as registry:
        store = context.store()
        name = str(registry.reference)
        root = image_named(store, args.source or name).target

        def make(reports: Sequence[Report]) -> Push:
            push = Push(
                store,
                registry,
                root,
                platform=parse_platform(args.platform) if args.platform else None,
                nondistributable=args.foreign,
                chunk_size=args.chunk,
                reports=reports,
            )
            made.append(push)
            return push

        kept = "what the registry has is not uploaded again"
        code = run_transfer(args, context, name, make, pushed_record, interrupted=kept)
    if code == Exit.DONE and made[0].note:
        print_note(made[0].note)
    return code
