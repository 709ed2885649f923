"""A process that ingests one blob at a given rate, as a pull or an upload would.

It ends when its standard input does: with the process that started it.
"""

from __future__ import annotations

import argparse
import os
import random
import select
import signal
import sys
import time
from typing import TYPE_CHECKING

from contentui.content.digest import Digest
from contentui.content.errors import AlreadyExists, ContentError, NotFound
from contentui.demo import faults
from contentui.demo.content import layer_chunks
from contentui.stores.open import open_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contentui.content.store import Store
    from contentui.content.streams import Writer

_TICK_S = 0.1
_LOOK_S = 3.0


class ParentGone(Exception):
    """Standard input ended: the parent process has ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Ingest as the arguments require; returns 0 when the blob was committed."""
    args = _parser().parse_args(argv)
    store = open_store(args.store, create=True)
    try:
        return _ingest(store, args)
    except (ParentGone, KeyboardInterrupt):
        return 0
    except ContentError:
        return 1  # aborted by the user of the demo


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="contentui-demo-writer")
    parser.add_argument("store")
    parser.add_argument("ref")
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="bytes per second")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--compression", default="gzip")
    parser.add_argument("--undeclared", action="store_true", help="declare no total")
    parser.add_argument("--expected", type=Digest.parse)
    parser.add_argument("--stop-at", type=float, default=2.0, help="stop at this fraction")
    parser.add_argument("--then", choices=("stall", "die", "damage"), default="stall")
    parser.add_argument(
        "--age", type=float, default=0.0, help="seconds to age the ingest by when it stops"
    )
    parser.add_argument("--label", action="append", default=[])
    return parser


def _ingest(store: Store, args: argparse.Namespace) -> int:
    total = 0 if args.undeclared else args.size
    labels = dict(text.split("=", 1) for text in args.label)
    try:
        writer = store.writer(args.ref, total=total, expected=args.expected, labels=labels)
    except AlreadyExists:
        return 0
    with writer:
        _append(store, writer, args)
        try:
            writer.commit(args.size, args.expected)
        except AlreadyExists:
            return 0
    return 0


def _append(store: Store, writer: Writer, args: argparse.Namespace) -> None:
    """Write at the given rate, with jitter, in pieces of at most a tenth of a second."""
    stop_at = args.size * args.stop_at
    jitter = random.Random(args.seed)  # noqa: S311 - not for security
    allowed = 0.0
    skip = writer.offset
    for chunk in layer_chunks(args.seed, args.size, args.compression):
        view = memoryview(chunk)[min(skip, len(chunk)) :]
        skip -= len(chunk) - len(view)
        while view:
            if writer.offset >= stop_at:
                _stop(store, args)
            if allowed < 1:
                _wait(_TICK_S)
                allowed += args.rate * _TICK_S * jitter.uniform(0.5, 1.5)
            piece = view[: max(int(allowed), 1)]
            writer.write(piece)
            allowed -= len(piece)
            view = view[len(piece) :]


def _stop(store: Store, args: argparse.Namespace) -> None:
    """Do what ``--then`` requires: hold the ref without writing, or be killed."""
    if args.age:
        faults.make_old(args.store, args.ref, args.age)
    if args.then == "damage":
        faults.damage(args.store, args.ref)
    if args.then != "stall":
        os.kill(os.getpid(), signal.SIGKILL)
    _hold(store, args.ref)


def _hold(store: Store, ref: str) -> None:
    """Hold the ref and write nothing, until the ingest is removed. Raises ParentGone."""
    while True:
        deadline = time.monotonic() + _LOOK_S
        while (left := deadline - time.monotonic()) > 0:
            _wait(left)
        try:
            store.status(ref)
        except NotFound:
            raise ParentGone from None


def _wait(seconds: float) -> None:
    """Sleep. Raises ParentGone when standard input ends meanwhile."""
    if select.select([sys.stdin], [], [], seconds)[0]:
        raise ParentGone


if __name__ == "__main__":
    raise SystemExit(main())
