"""Write images as one OCI archive, which containerd, podman, skopeo and docker's load take.

Every byte is compared with its digest while it is written; the same images give the same archive.
What fails leaves no file, or on standard output an archive without end and without images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.cli.arguments import FILES, completes
from contentui.cli.exits import Exit
from contentui.cli.output import print_error
from contentui.cli.progress import ProgressLine, add_progress, mode_for
from contentui.content.errors import InvalidArgument
from contentui.text import visible

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterable, Iterator

    from contentui.archives.exporting import Export
    from contentui.cli.context import Context
    from contentui.oci.manifests import Child

EXAMPLES = """
  contentui export redis:7.4 > redis.tar
  contentui export -o images.tar redis:7.4 ghcr.io/team/web:v2
  contentui export --platform linux/arm64 redis:7.4 | ssh node ctr images import -
"""


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "images", metavar="IMAGE", nargs="+", help="a name in the store, or a digest"
    )
    completes(
        parser.add_argument("-o", "--output", metavar="FILE", help="instead of standard output"),
        FILES,
    )
    parser.add_argument(
        "--platform",
        metavar="OS/ARCH",
        action="append",
        help="these only, as in linux/arm64; repeatable (default: all that are here)",
    )
    add_progress(parser)


def run(args: Namespace, context: Context) -> int:
    """Write the archive. Raises DataLoss when a blob is damaged; nothing looks whole then."""
    from contentui.archives.exporting import Export, Source
    from contentui.cli.image_names import image_named
    from contentui.cli.signals import interruptible
    from contentui.cli.writing import to_file
    from contentui.oci.platforms import parse_platform

    to_stdout = args.output in (None, "-")
    if to_stdout and context.out.is_terminal:
        raise InvalidArgument(
            "refusing to write an archive to a terminal", advice="use -o FILE or > FILE"
        )
    store = context.store()
    sources = [Source(*image_named(store, text)) for text in args.images]
    export = Export(store, sources, tuple(map(parse_platform, args.platform or ())))
    _tell_absent(export.absent)
    mode = "none" if to_stdout and args.progress is None else mode_for(args.progress)
    with interruptible(), ProgressLine("export", export.total, mode) as bar:
        chunks = _told(export, bar)
        if not to_stdout:
            to_file(args.output, chunks)
            return Exit.DONE
        for chunk in chunks:
            context.out.write(chunk)
    context.out.flush()
    return Exit.DONE


def _tell_absent(absent: Iterable[Child]) -> None:
    names = sorted({str(each.platform or each.descriptor.digest.short()) for each in absent})
    if names:
        print_error(
            f"not here and not exported: {visible(', '.join(names), 300)}",
            "'contentui pull --all-platforms' gets them; --platform exports one that is whole",
        )


def _told(export: Export, bar: ProgressLine) -> Iterator[bytes]:
    offset = 0
    for chunk in export.chunks():
        yield chunk
        offset += len(chunk)
        bar(min(offset, export.total))
