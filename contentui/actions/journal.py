"""What was destroyed, when, by whom: JSON lines that outlive the screen."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from contentui.actions.records import (
    holder_to_json,
    referrers_to_json,
    target_to_json,
    text_value,
)
from contentui.text import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contentui.actions.model import Outcome

MAX_SIZE = 16 * 1024 * 1024
"""Bytes at which a journal is put aside as ``.1``, in place of the one before."""

_MAX_TAIL = 4 * 1024 * 1024
_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


def default_path() -> str:
    """``contentui/journal.jsonl`` in the user's state directory (XDG Base Directory)."""
    state = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):
        state = os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(state, "contentui", "journal.jsonl")


class Journal:
    """An append-only file that many processes may share. No method raises OSError.

    Attributes:
        path: where it is; ``/dev/null`` keeps nothing.
        problem: why the last line could not be written, or the last look not be taken, in words
            (with the path: hostile text); empty when all is well.
    """

    def __init__(self, path: str | None = None, *, max_size: int = MAX_SIZE) -> None:
        self.path = default_path() if path is None else path
        self.problem = ""
        self._max_size = max_size
        self._user = _user_name()

    def write(self, source: str, outcome: Outcome, at_ns: int) -> None:
        """Append one line about what happened at ``at_ns`` (nanoseconds since 1970)."""
        step = outcome.step
        facts = {
            "verb": str(step.verb),
            "name": text_value(step.name),
            **target_to_json(step),
            "holder": holder_to_json(step.holder),
            **referrers_to_json(step.referrers),
            "result": str(outcome.result),
            "reason": text_value(outcome.reason),
        }
        self.write_facts(source, facts, at_ns)

    def write_facts(self, source: str, facts: dict[str, Any], at_ns: int) -> None:
        """Append one line with ``facts``, JSON values, about what happened at ``at_ns``."""
        line = json.dumps(self._origin(source, at_ns) | facts, separators=(",", ":"))
        try:
            self._append(line.encode() + b"\n")
            self.problem = ""
        except OSError as error:
            self.problem = f"the journal {self.path} can't be written: {_why(error)}"

    def tail(self, count: int) -> list[dict[str, Any]]:
        """The last ``count`` readable lines, oldest first, out of the last 4 MiB.

        Torn and foreign lines are left out. Continues in the journal that was put aside.
        """
        self.problem = ""
        records = self._last(self.path, count)
        if len(records) < count:
            records = self._last(self.path + ".1", count - len(records)) + records
        return records

    def _origin(self, source: str, at_ns: int) -> dict[str, Any]:
        """When, who and where: how every line begins."""
        return {
            "at": rfc3339(at_ns),
            "user": self._user,
            "uid": os.getuid(),
            "pid": os.getpid(),
            "cwd": _folder(),
            "source": text_value(source),
        }

    def _append(self, line: bytes) -> None:
        with self._opened() as fd:
            if _tail_is_torn(fd):
                line = b"\n" + line
            written = os.write(fd, line)
            if written < len(line):
                raise OSError(0, f"only {written} of {len(line)} bytes of a line fit")

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """The journal, locked as far as that works, put aside before when it is full."""
        fd = self._open()
        try:
            if _lock(fd) and os.fstat(fd).st_size >= self._max_size and self._is_current(fd):
                os.rename(self.path, self.path + ".1")
                os.close(fd)
                fd = -1
                fd = self._open()
                _lock(fd)
            yield fd
        finally:
            if fd >= 0:
                os.close(fd)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | _FLAGS
        try:
            fd = os.open(self.path, flags, 0o600)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self.path), 0o700, exist_ok=True)
            fd = os.open(self.path, flags, 0o600)
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISCHR(mode):
            os.close(fd)
            raise OSError(0, "it is no regular file")
        return fd

    def _is_current(self, fd: int) -> bool:
        """Whether the path still leads to this file: another process may have put it aside."""
        here, there = os.fstat(fd), os.lstat(self.path)
        return stat.S_ISREG(here.st_mode) and (here.st_dev, here.st_ino) == (
            there.st_dev,
            there.st_ino,
        )

    def _last(self, path: str, count: int) -> list[dict[str, Any]]:
        try:
            fd = os.open(path, os.O_RDONLY | _FLAGS)
        except FileNotFoundError:
            return []
        except OSError as error:
            self.problem = f"the journal {path} can't be read: {_why(error)}"
            return []
        try:
            return _last_records(fd, count)
        except OSError as error:
            self.problem = f"the journal {path} can't be read: {_why(error)}"
            return []
        finally:
            os.close(fd)


def _why(error: OSError) -> str:
    return "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror or str(error)


def _lock(fd: int) -> bool:
    """Lock the journal unless another process has it: never wait for another process's line."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _tail_is_torn(fd: int) -> bool:
    """Whether the last line lacks its end: a full disk or a crash cut it short."""
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
        return False
    return os.pread(fd, 1, status.st_size - 1) not in (b"\n", b"")


def _last_records(fd: int, count: int) -> list[dict[str, Any]]:
    """The last records of a file, read backwards in growing pieces."""
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or count <= 0:
        return []
    length = 64 * 1024
    while True:
        start = max(status.st_size - length, 0)
        lines = os.pread(fd, status.st_size - start, start).split(b"\n")
        if start > 0:
            del lines[0]  # its beginning is not in this piece
        records = [record for line in lines if (record := _parse(line)) is not None]
        if len(records) >= count or start == 0 or length >= _MAX_TAIL:
            return records[-count:]
        length *= 4


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _folder() -> str:
    """What a relative source is relative to; empty when that folder is gone."""
    try:
        return text_value(os.getcwd())
    except OSError:
        return ""


def _user_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
