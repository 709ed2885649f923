"""The lock under which labelled blobs get and lose their names: ``.contentui/naming``.

It is flock(2)'s, of which the kernel serves those that wait in turn, and frees it when its
holder dies. It is never broken: a holder that is stopped is named instead.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from typing import TYPE_CHECKING

from contentui.content.errors import Unavailable
from contentui.stores.local import files, proc_locks
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT_S = 30.0
"""How long a living holder is waited for, seconds."""
STOPPED_S = 2.0
"""How long a holder that is stopped is waited for, seconds."""
_LOOK_S = 0.25
_FILE = "naming"


class HolderStopped(Unavailable):
    """Whoever has the lock is stopped, and may be for ever."""


class NamingLock:
    """The lock of one store, for all its processes and threads."""

    def __init__(self, directory: files.Directory) -> None:
        self._directory = directory

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep all others from giving and taking labelled names meanwhile. Not reentrant.

        Raises:
            Unavailable: another process kept it for 30 s, or is stopped; the error names it.
            OSError: the file can't be made or locked.
        """
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        while True:
            directory = self._directory.fd_or_make()
            fd = files.open_private(_FILE, flags, directory)
            try:
                self._take(fd)
                if not self._is_current(fd, directory):
                    continue  # it was replaced between opening and locking
                yield
                return
            finally:
                # Explicit, before closing: a forked child may have a copy of the descriptor.
                try:
                    with contextlib.suppress(OSError):
                        fcntl.flock(fd, fcntl.LOCK_UN)
                finally:
                    files.close(fd)

    @staticmethod
    def _is_current(fd: int, directory: int) -> bool:
        try:
            now = os.stat(_FILE, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return files.same_file(now, os.fstat(fd))

    def _take(self, fd: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiter = _Waiter(fd)
            patience = Patience(os.fstat(fd), f"{self._directory.path}/{_FILE}")
            try:
                while not waiter.done.wait(_LOOK_S):
                    patience.check()
            except BaseException:
                waiter.abandon()
                raise
            waiter.check()


class _Waiter:
    """A thread that waits for the lock in the kernel's queue, which polling would never join."""

    def __init__(self, fd: int) -> None:
        self.done = threading.Event()
        self._fd = os.dup(fd)
        self._abandoned = False
        self._error: OSError | None = None
        self._mutex = threading.Lock()
        threading.Thread(target=self._wait, name="naming lock", daemon=True).start()

    def abandon(self) -> None:
        """Let the lock go as soon as it comes."""
        with self._mutex:
            self._abandoned = True
            if self.done.is_set():
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def check(self) -> None:
        """Raise what waiting raised."""
        if self._error is not None:
            raise self._error

    def _wait(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        except OSError as error:
            self._error = error
        with self._mutex:
            if self._abandoned:
                with contextlib.suppress(OSError):
                    fcntl.flock(self._fd, fcntl.LOCK_UN)
            self.done.set()
        os.close(self._fd)


class Patience:
    """How long to wait for whoever has a file locked."""

    def __init__(self, found: os.stat_result, path: str, stopped_s: float | None = None) -> None:
        """``stopped_s``: how long to wait for one that is stopped; None: `STOPPED_S`."""
        self._found = found
        self._path = path
        self._stopped_s = STOPPED_S if stopped_s is None else stopped_s
        self._begun = time.monotonic()
        self._stopped_since: float | None = None

    def check(self) -> None:
        """Raises Unavailable, which names the holder, when that has been long enough."""
        now = time.monotonic()
        pid = self._holder()
        stopped = pid > 0 and proc_locks.is_stopped(pid)
        if not stopped:
            self._stopped_since = None
        elif self._stopped_since is None:
            self._stopped_since = now
        if self._stopped_since is not None and now - self._stopped_since >= self._stopped_s:
            raise self.error(pid, stopped=True)
        if now - self._begun > WAIT_S:
            raise self.error(pid, stopped=False)

    def error(self, pid: int, *, stopped: bool) -> Unavailable:
        """The error that names the holder."""
        from contentui.stores.local.locks import process_command

        path = visible(self._path)
        if not pid:
            return Unavailable(
                f"another process, perhaps of another container, keeps {path} locked",
                advice=f"'fuser -v {path}' on that machine names it: let it go on, or end it",
            )
        command = visible(process_command(pid), 120)
        who = f"pid {pid} ({command})" if command else f"pid {pid}"
        if stopped:
            return HolderStopped(
                f"{who} keeps {path} locked, and is stopped",
                advice=f"continue it with 'kill -CONT {pid}', or end it with 'kill -KILL {pid}'",
            )
        return Unavailable(
            f"{who} has kept {path} locked for {WAIT_S:.0f}s",
            advice="wait until it ends, or end that process",
        )

    def _holder(self) -> int:
        """The pid of another process that has a lock on the file; 0 when it can't be told."""
        with contextlib.suppress(OSError):
            for lock in proc_locks.locks_on(self._found):
                if lock.pid not in {0, os.getpid()}:
                    return lock.pid
        return 0
