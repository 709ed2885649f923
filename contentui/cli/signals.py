"""SIGINT, SIGTERM and SIGHUP as exceptions, so that long work can tidy up before it ends."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signalled(KeyboardInterrupt):
    """A signal that asks us to end."""

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.signum = signum


def catch_interrupts() -> None:
    """From here on Ctrl-C raises KeyboardInterrupt, where it would end the process so far."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def ignore_more() -> None:
    """From here on a second Ctrl-C doesn't cut short what the first one began: the end."""
    for signum in _ENDING:
        signal.signal(signum, signal.SIG_IGN)


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside: the first SIGINT, SIGTERM or SIGHUP raises `Signalled`; further ones do nothing."""
    ended = False

    def end(signum: int, _frame: FrameType | None) -> None:
        nonlocal ended
        ended = True
        ignore_more()
        raise Signalled(signum)

    # what the caller has us ignore (nohup, a background job) stays ignored
    before = {s: signal.getsignal(s) for s in _ENDING if signal.getsignal(s) != signal.SIG_IGN}
    for signum in before:
        signal.signal(signum, end)
    try:
        yield
    finally:
        if not ended:
            for signum, handler in before.items():
                signal.signal(signum, handler)
