"""The SQLite databases in ``.contentui``: created atomically, checked before each use.

Only SQLite opens a database: closing any other descriptor of the file would drop the POSIX locks of
SQLite on it (fcntl(2), sqlite.org/howtocorrupt.html section 2.2).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from contentui.content.errors import (
    ContentError,
    FailedPrecondition,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)
from contentui.stores import files, forks
from contentui.text import visible

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Mapping
    from typing import TypeVar

    T = TypeVar("T")

_BUSY_S = 0.25
"""How long SQLite itself waits for a lock, seconds; the holder is checked after each wait."""
_FORK_WAIT_S = 5.0
_SIZE_LIMIT = 4 << 30
"""The largest database that is opened, bytes."""
_VALUE_LIMIT = 32 << 20
"""The largest value that is read, bytes: the labels of a blob, with each character escaped."""
_STEPS = 1_000_000
"""SQLite instructions between two runs of pending signal handlers."""
_WAL_FILES = ("-wal", "-shm")


class Schema(NamedTuple):
    """A kind of database."""

    file: str
    """Its name in ``.contentui``."""
    tables: Mapping[str, str]
    """Each table's columns, in SQL."""
    what: str
    """Its name in error messages: "the label database"."""
    advice: str
    """What to do if it is damaged."""

    @property
    def broken(self) -> str:
        """The advice for a damaged database, with its path."""
        return f"{self.what} (.contentui/{self.file}) is damaged: {self.advice}"

    def below(self, directory: files.Directory) -> Database:
        return Database(self, directory)


class Database:
    """One database file in ``.contentui``, with its schema and its error messages."""

    def __init__(self, schema: Schema, directory: files.Directory) -> None:
        self.directory = directory
        self.name = schema.file
        self.path = f"{directory.path}/{schema.file}"
        self._tables = schema.tables
        self._broken = schema.broken
        self.mutex = threading.RLock()
        """Held during SQLite calls: a fork within one would leave its locks to the child."""
        self._is_paused = False
        self._stopped_s: float | None = None
        forks.pause_for_forks(self)

    def before_fork(self) -> None:
        """Wait up to 5 s until no thread is within SQLite."""
        self._is_paused = self.mutex.acquire(timeout=_FORK_WAIT_S)

    def after_fork_in_parent(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self.mutex.release()

    def after_fork(self) -> None:
        self.mutex = threading.RLock()

    def exists(self) -> bool:
        """Whether the path exists, as a file or anything else. Raises OSError if unknown."""
        return files.exists(self.path)

    def identity(self) -> tuple[int, int] | None:
        """Which file it is; None without one.

        Raises OSError if unknown, FailedPrecondition if SQLite must not open it.
        """
        found = _look(self.path)
        if found is None:
            return None
        self._check_file(found, self.path)
        self._check_beside("-journal")
        return found.st_dev, found.st_ino

    def _check_beside(self, suffix: str) -> None:
        path = self.path + suffix
        found = _look(path)
        if found is not None:
            self._check_file(found, path)

    def connect(self, *, writable: bool) -> sqlite3.Connection:
        """Open it, in a mode in which statements are transactions of their own.

        Raises:
            OSError, sqlite3.Error: it can't be opened.
            FailedPrecondition: it does not have the schema of contentui's own.
        """
        if self.identity() is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.path)
        for suffix in _WAL_FILES:
            self._check_beside(suffix)
        if writable:
            self._close_to_readers()
        connection = _connect(self.path, "rw" if writable else "ro")
        try:
            _set_limits(connection)
            if writable:
                # EXTRA: the directory is synced too once the journal is gone, or a power cut
                # could bring the journal back and with it undo what was acknowledged.
                self.retry_while_busy(lambda: connection.execute("PRAGMA synchronous = EXTRA"))
            self._check_schema(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def read(self, work: Callable[[bool], T], *, recovers: bool) -> T:
        """Run ``work(False)``, which is to read with a connection that is not writable.

        A writer that was killed leaves a journal, which only a writable connection can roll back
        (sqlite.org/lockingv3.html, Hot Journals). Then, if ``recovers``, run ``work(True)``. Raises
        what ``work`` raises.
        """
        import sqlite3

        try:
            return work(False)
        except sqlite3.OperationalError as error:
            if not (recovers and _errorname(error).startswith("SQLITE_READONLY")):
                raise
        return work(True)

    def make(self, fill: Callable[[sqlite3.Connection], object]) -> None:
        """Create it where it is missing; to be called under the naming lock.

        It is created under a temporary name and renamed when complete. An existing file is never
        replaced. Raises OSError, sqlite3.Error, FailedPrecondition.
        """
        if self.exists():
            return
        directory, new = self.directory.fd_or_make(), self.name + ".new"
        for name in (new, new + "-journal"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)
        flags = os.O_RDWR | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        os.close(files.open_private(new, flags, directory))
        try:
            with contextlib.closing(_connect(f"{self.directory.path}/{new}", "rw")) as connection:
                connection.execute("PRAGMA synchronous = EXTRA")
                connection.execute("BEGIN IMMEDIATE")
                for table, columns in self._tables.items():
                    connection.execute(_create(table, columns))
                fill(connection)
                connection.execute("COMMIT")
            files.rename_new(new, directory, self.name, directory)
        except FileExistsError:
            return
        finally:
            with contextlib.suppress(OSError):
                os.unlink(new, dir_fd=directory)
        try:
            os.fsync(directory)
        except OSError:
            # The error is reported once: a later fsync would succeed without writing this entry.
            os.unlink(self.name, dir_fd=directory)
            raise

    @contextlib.contextmanager
    def transaction(self, connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
        """All of the block, durably, or nothing. Raises sqlite3.Error, ContentError."""
        try:
            if connection.in_transaction:  # an interruption had left it open
                connection.execute("ROLLBACK")
            self.retry_while_busy(lambda: connection.execute("BEGIN IMMEDIATE"))
            yield connection
            self.retry_while_busy(lambda: connection.execute("COMMIT"))
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def fail_fast_when_stopped(self) -> Iterator[None]:
        """Raise HolderStopped at once instead of after 2 s. To be called with the mutex held."""
        self._stopped_s = 0.0
        try:
            yield
        finally:
            self._stopped_s = None

    def retry_while_busy(self, statement: Callable[[], T]) -> T:
        """Run a statement again while another process has the database locked.

        Raises:
            Unavailable: locked for 30 s, or (HolderStopped) by a stopped process; the message
                names it.
            sqlite3.Error: for any other reason.
        """
        import sqlite3

        from contentui.stores.local.locks import LockWait

        wait: LockWait | None = None
        while True:
            try:
                return statement()
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
            wait = wait or LockWait(os.stat(self.path), self.path, self._stopped_s)
            wait.check()

    @contextlib.contextmanager
    def map_errors(self, doing: str) -> Iterator[None]:
        """Raise SQLite's errors as ContentErrors, an interrupted statement as KeyboardInterrupt."""
        import sqlite3

        try:
            yield
        except sqlite3.Error as error:
            if _errorname(error) == "SQLITE_INTERRUPT":
                raise KeyboardInterrupt from error
            raise self.error(error, doing) from error

    def error(self, error: sqlite3.Error, doing: str) -> ContentError:
        """The ContentError for one of SQLite's errors; ``doing`` is the action that failed."""
        code = _errorname(error)
        message = f"{doing}: {visible(str(error), 160)}"
        if code.startswith("SQLITE_FULL"):
            return ResourceExhausted(message, advice="free some space on that file system")
        if code.startswith("SQLITE_IOERR"):
            return Unavailable(
                message, advice="the disk reports errors, or is full: see 'df' and 'dmesg'"
            )
        if code.startswith("SQLITE_CANTOPEN"):
            return self._cannot_open(message)
        if code.startswith(("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")):
            return PermissionDenied(message, advice="run as the owner of the store")
        if code.startswith("SQLITE_NOMEM"):
            return ResourceExhausted(message, advice="the machine is out of memory")
        if is_busy(error):
            return Unavailable(
                f"{doing}: another process has the database locked", advice="try again"
            )
        return FailedPrecondition(message, advice=self._broken)

    def _cannot_open(self, message: str) -> ContentError:
        """SQLITE_CANTOPEN covers permissions, inodes and descriptors: find out which one."""
        try:
            probe = os.open(
                ".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=self.directory.fd()
            )
            os.close(probe)
        except OSError as error:
            if error.errno not in {errno.EOPNOTSUPP, errno.EISDIR}:
                return files.content_error(error, message)
        readable = os.access(self.path, os.R_OK) or not os.path.lexists(self.path)
        if not readable or not os.access(self.directory.path, os.W_OK):
            return PermissionDenied(message, advice="run as the owner of the store")
        return Unavailable(
            message, advice="try again; if it fails again, see 'dmesg' for disk errors"
        )

    def _check_file(self, found: os.stat_result, path: str) -> None:
        if not stat.S_ISREG(found.st_mode):  # a FIFO would be waited for, a link followed
            raise FailedPrecondition(f"{visible(path)} is not a regular file", advice=self._broken)
        if found.st_size > _SIZE_LIMIT:
            raise FailedPrecondition(
                f"{visible(path)} has {found.st_size} bytes, more than the limit of {_SIZE_LIMIT}",
                advice=self._broken,
            )

    def _check_schema(self, connection: sqlite3.Connection) -> None:
        """Refuse views, triggers and generated columns, which would run within our statements."""
        rows = self.retry_while_busy(
            lambda: connection.execute("SELECT sql FROM sqlite_master").fetchall()
        )
        if {_without_blanks(row[0]) for row in rows} != {
            _without_blanks(_create(table, columns)) for table, columns in self._tables.items()
        }:
            raise FailedPrecondition(
                f"{visible(self.path)} is not a database that contentui made", advice=self._broken
            )

    def _close_to_readers(self) -> None:
        """Set the private mode: a user who can read the file can keep it locked."""
        directory = self.directory.fd()
        mode = files.private_mode(directory)
        found = os.stat(self.name, dir_fd=directory, follow_symlinks=False)
        if stat.S_IMODE(found.st_mode) != mode and os.geteuid() in {0, found.st_uid}:
            files.change_mode(self.name, mode, directory, expected=found)


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another process has the database locked."""
    return _errorname(error).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _errorname(error: sqlite3.Error) -> str:
    """The symbolic name of SQLite's error code (sqlite.org/rescode.html); empty if unknown."""
    return getattr(error, "sqlite_errorname", "") or ""


def _look(path: str) -> os.stat_result | None:
    try:
        return os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _create(table: str, columns: str) -> str:
    return f"CREATE TABLE {table} ({columns}) WITHOUT ROWID"


def _without_blanks(sql: Any) -> str:
    """A statement without white space, which differs between versions of contentui."""
    return "".join(sql.split()) if isinstance(sql, str) else ""


def _connect(path: str, mode: str) -> sqlite3.Connection:
    import sqlite3
    from urllib.parse import quote

    return sqlite3.connect(
        f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode={mode}",
        uri=True,
        timeout=_BUSY_S,
        isolation_level=None,
        check_same_thread=False,
    )


def _set_limits(connection: sqlite3.Connection) -> None:
    """Bound the size of values, and let signals end a long statement."""
    import sqlite3

    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _VALUE_LIMIT)
    connection.set_progress_handler(_continue, _STEPS)
    connection.execute("PRAGMA trusted_schema = OFF")


def _continue() -> int:
    """Do nothing: Python runs pending signal handlers here, and an exception ends the statement."""
    return 0
