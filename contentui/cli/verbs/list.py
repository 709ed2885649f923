"""List the blobs: digest, size, age since the commit, labels."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING

from contentui.cli.arguments import add_filters, add_format, add_wide
from contentui.cli.exits import Exit
from contentui.present.cells import elide, elide_middle
from contentui.text import human_age, human_size, visible

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
_SECOND_NS = 1_000_000_000
_AT_ONCE = 4096


class _Sizes(dict[int, str]):
    """Sizes in words, each made once."""

    def __missing__(self, size: int) -> str:
        text = self[size] = human_size(size).rjust(_SIZE)
        return text


class _Ages(dict[int, str]):
    """Ages in words of seconds since 1970, each made once."""

    def __init__(self) -> None:
        super().__init__()
        self._now = time.time_ns()

    def __missing__(self, second: int) -> str:
        text = self[second] = human_age(second * _SECOND_NS, self._now).rjust(_AGE)
        return text


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
        listing = store.roles.digest_listing
        if listing is not None:
            out.write(listing.digest_lines().encode())
            return Exit.DONE
    infos = store.walk(args.match)
    if args.quiet:
        out.lines(info.digest for info in infos)
    elif args.json:
        from contentui.present.records import info_record, json_line

        out.lines(json_line(info_record(info)) for info in infos)
    else:
        out.lines(_rows(infos, None if args.wide else out.width))
    return Exit.DONE


def _rows(infos: Iterable[Info], width: int | None) -> Iterator[str]:
    """The lines. 100,000 of them are wanted in a blink, so they are made in bulk."""
    digest = _DIGEST if width is None else max(19, min(_DIGEST, width - _SIZE - _AGE - 4))
    sizes, ages, rest = _Sizes(), _Ages(), iter(infos)
    some = list(islice(rest, _AT_ONCE))
    spaces = max((len(_names(info)) for info in some), default=0)  # a store has some, or none
    last = f"{'NAMESPACES':<{max(spaces, 10)}}  LABELS" if spaces else "LABELS"
    header = f"{'DIGEST':<{digest}}  {'SIZE':>{_SIZE}}  {'AGE':>{_AGE}}  {last}"
    yield header[:width].rstrip()
    while some:
        made = _spaced(some, sizes, ages, max(spaces, 10)) if spaces else None
        lines = made or _plain(some, sizes, ages)
        yield from lines if width is None else [_fitted(line, digest, width) for line in lines]
        some = list(islice(rest, _AT_ONCE))


def _plain(infos: Iterable[Info], sizes: _Sizes, ages: _Ages) -> list[str]:
    return [
        f"{name}  {sizes[size]}  {ages[committed // _SECOND_NS]}{labels_end(labels)}"
        if labels or labels is None
        else f"{name}  {sizes[size]}  {ages[committed // _SECOND_NS]}"
        for name, size, committed, _, labels, _ in infos
    ]


def _spaced(infos: Iterable[Info], sizes: _Sizes, ages: _Ages, width: int) -> list[str]:
    return [
        (
            f"{info.digest}  {sizes[info.size]}  {ages[info.committed_ns // _SECOND_NS]}"
            f"  {_names(info):<{width}}{labels_end(info.labels)}"
        ).rstrip()
        for info in infos
    ]


def _names(info: Info) -> str:
    """Its namespaces in one word."""
    return visible(",".join(info.namespaces)) if info.namespaces else ""


def labels_end(labels: Mapping[str, str] | None) -> str:
    """The last column."""
    if labels is None:
        return "  unknown"
    from contentui.present.texts import labels_text

    return "  " + labels_text(labels)


def _fitted(line: str, digest: int, width: int) -> str:
    name, rest = line.split(" ", 1)
    return elide(f"{elide_middle(name, digest):<{digest}} {rest}", width)
