"""Get all content of an image from a registry, without giving it a name here.

Whatever interrupts it, the same command goes on where it stopped. Prints the image's digest.
"""

from __future__ import annotations

from argparse import SUPPRESS
from typing import TYPE_CHECKING

from contentui.cli.verbs import pull
from contentui.content.errors import InvalidArgument

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from contentui.cli.context import Context

EXAMPLES = """
  contentui fetch redis:7.4
  contentui fetch --all-platforms ghcr.io/example/web:2.8
"""


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    pull.configure(parser)
    parser.add_argument("more", nargs="*", help=SUPPRESS)


def run(args: Namespace, context: Context) -> int:
    """Fetch.

    Raises:
        InvalidArgument: more than an image is named, as `fetch-object` takes it.
    """
    if args.more:
        from contentui.present.shell import shell_line

        words = shell_line(["contentui", "fetch-object", args.image, *args.more])
        raise InvalidArgument(
            "fetch takes one image and stores its content",
            advice=f"one object of a repository goes to standard output by: {words}",
        )
    return pull.get_image(args, context, record=False)
