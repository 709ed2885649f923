"""SIGTERM and SIGHUP as exceptions, so that long work can tidy up as it does for Ctrl-C."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


class Signalled(KeyboardInterrupt):
    """A signal that asks us to end."""

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.signum = signum


def _raise(signum: int, _frame: FrameType | None) -> None:
    raise Signalled(signum)


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside: SIGINT, SIGTERM and SIGHUP raise `Signalled` in the main thread."""
    import signal

    wanted = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    # what the caller has us ignore (nohup, a background job) stays ignored
    before = {s: signal.getsignal(s) for s in wanted if signal.getsignal(s) != signal.SIG_IGN}
    for signum in before:
        signal.signal(signum, _raise)
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Inside: a second Ctrl-C does not cut short what the first one began."""
    import signal

    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {signum: signal.signal(signum, signal.SIG_IGN) for signum in wanted}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
