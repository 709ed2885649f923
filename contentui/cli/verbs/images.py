"""List the images of the store, with what each keeps alone and shares; or forget names.

A directory keeps the blobs of a forgotten name. A daemon's collector takes what nobody needs then:
there it is told beforehand how much that is, and asked about.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from contentui.cli.arguments import add_format, add_wide
from contentui.cli.exits import Exit
from contentui.content.helpers import image_names
from contentui.text import human_age, human_size, visible

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from contentui.cli.context import Context
    from contentui.content.model import Image
    from contentui.transfers.sizes import Sizes

EXAMPLES = """
  contentui images
  contentui images -q
  contentui images --remove redis:7.4 --dry-run
  contentui images --remove docker.io/library/redis:7.4
  contentui images --json | jq -r 'select(.missing > 0).name'
"""


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_format(parser, quiet="names only, one a line")
    parser.add_argument(
        "--remove", metavar="NAME", action="append", help="forget a name; repeatable"
    )
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="tell what --remove would do, and do nothing"
    )
    parser.add_argument(
        "-y", "--yes", action="store_true", help="don't ask about names that keep bytes"
    )
    add_wide(parser)


def run(args: Namespace, context: Context) -> int:
    """List, or remove names; the code is that of the first name that wasn't."""
    store = context.store()
    if args.remove:
        from contentui.cli.unnaming import remove

        return remove(args, context, store)
    images = image_names(store).list()
    if args.quiet:
        context.out.lines(image.name for image in images)
        return Exit.DONE
    from contentui.transfers.sizes import sizes_of

    sizes = sizes_of(store, images)
    if args.json:
        from contentui.present.records import image_record, json_line

        pairs = zip(images, sizes, strict=True)
        context.out.lines(json_line(image_record(image, size)) for image, size in pairs)
        return Exit.DONE
    _print(args, context, images, sizes)
    return Exit.DONE


def _print(args: Namespace, context: Context, images: list[Image], sizes: list[Sizes]) -> None:
    from contentui.present.table import table, with_column

    now = time.time_ns()
    header: tuple[str, ...] = ("NAME", "DIGEST", "SIZE", "OWN", "SHARED", "AGE", "")
    rows: list[tuple[str, ...]] = [
        (
            visible(image.name),
            image.target.digest.short(),
            human_size(size.total),
            human_size(size.own),
            human_size(size.shared),
            human_age(image.updated_ns, now),
            _missing(size.missing),
        )
        for image, size in zip(images, sizes, strict=True)
    ]
    right: tuple[int, ...] = (2, 3, 4, 5)
    if any(image.namespace for image in images):
        spaces = [visible(image.namespace) for image in images]
        header, rows = with_column(header, rows, "NAMESPACE", spaces)
        right = (3, 4, 5, 6)
    width = None if args.wide else context.out.width
    context.out.lines(table(header, rows, right=right, flexible=(right[0] - 2,), width=width))


def _missing(count: int) -> str:
    if not count:
        return ""
    return "1 part is missing" if count == 1 else f"{count} parts are missing"
