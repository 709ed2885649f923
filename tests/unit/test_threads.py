from __future__ import annotations

import signal
import threading
import time
from typing import NoReturn

import pytest

from contentui.threads import WorkerThread


class Interruption(BaseException):
    pass


def test_a_join_after_an_interrupted_one_waits_for_the_end():
    ended: list[int] = []
    thread = WorkerThread(lambda: (time.sleep(0.4), ended.append(1)))

    def interrupt(*_: object) -> NoReturn:
        raise Interruption

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        thread.start()
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Interruption):
            thread.join()
        assert not ended
        thread.join()
        assert ended
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_thread_that_fails_has_ended_too(monkeypatch):
    failures = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    thread = WorkerThread(lambda: 1 / 0)
    assert not thread.begun
    thread.start()
    thread.join()
    assert thread.begun
