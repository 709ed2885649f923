"""Write a blob to standard output or a file; a whole read is checked against the digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.cli.arguments import FILES, completes, digest, size
from contentui.cli.exits import Exit
from contentui.cli.progress import ProgressLine, add_progress, mode_for
from contentui.content.errors import InvalidArgument, OutOfRange

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator

    from contentui.cli.context import Context
    from contentui.content.digest import Digest
    from contentui.content.store import Store

EXAMPLES = """
  contentui get sha256:84ff92... | tar tz
  contentui get sha256:84ff92... -o layer.tar.gz      appears only when it is whole and right
  contentui get sha256:84ff92... --offset 1MiB --size 512 | xxd
"""

_PIECE = 1024 * 1024


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("digest", metavar="DIGEST", type=digest)
    parser.add_argument("--offset", metavar="SIZE", type=size, help="begin here")
    parser.add_argument("--size", metavar="SIZE", type=size, help="at most so many bytes")
    completes(
        parser.add_argument("-o", "--output", metavar="FILE", help="instead of standard output"),
        FILES,
    )
    parser.add_argument(
        "--force-tty", action="store_true", help="write to a terminal whatever the blob holds"
    )
    add_progress(parser)


def run(args: Namespace, context: Context) -> int:
    """Copy the bytes. Raises DataLoss after the last one when they are not the digest's."""
    store = context.store()
    info = store.info(args.digest)
    chunks = _chunks(store, args)
    total = info.size if args.size is None else args.size
    if args.output is not None and args.output != "-":
        from contentui.cli.signals import interruptible
        from contentui.cli.writing import to_file

        with interruptible(), ProgressLine(str(info.digest), total, mode_for(args.progress)) as bar:
            to_file(args.output, _told(chunks, bar))
        return Exit.DONE
    if context.out.is_terminal and not args.force_tty:
        chunks = _harmless(chunks, total)
    for chunk in chunks:
        context.out.write(chunk)
    context.out.flush()
    return Exit.DONE


def _chunks(store: Store, args: Namespace) -> Iterator[bytes]:
    if args.offset is None and args.size is None:
        from contentui.content.helpers import verified_chunks

        return verified_chunks(store, args.digest)
    return _range(store, args.digest, args.offset or 0, args.size)


def _range(store: Store, name: Digest, offset: int, count: int | None) -> Iterator[bytes]:
    """A part of a blob, which nothing can verify."""
    with store.reader(name) as reader:
        if offset > reader.size:
            raise OutOfRange(f"{name} ends at {reader.size}, before {offset}")
        end = reader.size if count is None else min(offset + count, reader.size)
        while offset < end and (chunk := reader.read_at(min(_PIECE, end - offset), offset)):
            offset += len(chunk)
            yield chunk


def _told(chunks: Iterator[bytes], progress: ProgressLine) -> Iterator[bytes]:
    offset = 0
    for chunk in chunks:
        yield chunk
        offset += len(chunk)
        progress(offset)


def _harmless(chunks: Iterator[bytes], total: int) -> Iterator[bytes]:
    """The chunks, if a terminal shows them as text and obeys none of them."""
    from contentui.text import visible

    data = b"".join(chunks) if total <= _PIECE else b"\0"
    text = data.decode("utf-8", "surrogateescape")
    plain = text.replace("\n", "").replace("\t", "")
    if visible(plain, len(plain) + 1) != plain:
        raise InvalidArgument(
            "refusing to write binary data to a terminal",
            advice="redirect it, use -o FILE, or --force-tty",
        )
    return iter((data,))
