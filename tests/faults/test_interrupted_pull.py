"""A pull that a signal interrupts anywhere: every ref is unlocked before `run` ends."""

from __future__ import annotations

import signal
import sys
import time
from itertools import count
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from contentui.content.digest import Digest
from contentui.demo.registry import Registry as ServingRegistry
from contentui.demo.registry import Throttle
from contentui.demo.unpackable import make_unpackable
from contentui.oci.references import parse_reference
from contentui.remotes.registry import Registry
from contentui.remotes.settings import Settings
from contentui.stores.local.store import LocalStore
from contentui.transfers.pull import Pull

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

IMAGE = make_unpackable(7, [3 << 20, 1000, 2000])
LARGE = Digest.of(IMAGE.layers[0])


class Interruption(BaseException):
    """What a signal handler raises."""


class Interrupter:
    """Raises `Interruption` at the ``at``-th line of our code that waiting for workers runs."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.by_alarm = False
        """Whether the alarm came first: all lines before the wait have had their turn."""

    def alarm(self, *_: object) -> NoReturn:
        self.by_alarm = True
        raise Interruption

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "call":
            ours = "contentui" in frame.f_code.co_filename
            return self if ours and within(frame, "_run_workers") else None
        if event == "line" and not self.by_alarm:
            self.left -= 1
            if self.left == 0:
                raise Interruption
        return self


def within(frame: FrameType | None, name: str) -> bool:
    while frame is not None:
        if frame.f_code.co_name == name:
            return True
        frame = frame.f_back
    return False


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGALRM)
    yield
    sys.settrace(None)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.timeout(300)
def test_an_interruption_anywhere_unlocks_every_ref(tmp_path: Path) -> None:
    throttle = Throttle()
    for at in count(1):
        throttle.stalled.clear()
        throttle.stall_at[LARGE] = 1 << 20
        interrupter = Interrupter(at)
        signal.signal(signal.SIGALRM, interrupter.alarm)
        with (
            ServingRegistry(throttle) as serving,
            LocalStore(tmp_path / str(at)) as store,
            Registry(parse_reference(serving.add(IMAGE)), Settings()) as remote,
        ):
            pull = Pull(store, remote)
            signal.setitimer(signal.ITIMER_REAL, 1)
            began = time.monotonic()
            sys.settrace(interrupter)
            with pytest.raises(Interruption):
                pull.run()
            sys.settrace(None)
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert time.monotonic() - began < 10, f"line {at}: it waited for the registry"
            for status in store.statuses():
                store.writer(status.ref).close()  # Locked if a worker still had it
        if interrupter.by_alarm:
            break
    assert at > 10
