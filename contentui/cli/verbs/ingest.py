"""Store content from a file or standard input; an interrupted ingest is resumed.

Prints the digest. A blob that exists already counts as success.
"""

from __future__ import annotations

import io
import os
import stat
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

from contentui.cli.arguments import (
    FILES,
    add_format,
    completes,
    digest,
    duration,
    label,
    ref,
    size,
)
from contentui.cli.exits import Exit
from contentui.cli.output import print_error, print_note
from contentui.cli.progress import ProgressLine, add_progress, mode_for
from contentui.content.errors import ContentError, FailedPrecondition, InvalidArgument
from contentui.content.helpers import lock_holders

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator

    from _typeshed import WriteableBuffer

    from contentui.cli.context import Context
    from contentui.content.helpers import Written
    from contentui.content.store import Store

EXAMPLES = """
  contentui ingest layer-1 --from layer.tar.gz
  curl -s "$URL" | contentui ingest layer-2 --expected-digest sha256:84ff92...
  contentui ingest --expected-digest sha256:84ff92... --from layer.tar.gz
  contentui ingest layer-1 --from layer.tar.gz --wait=10m
  printf '%s\\n' *.tar | xargs -P10 -I{} contentui ingest {} --from {} --wait
"""


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_format(parser, quiet="the digest alone: no progress, no notes")
    parser.add_argument(
        "ref",
        metavar="REF",
        nargs="?",
        type=ref,
        help="the ingest's name (default: the expected digest)",
    )
    completes(
        parser.add_argument(
            "--from", metavar="FILE", dest="file", help="instead of standard input"
        ),
        FILES,
    )
    parser.add_argument("--expected-digest", metavar="DIGEST", type=digest)
    parser.add_argument(
        "--expected-size", metavar="SIZE", type=size, help="4096, 10MB (decimal), 10MiB (binary)"
    )
    parser.add_argument(
        "--label", metavar="KEY=VALUE", action="append", type=label, default=[], help="repeatable"
    )
    parser.add_argument(
        "--wait",
        metavar="TIME",
        nargs="?",
        type=_wait,
        default=0.0,
        help="when another writer has the ref: wait, with =TIME at most so long",
    )
    add_progress(parser)


def _wait(text: str) -> float | None:
    return duration(text) if text else None


def run(args: Namespace, context: Context) -> int:
    """Ingest; on an interruption, report what is kept and how to resume."""
    from contentui.cli.signals import Signalled, interruptible

    name = args.ref or args.expected_digest
    if name is None:
        raise InvalidArgument(
            "an ingest needs a name", advice="give a REF, or --expected-digest, which names it too"
        )
    with _source(args.file, quiet=args.quiet) as source:
        total = _total(source, args)
        store = context.store(create=True)
        try:
            with interruptible(), _named_errors(args, source):
                written = _write(args, name, store, source, total)
        except Signalled as error:
            _tell_what_is_kept(args, context, store, name, source.seekable())
            return 128 + error.signum
    _print(args, context, written)
    return Exit.DONE


@contextmanager
def _named_errors(args: Namespace, source: BinaryIO) -> Iterator[None]:
    """Add the source to an error, and whether it changed while it was read."""
    name = args.file or "standard input"
    before = os.fstat(source.fileno()) if source.seekable() else None
    try:
        yield
    except OSError as error:  # the source's own: those of the store are ContentErrors
        if error.filename is None:
            error.filename = name
        raise
    except FailedPrecondition as error:
        now = os.fstat(source.fileno()) if before is not None else None
        if before is None or now is None or before.st_size == now.st_size:
            raise
        raise FailedPrecondition(
            f"{name} changed while it was read: it had {before.st_size} bytes and has"
            f" {now.st_size} now ({error.message})",
            advice="ingest it again when nothing writes to it any more",
        ) from error


def _source(path: str | None, *, quiet: bool) -> BinaryIO:
    if path is not None and path != "-":
        return cast("BinaryIO", open(path, "rb", buffering=0))
    if sys.stdin is None:
        raise InvalidArgument("standard input is closed", advice="name a file by --from")
    # unbuffered: a pipe's bytes may stay in the kernel
    raw = io.FileIO(sys.stdin.fileno(), "rb", closefd=False)
    if not sys.stdin.isatty():
        return cast("BinaryIO", raw)
    if not quiet:
        print_note("reading standard input: type, and end with Ctrl-D; a file is named by --from")
    return cast("BinaryIO", _Keyboard(raw))


class _Keyboard(io.RawIOBase):
    """A terminal as a source: its end is an end, though another read would wait for more keys."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        count = 0 if self._ended else self._raw.readinto(buffer)
        self._ended = count == 0
        return count


def _total(source: BinaryIO, args: Namespace) -> int | None:
    """Bytes that must come, where that is known; None: whatever there is to the source's end.

    Raises:
        FailedPrecondition: the file hasn't the expected size; raised before it is read.
        IsADirectoryError: a directory is no content.
    """
    wanted = cast("int | None", args.expected_size)
    if not source.seekable():
        return wanted
    about = os.fstat(source.fileno())
    if not stat.S_ISREG(about.st_mode):
        return wanted
    if not about.st_blocks:
        return wanted  # /proc and /sys report 0 or 4096 bytes, whatever is read from them
    there = max(about.st_size - source.tell(), 0)
    if wanted is not None and wanted != there:
        raise FailedPrecondition(f"{args.file or 'standard input'}: {there} bytes, not {wanted}")
    return there


def _write(
    args: Namespace, name: str, store: Store, source: BinaryIO, total: int | None
) -> Written:
    from contentui.content.helpers import write_blob

    mode = mode_for(args.progress or ("none" if args.quiet else None))
    with ProgressLine(name, total or 0, mode) as progress:
        return write_blob(
            store,
            name,
            source,
            size=total,
            expected=args.expected_digest,
            labels=dict(args.label) or None,
            wait_s=args.wait,
            progress=progress,
        )


def _print(args: Namespace, context: Context, written: Written) -> None:
    if args.json:
        from contentui.present.records import json_line, written_record

        record = written_record(written.info, written.outcome, written.resumed_from)
        context.out.line(json_line(record))
        return
    if not args.quiet and mode_for(None) == "bar" and written.outcome != "created":
        from contentui.text import human_size

        resumed = f"resumed from {human_size(written.resumed_from)}"
        existed = written.outcome == "existed"
        print_note("the blob was in the store already" if existed else resumed)
    context.out.line(str(written.info.digest))


def _tell_what_is_kept(
    args: Namespace, context: Context, store: Store, name: str, rewindable: bool
) -> None:
    from contentui.present.shell import shell_line
    from contentui.present.texts import exact_size
    from contentui.text import holder_text, visible

    try:
        status = store.status(name)
    except ContentError:
        print_error("interrupted before anything was kept")
        return
    again = shell_line(["contentui", *context.argv])
    if holder := (lock_holders(store, (status.id,)) or {}).get(status.id):
        print_error(
            f"interrupted while {holder_text(holder, time.time_ns())} holds the ref",
            f"retry with: {again}",
        )
        return
    advice = f"resume with: {again}"
    if not rewindable:
        advice = f"a pipe starts over, a file is resumed: {again} --from FILE"
    if args.file is None and rewindable:
        advice += " < FILE"
    print_error(
        f"interrupted: the ingest {visible(name, 160)} is kept at {exact_size(status.offset)}",
        advice,
    )
