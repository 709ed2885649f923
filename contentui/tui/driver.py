"""Textual's terminal driver, for terminals that close, stop reading, or are stopped and continued.

Whatever the terminal does, the process ends within `END_S` of being told to.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import threading
import time
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TextIO, cast

from textual.drivers.linux_driver import LinuxDriver

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from textual.app import App

END_S = 2.5
"""Seconds between the request to end and the end of the process."""
KILL_S = 2.9
"""Seconds until SIGALRM ends a process whose interpreter hangs."""
_RESTORE = (
    b"\x1b[?2004l\x1b[?7h\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[<u\x1b[?1049l\x1b[?25h"
)
"""Ends bracketed paste, mouse and keyboard reports and the alternate screen; shows the cursor."""


class TerminalDriver(LinuxDriver):
    """The driver of the dashboard's real terminal."""

    def __init__(self, app: App[Any], **options: Any) -> None:
        super().__init__(app, **options)
        output: Any = _Output(cast("TextIO", sys.__stderr__), self._lost)
        self._file = output
        self._is_ending = False
        self._end_requests: SimpleQueue[int] = SimpleQueue()
        threading.Thread(target=self._force_end, name="force-end", daemon=True).start()

    def end(self, code: int) -> None:
        """End the process with exit code ``code`` if it has not ended in time by itself.

        Textual's main thread may wait for ever for a terminal that does not read. May be called
        from a signal handler; the first call counts.
        """
        if not self._is_ending:
            self._is_ending = True
            signal.setitimer(signal.ITIMER_REAL, KILL_S)
            self._end_requests.put(code)

    def end_on_signals(self, end: Callable[[int], object]) -> None:
        """Have SIGTERM and SIGHUP call `end` and the argument, both with the exit code.

        Not through the event loop: it may wait for the terminal.
        """

        def handler(number: int, _: FrameType | None) -> None:
            self.end(128 + number)
            end(128 + number)

        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, handler)

    def _lost(self) -> None:
        """The terminal is gone, also where no SIGHUP tells it."""
        self.end(128 + signal.SIGHUP)
        self._app.call_later(self._app.exit, return_code=128 + signal.SIGHUP)

    def _force_end(self) -> None:
        code = self._end_requests.get()
        time.sleep(END_S)
        if self.attrs_before is not None:
            with suppress(OSError, termios.error):  # it may be closed
                termios.tcsetattr(self.fileno, termios.TCSANOW, self.attrs_before)
                output = cast("TextIO", sys.__stderr__).fileno()
                if select.select([], [output], [], 0)[1]:
                    os.write(output, _RESTORE)
        os._exit(code)

    def _sigcont_application(self, *_: object) -> None:
        """Continue after Ctrl-Z, or draw again after another process stopped this one.

        A terminal that closes sends SIGCONT too, to a process that was not stopped: a second
        application mode would start threads that nobody ends.
        """
        if not self._auto_restart:
            return
        try:
            termios.tcgetattr(self.fileno)
        except termios.error:
            return
        if not self._must_signal_resume:
            self.suspend_application_mode()
            self._must_signal_resume = True
        self.resume_application_mode()


class _Output:
    """The terminal's output, which takes everything and drops it once the terminal is gone.

    Textual's writer thread ends at the first error, and the main thread then waits for ever when
    its queue is full.
    """

    def __init__(self, file: TextIO, lost: Callable[[], object]) -> None:
        self._file = file
        self._lost = lost
        self._is_lost = False

    def write(self, text: str) -> None:
        self._try(lambda: self._file.write(text))

    def flush(self) -> None:
        self._try(self._file.flush)

    def fileno(self) -> int:
        return self._file.fileno()

    def isatty(self) -> bool:
        return self._file.isatty()

    def _try(self, act: Callable[[], object]) -> None:
        if self._is_lost:
            return
        try:
            act()
        except OSError:
            self._is_lost = True
            self._lost()
