"""One process that ingests one thing at its own pace, as a pull or an upload would.

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
from contentui.demo import trouble
from contentui.demo.content import layer_chunks
from contentui.stores.open import open_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contentui.content.store import Store
    from contentui.content.streams import Writer

_TICK_S = 0.1
_LOOK_S = 3.0


class ParentGone(Exception):
    """Nobody is left to write for."""


def main(argv: Sequence[str] | None = None) -> int:
    """Ingest as the arguments say; 0 when it was committed."""
    args = _parser().parse_args(argv)
    store = open_store(args.store, create=True)
    try:
        return _ingest(store, args)
    except (ParentGone, KeyboardInterrupt):
        return 0
    except ContentError:
        return 1  # aborted under our hands, as the screen's keys may do


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="contentui-demo-writer")
    parser.add_argument("store")
    parser.add_argument("ref")
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="bytes per second")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--compression", default="gzip")
    parser.add_argument("--undeclared", action="store_true", help="don't say the total")
    parser.add_argument("--expected", type=Digest.parse)
    parser.add_argument("--stop-at", type=float, default=2.0, help="go no further than this part")
    parser.add_argument("--then", choices=("stall", "die", "damage"), default="stall")
    parser.add_argument("--age", type=float, default=0.0, help="seconds to look older by then")
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
    """Write at the wanted rate, a little unsteadily, in pieces as small as the rate asks for."""
    stop_at = args.size * args.stop_at
    waggle = random.Random(args.seed)  # noqa: S311 - decoration, no secret
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
                allowed += args.rate * _TICK_S * waggle.uniform(0.5, 1.5)
            piece = view[: max(int(allowed), 1)]
            writer.write(piece)
            allowed -= len(piece)
            view = view[len(piece) :]


def _stop(store: Store, args: argparse.Namespace) -> None:
    """What is asked for in the middle of an ingest: silence, or a sudden death."""
    if args.age:
        trouble.grow_old(args.store, args.ref, args.age)
    if args.then == "damage":
        trouble.damage(args.store, args.ref)
    if args.then != "stall":
        os.kill(os.getpid(), signal.SIGKILL)
    _be_silent(store, args.ref)


def _be_silent(store: Store, ref: str) -> None:
    """Hold the ref and write nothing, until the ingest is taken away."""
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
