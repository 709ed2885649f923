"""Download an image from a registry and record its name; blobs that are in the store are skipped.

After an interruption the same command resumes where it stopped. Prints the image's digest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.cli.arguments import add_format
from contentui.cli.progress import add_progress
from contentui.cli.registries import add_registry, registry_for

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence

    from contentui.cli.context import Context
    from contentui.transfers.base import Report

EXAMPLES = """
  contentui pull redis:7.4
  contentui pull --platform linux/arm64 ghcr.io/example/web:2.8
  contentui --store unix:///run/containerd/containerd.sock?namespace=k8s.io pull redis:7.4
  contentui pull --plain-http registry.lan:5000/team/app@sha256:84ff92...
"""


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_format(parser, quiet="no progress, only the digest")
    parser.add_argument("image", metavar="IMAGE", help="for example redis, ghcr.io/team/web:v2")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--platform",
        metavar="OS/ARCH",
        action="append",
        help="for example linux/arm64; repeatable (default: this machine's)",
    )
    which.add_argument("--all-platforms", action="store_true", help="all images of the index")
    add_registry(parser)
    add_progress(parser, otherwise="plain")


def run(args: Namespace, context: Context) -> int:
    """Pull, and print the command that resumes it after an interruption."""
    return get_image(args, context, record=True)


def get_image(args: Namespace, context: Context, *, record: bool) -> int:
    """Get an image's content; ``record``: also create its name in the store."""
    from contentui.cli.transferring import run_transfer
    from contentui.oci.platforms import parse_platform
    from contentui.present.records import transferred_record
    from contentui.transfers.pull import Pull

    with registry_for(args, args.image) as registry:
        store = context.store(create=True)

        def make(reports: Sequence[Report]) -> Pull:
            return Pull(
                store,
                registry,
                platforms=tuple(map(parse_platform, args.platform or ())),
                all_platforms=args.all_platforms,
                record=record,
                reports=reports,
            )

        name = str(registry.reference)
        kept = "what arrived is kept"
        return run_transfer(args, context, name, make, transferred_record, interrupted=kept)
