"""List the blobs: digest, size, age since the commit, labels."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from contentui.cli.arguments import add_filters, add_format, add_wide
from contentui.cli.exits import Exit

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterable, Iterator, Mapping

    from contentui.cli.context import Context
    from contentui.content.model import Info

EXAMPLES = """
  contentui list
  contentui list -q | xargs contentui delete
  contentui list --match 'labels."containerd.io/gc.root"'
  contentui list --json | jq -r 'select(.size_bytes > 1e9).digest'
"""

_DIGEST = 71  # columns of a sha256 digest
_SIZE = 8
_AGE = 5


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_format(parser, quiet="digests only, one a line")
    add_filters(parser, "digest~=^sha256:84")
    add_wide(parser)


def run(args: Namespace, context: Context) -> int:
    """Print the blobs as they are found, without waiting for the last."""
    store = context.store()
    out = context.out
    if args.quiet and not args.match:
        out.lines(store.digests())
        return Exit.DONE
    infos = store.walk(args.match)
    if args.quiet:
        out.lines(info.digest for info in infos)
    elif args.json:
        from contentui.cli.records import info_record, json_line

        out.lines(json_line(info_record(info)) for info in infos)
    else:
        out.lines(_rows(infos, None if args.wide else out.width))
    return Exit.DONE


def _rows(infos: Iterable[Info], width: int | None) -> Iterator[str]:
    """Lines of fixed columns. 100,000 of them are wanted in a blink: sizes and ages are kept."""
    from contentui.text import human_age, human_size

    digest = _DIGEST if width is None else max(19, min(_DIGEST, width - _SIZE - _AGE - 4))
    yield f"{'DIGEST':<{digest}}  {'SIZE':>{_SIZE}}  {'AGE':>{_AGE}}  LABELS"[:width].rstrip()
    now = time.time_ns()
    sizes: dict[int, str] = {}
    ages: dict[int, str] = {}
    for name, size, committed, _, labels in infos:
        second = committed // 1_000_000_000
        if (age := ages.get(second)) is None:
            age = ages[second] = human_age(committed, now).rjust(_AGE)
        if (text := sizes.get(size)) is None:
            text = sizes[size] = human_size(size).rjust(_SIZE)
        if width is None and not labels and labels is not None:
            yield f"{name}  {text}  {age}"
        else:
            yield _fitted(name, f"  {text}  {age}", labels, digest, width)


def _fitted(
    name: str, rest: str, labels: Mapping[str, str] | None, digest: int, width: int | None
) -> str:
    from contentui.cli.columns import cut, shorten
    from contentui.cli.words import labels_text

    if width is not None:
        name = shorten(name, digest)
    line = f"{name:<{digest}}{rest}"
    if labels is None or labels:
        line += "  " + labels_text(labels)
    return line if width is None else cut(line, width)
