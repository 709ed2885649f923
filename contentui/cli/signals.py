"""SIGINT, SIGTERM and SIGHUP as exceptions, so that long work can tidy up before it ends."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signalled(KeyboardInterrupt):
    """A signal that asks us to end."""

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.signum = signum


def ignore_more() -> None:
    """From here on a second Ctrl-C doesn't cut short what the first one began: the end."""
    for signum in _ENDING:
        signal.signal(signum, signal.SIG_IGN)


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside: the first SIGINT, SIGTERM or SIGHUP raises `Signalled`; further ones do nothing."""
    with _handled(_end):
        yield


@contextmanager
def stoppable() -> Iterator[Callable[[], None]]:
    """Inside: a signal waits until the yielded function is called, which raises `Signalled`.

    So that what is destroyed is also noted and told. A second signal raises at once.
    """
    came: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        if came:
            _end(signum, frame)
        came.append(signum)

    def stop() -> None:
        if came:
            _end(came[0], None)

    with _handled(note):
        yield stop


def _end(signum: int, _frame: FrameType | None) -> NoReturn:
    ignore_more()
    raise Signalled(signum)


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Inside: signals that ask us to end go to ``handler``. After one did, they stay ignored."""
    # what the caller has us ignore (nohup, a background job) stays ignored
    before = {s: signal.getsignal(s) for s in _ENDING if signal.getsignal(s) != signal.SIG_IGN}
    for signum in before:
        signal.signal(signum, handler)
    try:
        yield
    finally:
        for signum, old in before.items():
            if signal.getsignal(signum) is handler:
                signal.signal(signum, old)
