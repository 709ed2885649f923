"""Standard output in large chunks; errors and notes on standard error."""

from __future__ import annotations

import os
import sys
from itertools import islice
from typing import TYPE_CHECKING

from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

_LINES_AT_ONCE = 4096


class OutputError(Exception):
    """Standard output takes no more bytes; `__cause__` is the operating system's error."""


class Output:
    """Standard output as UTF-8, whatever the locale; written in pieces of thousands of lines."""

    @property
    def is_terminal(self) -> bool:
        return sys.stdout is not None and sys.stdout.isatty()

    @property
    def width(self) -> int | None:
        """Columns of the terminal; None when the output goes elsewhere and nothing need fit."""
        if not self.is_terminal:
            return None
        columns = os.environ.get("COLUMNS", "")
        if columns.isdecimal() and int(columns) > 0:
            return int(columns)
        try:
            return os.get_terminal_size(sys.stdout.fileno()).columns or 80
        except OSError:
            return 80

    @property
    def stream(self) -> BinaryIO:
        """The binary stream behind standard output.

        Raises:
            OutputError: it is closed.
        """
        if sys.stdout is None:
            raise OutputError("it is closed")
        return sys.stdout.buffer

    def write(self, data: bytes | memoryview) -> None:
        """Write bytes. Raises OutputError; BrokenPipeError when the reader has gone."""
        try:
            stream, rest = self.stream, memoryview(data)
            while rest:  # an unbuffered stream (python -u) may take less than all of it
                rest = rest[stream.write(rest) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(error.strerror or str(error)) from error

    def lines(self, lines: Iterable[str]) -> None:
        """Write lines, given without their ends."""
        rest = iter(lines)
        while some := list(islice(rest, _LINES_AT_ONCE)):
            some.append("")
            self.write("\n".join(some).encode("utf-8", "surrogateescape"))

    def line(self, line: str) -> None:
        """Write one line and flush it, for programs that read it live."""
        self.lines((line,))
        self.flush()

    def flush(self) -> None:
        """Hand everything to the operating system. Raises as `write` does."""
        if sys.stdout is None:
            return
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(error.strerror or str(error)) from error

    def abandon(self) -> None:
        """Discard what is still buffered, so that the interpreter reports no error at exit."""
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 1)
        os.close(sink)


def print_error(message: str, advice: str = "") -> None:
    """Print an error and, on the next line, what to do about it, on standard error."""
    text = f"contentui: {visible(message)}\n"
    if advice:
        text += f"  {visible(advice)}\n"
    write_stderr(text)


def print_note(message: str) -> None:
    """Print a line on standard error that is not an error."""
    write_stderr(visible(message) + "\n")


def write_stderr(text: str) -> None:
    """Write to standard error; a closed one must not end the work that it reports."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):
        pass
