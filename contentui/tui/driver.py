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
from codecs import getincrementaldecoder
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TextIO, cast

from textual import constants
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

from contentui.glyphs import GLYPHS, ascii_cells

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from textual.app import App

END_S = 2.5
"""Seconds between the request to end and the end of the process."""
KILL_S = 2.9
"""Seconds until SIGALRM ends a process whose interpreter hangs."""
_ESCAPE_STEP_S = 0.05
_MOST_TYPED = 4096
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
        self._is_restarted = True
        self.exit_event: _InputEnd = _InputEnd()
        self._end_requests: SimpleQueue[int] = SimpleQueue()
        threading.Thread(target=self._force_end, name="force-end", daemon=True).start()

    def start_application_mode(self) -> None:
        self._is_restarted = True  # the alternate screen begins empty
        super().start_application_mode()  # type: ignore[no-untyped-call]  # Textual declares no type

    def take_restarted(self) -> bool:
        """Whether application mode has begun, or begun again, since the last call."""
        restarted, self._is_restarted = self._is_restarted, False
        return restarted

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

    def run_input_thread(self) -> None:
        """Pass on what is typed. Textual's own looks ten times a second whether it must end."""
        parser = XTermParser(self._debug)
        decode = getincrementaldecoder("utf-8")("replace").decode
        poll = select.poll()
        poll.register(self.fileno, select.POLLIN)
        poll.register(self.exit_event.descriptor, select.POLLIN)
        typed_at = 0.0
        while not self.exit_event.is_set():
            # The parser waits for the rest of an escape sequence, until `tick` is called.
            is_recent = time.monotonic() - typed_at < constants.ESCAPE_DELAY + _ESCAPE_STEP_S
            ready = poll.poll(_ESCAPE_STEP_S * 1000 if is_recent else None)
            if any(fd == self.fileno for fd, _ in ready):
                typed_at = time.monotonic()
                try:
                    data = os.read(self.fileno, _MOST_TYPED)
                except OSError:
                    data = b""
                if not data:
                    self._lost()
                    return
                for event in parser.feed(decode(data)):
                    self.process_message(event)
            for event in parser.tick():
                self.process_message(event)

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


class _InputEnd(threading.Event):
    """An event that also wakes whoever polls its descriptor."""

    def __init__(self) -> None:
        super().__init__()
        self.descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def set(self) -> None:
        super().set()
        os.eventfd_write(self.descriptor, 1)

    def clear(self) -> None:
        super().clear()
        with suppress(BlockingIOError):  # it was not set
            os.eventfd_read(self.descriptor)


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
        if not GLYPHS.utf8:
            text = ascii_cells(text)
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
