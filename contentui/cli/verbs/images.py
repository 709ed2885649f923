"""List the images of the store, with the sizes of their own and shared blobs; or remove names.

A directory keeps the blobs of a removed name. The garbage collector of a daemon deletes blobs that
nothing refers to: there --remove shows how much that is and asks first.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from contentui.cli.arguments import add_format, add_wide
from contentui.cli.destroying import add_removing
from contentui.cli.exits import Exit, exit_for
from contentui.cli.output import print_error
from contentui.content.errors import ContentError
from contentui.content.helpers import image_names
from contentui.text import human_age, human_size, visible

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from contentui.cli.context import Context
    from contentui.content.model import Image
    from contentui.content.store import Store
    from contentui.index.image_sizes import Sizes

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
    add_removing(parser, "NAME", "a name")
    parser.set_defaults(force=False)
    add_wide(parser)


def run(args: Namespace, context: Context) -> int:
    """List, or remove names; returns the exit code of the first name that was not removed."""
    store = context.store()
    if args.remove:
        return _remove(args, context, store)
    images = image_names(store).list()
    if args.quiet:
        context.out.lines(image.name for image in images)
        return Exit.DONE
    from contentui.index.image_sizes import sizes_of

    sizes = sizes_of(store, images)
    if args.json:
        from contentui.present.records import image_record, json_line

        pairs = zip(images, sizes, strict=True)
        context.out.lines(json_line(image_record(image, size)) for image, size in pairs)
        return Exit.DONE
    _print(args, context, images, sizes)
    return Exit.DONE


def _remove(args: Namespace, context: Context, store: Store) -> int:
    """Remove the names in ``args.remove``; asks first where that deletes blobs."""
    from contentui.actions.planner import Planner
    from contentui.cli.destroying import carry_out
    from contentui.cli.image_names import find_image

    images: dict[tuple[str, str], Image] = {}
    missing: int = Exit.DONE
    for name in args.remove:
        try:
            image = find_image(store, name)
        except ContentError as error:
            print_error(error.message, error.advice)
            missing = missing or exit_for(error)
        else:
            images[image.namespace, image.name] = image
    if not images:
        return missing
    planner = Planner(store)
    plan = planner.untag(list(images.values()))
    code = carry_out(
        args,
        context,
        store,
        plan,
        confirm=plan.lost_bytes > 0,
        refresher=planner.referrer_refresher(),
    )
    return missing or code


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
