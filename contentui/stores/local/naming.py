"""The lock under which labelled blobs get and lose their names: ``.contentui/naming``.

It is taken with flock(2): the kernel grants it to waiters in order, and releases it when its holder
exits. contentui never breaks it; the error names a holder that is stopped.
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
"""How long to wait for a running holder, seconds."""
STOPPED_S = 2.0
"""How long to wait for a stopped holder, seconds."""
_LOOK_S = 0.25
_FILE = "naming"


class HolderStopped(Unavailable):
    """The process that holds the lock is stopped (SIGSTOP, a debugger)."""


class NamingLock:
    """The lock of one store, for all its processes and threads."""

    def __init__(self, directory: files.Directory) -> None:
        self._directory = directory

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock. Not reentrant.

        Raises:
            Unavailable: another process held it for 30 s, or is stopped; the message names it.
            OSError: the file cannot be created or locked.
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
            wait = LockWait(os.fstat(fd), f"{self._directory.path}/{_FILE}")
            try:
                while not waiter.done.wait(_LOOK_S):
                    wait.check()
            except BaseException:
                waiter.abandon()
                raise
            waiter.check()


class _Waiter:
    """A thread that waits for the lock in the kernel's queue; polling would not be queued."""

    def __init__(self, fd: int) -> None:
        self.done = threading.Event()
        self._abandoned = False
        self._error: OSError | None = None
        self._mutex = threading.Lock()
        self._fd = os.dup(fd)
        try:
            threading.Thread(target=self._wait, name="naming lock", daemon=True).start()
        except BaseException:
            os.close(self._fd)
            raise

    def abandon(self) -> None:
        """Release the lock when it is granted; one that was granted already is the caller's.

        Both have descriptors of the same open file, and either of them can release it.
        """
        with self._mutex:
            self._abandoned = True

    def check(self) -> None:
        """Raise the error of flock(2), if there was one."""
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


class LockWait:
    """Time limits for waiting for a locked file, and the error that names the holder."""

    def __init__(self, found: os.stat_result, path: str, stopped_s: float | None = None) -> None:
        """``stopped_s``: how long to wait for one that is stopped; None: `STOPPED_S`."""
        self._found = found
        self._path = path
        self._stopped_s = STOPPED_S if stopped_s is None else stopped_s
        self._begun = time.monotonic()
        self._stopped_since: float | None = None

    def check(self) -> None:
        """Raises Unavailable, with the holder in its message, when the limit is reached."""
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
        """The error for a holder; ``pid`` 0: unknown."""
        from contentui.stores.local.locks import process_command

        path = visible(self._path)
        if not pid:
            return Unavailable(
                f"another process, perhaps of another container, keeps {path} locked",
                advice=f"run 'fuser -v {path}' on that machine, and end or continue that process",
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
        """The pid of a process that has a lock on the file, another one first; 0 if unknown."""
        pids: set[int] = set()
        with contextlib.suppress(OSError):
            pids = {lock.pid for lock in proc_locks.locks_on(self._found)} - {0}
        return next(iter(pids - {os.getpid()} or pids), 0)
