"""Download all content of an image from a registry, without recording its name.

After an interruption the same command resumes where it stopped. Prints the image's digest.
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
        InvalidArgument: it has the arguments of `fetch-object`.
    """
    if args.more:
        from contentui.present.shell import shell_line

        command = shell_line(["contentui", "fetch-object", args.image, *args.more])
        raise InvalidArgument(
            "fetch takes one image and stores its content",
            advice=f"to write one object of a repository to standard output: {command}",
        )
    return pull.get_image(args, context, record=False)
