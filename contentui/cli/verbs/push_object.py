"""Upload one blob or manifest to a registry, unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.cli.arguments import digest
from contentui.cli.exits import Exit
from contentui.cli.progress import add_progress, mode_for
from contentui.cli.registries import add_registry, registry_for

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from contentui.cli.context import Context

EXAMPLES = """
  contentui push-object registry.lan:5000/team/web sha256:84ff92...
  contentui push-object registry.lan:5000/team/web:v2 sha256:84ff92... \\
      application/vnd.oci.image.manifest.v1+json
"""


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("remote", metavar="REMOTE", help="a repository; for a manifest with a tag")
    parser.add_argument("digest", metavar="DIGEST", type=digest)
    parser.add_argument(
        "media_type", metavar="TYPE", nargs="?", default="", help="a manifest's media type"
    )
    add_registry(parser)
    add_progress(parser)


def run(args: Namespace, context: Context) -> int:
    """Upload it."""
    from contentui.cli.signals import interruptible
    from contentui.cli.transfer_view import TransferView
    from contentui.content.model import Descriptor
    from contentui.transfers.push import Push

    store = context.store()
    info = store.info(args.digest)
    descriptor = Descriptor(args.media_type, info.digest, info.size)
    with registry_for(args, args.remote) as registry:
        view = TransferView(mode_for(args.progress))
        with view, interruptible():
            Push(store, registry, descriptor, reports=(view,)).run_object()
    context.out.line(f"{info.digest} {args.media_type}".rstrip())
    return Exit.DONE
