"""Get all content of an image from a registry, without giving it a name here.

Whatever interrupts it, the same command goes on where it stopped. Prints the image's digest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.cli.verbs.pull import configure, get_image

if TYPE_CHECKING:
    from argparse import Namespace

    from contentui.cli.context import Context

__all__ = ["EXAMPLES", "configure", "run"]

EXAMPLES = """
  contentui fetch redis:7.4
  contentui fetch --all-platforms ghcr.io/example/web:2.8
"""


def run(args: Namespace, context: Context) -> int:
    """Fetch."""
    return get_image(args, context, record=False)
