"""Write images to one OCI archive, for containerd, podman, skopeo and `docker load`.

All content is compared with its digests. The same images result in the same archive. A failure
leaves no file, or on standard output an incomplete archive without images.
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
    from contentui.oci.documents import Child

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
        help="for example linux/arm64; repeatable (default: all that are in the store)",
    )
    add_progress(parser)


def run(args: Namespace, context: Context) -> int:
    """Write the archive. Raises DataLoss when a blob is damaged; the output has no images then."""
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
    _report_absent(export.absent)
    mode = "none" if to_stdout and args.progress is None else mode_for(args.progress)
    with interruptible(), ProgressLine("export", export.total, mode) as bar:
        chunks = _with_progress(export, bar)
        if not to_stdout:
            to_file(args.output, chunks)
            return Exit.DONE
        for chunk in chunks:
            context.out.write(chunk)
    context.out.flush()
    return Exit.DONE


def _report_absent(absent: Iterable[Child]) -> None:
    names = sorted({str(each.platform or each.descriptor.digest.short()) for each in absent})
    if names:
        print_error(
            f"not exported, because not in the store: {visible(', '.join(names), 300)}",
            "'contentui pull --all-platforms' downloads them; --platform exports only one",
        )


def _with_progress(export: Export, bar: ProgressLine) -> Iterator[bytes]:
    offset = 0
    for chunk in export.chunks():
        yield chunk
        offset += len(chunk)
        bar(min(offset, export.total))
