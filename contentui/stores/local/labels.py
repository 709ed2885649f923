"""The labels of blobs, in SQLite beside them.

Labels are data, not cache: they are synced before a commit is acknowledged. When the database
is missing or broken they are unknown. A database that was made while no blob was there knows
about every blob: one without a row has no labels. One that was made later says so
(``complete`` 0), and there a blob without a row has unknown labels.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from contentui.content.errors import (
    ContentError,
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)
from contentui.text import visible

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

    from contentui.content.digest import Digest
    from contentui.stores.local.files import Directory

LABEL_LIMIT = 4096
"""Bytes that a label's key and value may have together (content-store.md 1.3)."""
ALL_LABELS_LIMIT = 4 << 20
"""Bytes that all labels of a blob may have together: it must fit into a message of a listing."""
_BUSY_TIMEOUT_S = 30.0
_NEW = "labels.db.new"
_BROKEN = (
    "the label database (.contentui/labels.db) is broken: move it away, and the labels of the "
    "blobs there are unknown from then on"
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS labels (
    digest TEXT PRIMARY KEY, updated_ns INTEGER NOT NULL, labels TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""


class Labelled(NamedTuple):
    """A blob's labels and when they changed last, nanoseconds."""

    labels: Mapping[str, str]
    updated_ns: int


class AllLabels(NamedTuple):
    """What is known about the labels of all blobs."""

    rows: Mapping[str, Labelled]
    complete: bool
    """A blob without a row has no labels; otherwise they are unknown."""

    def of(self, digest: str, committed_ns: int) -> tuple[int, Mapping[str, str] | None]:
        """When a blob was updated, and its labels, None where they are unknown."""
        row = self.rows.get(digest)
        if row is not None:
            return max(row.updated_ns, committed_ns), row.labels
        return committed_ns, _NONE if self.complete else None


_NONE: Mapping[str, str] = {}
UNKNOWN = AllLabels({}, complete=False)


def checked_labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    """Those with a value: an empty one means none (content-store.md 4.4).

    Raises:
        InvalidArgument: an empty key, no text, a key and value of over 4096 bytes, or too many.
    """
    total = 0
    for key, value in labels.items():
        if not key:
            raise InvalidArgument("a label without a key", advice="write it as key=value")
        try:
            size = len(key.encode()) + len(value.encode())
        except UnicodeEncodeError:
            raise InvalidArgument(f"label {key[:64]!r} is not text") from None
        if size > LABEL_LIMIT:
            raise InvalidArgument(
                f"label {key[:64]!r} is longer than {LABEL_LIMIT} bytes",
                advice="key and value count together",
            )
        total += size
    if total > ALL_LABELS_LIMIT:
        raise InvalidArgument(
            f"the labels of a blob have at most {ALL_LABELS_LIMIT} bytes together"
        )
    return {key: value for key, value in labels.items() if value}


class Labels:
    """The label database of one store, shared by all processes that open it."""

    def __init__(self, directory: Directory, *, recovers: bool = True) -> None:
        """``recovers``: a change that a crash cut in half may be undone even when only reading."""
        self._directory = directory
        self.recovers = recovers
        self._mutex = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._writable = False
        self._complete = False

    @property
    def path(self) -> str:
        return self._directory.path + "/labels.db"

    def version(self) -> Hashable:
        """A cheap token that differs after labels changed."""
        try:
            found = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def get(self, digest: Digest) -> AllLabels:
        """What is known about one blob's labels."""
        return self._read("SELECT digest, updated_ns, labels FROM labels WHERE digest = ?", digest)

    def all(self) -> AllLabels:
        """What is known about every blob's labels."""
        return self._read("SELECT digest, updated_ns, labels FROM labels")

    def create(self, *, complete: bool) -> None:
        """Make the database where it is missing. ``complete``: no blob was there before.

        It gets its name when it is whole: others, and we after a crash, see all of it or none.
        """
        with self.alone(), self._mutex, self._told("making the label database"):
            self._make(complete=complete)

    def _make(self, *, complete: bool) -> None:
        if not self._exists():
            directory = self._directory.fd()
            for name in (_NEW, _NEW + "-journal"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=directory)
            connection = connect(f"{self._directory.path}/{_NEW}", "rwc")
            with contextlib.closing(connection):
                connection.execute("PRAGMA synchronous = EXTRA")
                connection.executescript("BEGIN IMMEDIATE;" + _SCHEMA)
                connection.execute("INSERT INTO meta VALUES ('complete', ?)", (int(complete),))
                connection.execute("COMMIT")
            os.rename(_NEW, "labels.db", src_dir_fd=directory, dst_dir_fd=directory)
            os.fsync(directory)

    def needs_row(self, labels: Mapping[str, str]) -> bool:
        """Whether a new blob with these labels must be written down to be known."""
        if labels:
            return True
        with self._mutex:
            if self._complete:
                return False
            try:
                return self._reader() is not None and not self._complete
            except (ContentError, OSError):
                return False

    def set_many(self, labels: Iterable[tuple[Digest, Mapping[str, str]]], updated_ns: int) -> None:
        """Write labels down, durably; only to be called `alone`.

        Raises ResourceExhausted, FailedPrecondition and the like.
        """
        rows = [(digest, updated_ns, _encode(one)) for digest, one in labels]
        with self._mutex, self._told("writing labels"), self._transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO labels VALUES (?, ?, ?)", rows)

    def replace(
        self,
        digest: Digest,
        change: Mapping[str, str | None] | None,
        new: Mapping[str, str],
        updated_ns: int,
    ) -> Mapping[str, str]:
        """Set (or, with None, remove) single keys, or put ``new`` in place of all; in one step.

        Raises:
            FailedPrecondition: single keys of labels that are unknown.
        """
        with (
            self.alone(),
            self._mutex,
            self._told("writing labels"),
            self._transaction() as connection,
        ):
            if change is not None:
                row = connection.execute(
                    "SELECT labels FROM labels WHERE digest = ?", (digest,)
                ).fetchone()
                if row is None and not self._complete:
                    raise FailedPrecondition(
                        f"the labels of {digest} are unknown",
                        advice="replace all of them at once, or leave them alone",
                    )
                new = dict(_decode(row[0]) if row else {})
                for key, value in change.items():
                    if value:
                        new[key] = value
                    else:
                        new.pop(key, None)
                if any(change.values()):
                    checked_labels(new)
            connection.execute(
                "INSERT OR REPLACE INTO labels VALUES (?, ?, ?)",
                (digest, updated_ns, _encode(new)),
            )
            return new

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep all others from giving and taking labelled names meanwhile.

        Raises:
            Unavailable: another process, perhaps a stopped one, kept us out for 30 s.
            OSError: the lock can't be made.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open("naming", flags, 0o644, dir_fd=self._directory.fd_or_make())
        try:
            self._lock(fd)
            try:
                yield
            finally:
                fcntl.flock(fd, fcntl.LOCK_UN)  # said aloud: a forked child may hold a copy
        finally:
            os.close(fd)

    def _lock(self, fd: int) -> None:
        deadline, pause = time.monotonic() + _BUSY_TIMEOUT_S, 0.0005
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Unavailable(
                        f"another process keeps {visible(self._directory.path)}/naming locked",
                        advice="'fuser' on that file names it: let it go on, or end it",
                    ) from None
            time.sleep(pause)
            pause = min(pause * 2, 0.02)

    @contextlib.contextmanager
    def removing(self, digest: Digest) -> Iterator[None]:
        """Drop a blob's labels if the block succeeds: they outlive the blob, never the reverse."""
        if not self._exists():
            yield
            return
        with (
            self.alone(),
            self._mutex,
            self._told("removing labels"),
            self._transaction() as connection,
        ):
            connection.execute("DELETE FROM labels WHERE digest = ?", (digest,))
            yield

    def close(self) -> None:
        with self._mutex:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _exists(self) -> bool:
        return self.version() is not None

    def _read(self, query: str, *arguments: str) -> AllLabels:
        rows = self._rows(query, arguments, writable=False)
        if rows is None and self.recovers and os.path.lexists(self.path + "-journal"):
            # A writer was killed amidst a change: only whoever may write can undo its half.
            rows = self._rows(query, arguments, writable=True)
        if rows is None:
            return UNKNOWN
        try:
            found = {digest: Labelled(_decode(text), updated) for digest, updated, text in rows}
        except (ValueError, TypeError, AttributeError):
            return UNKNOWN
        return AllLabels(found, self._complete)

    def _rows(self, query: str, arguments: Sequence[str], *, writable: bool) -> list[Any] | None:
        """The answer; None when there is none to be had."""
        with self._mutex:
            try:
                if not self._exists():
                    self.close()
                    return None
                import sqlite3

                try:
                    return self._open(writable=writable).execute(query, arguments).fetchall()
                except (sqlite3.Error, UnicodeError):
                    self.close()
            except (ContentError, OSError):
                pass
        return None

    def _reader(self) -> sqlite3.Connection | None:
        if not self._exists():
            self.close()
            return None
        return self._open(writable=False)

    def _open(self, *, writable: bool) -> sqlite3.Connection:
        """Open the database; raises ContentError or OSError when it is no good."""
        import sqlite3

        identity = _identity(self.path)
        if (
            self._connection is not None
            and identity == self._identity
            and (self._writable or not writable)
        ):
            return self._connection
        self.close()
        try:
            connection = connect(self.path, "rw" if writable else "ro")
        except sqlite3.Error as error:
            raise database_error(error, "opening the label database") from error
        try:
            if writable:
                # EXTRA: the directory is synced too once the journal is gone, or a power cut
                # could bring the journal back and with it undo what was acknowledged.
                connection.execute("PRAGMA synchronous = EXTRA")
            row = connection.execute("SELECT value FROM meta WHERE key = 'complete'").fetchone()
            self._complete = bool(row and row[0])
        except sqlite3.Error as error:
            connection.close()
            raise database_error(error, "opening the label database") from error
        self._connection, self._writable = connection, writable
        self._identity = identity
        return connection

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._make(complete=False)
        connection = self._open(writable=True)
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        import sqlite3

        try:
            yield
        except sqlite3.Error as error:
            self.close()
            raise database_error(error, doing) from error


def connect(path: str, mode: str) -> sqlite3.Connection:
    """Open a database in which statements are transactions of their own. Raises sqlite3.Error."""
    import sqlite3
    from urllib.parse import quote

    return sqlite3.connect(
        f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode={mode}",
        uri=True,
        timeout=_BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path, follow_symlinks=False)
    if not stat.S_ISREG(found.st_mode):  # a FIFO would be waited for
        raise FailedPrecondition(f"{visible(path)} is not a file", advice=_BROKEN)
    return found.st_dev, found.st_ino


def _encode(labels: Mapping[str, str]) -> str:
    import json

    return json.dumps(dict(labels), separators=(",", ":"))


def _decode(text: str) -> dict[str, str]:
    import json

    labels = json.loads(text)
    return {str(key): str(value) for key, value in labels.items()}


def database_error(error: sqlite3.Error, doing: str, broken: str = _BROKEN) -> ContentError:
    """The error to raise for ``error``; ``broken`` is the advice for a database that is no good."""
    code = getattr(error, "sqlite_errorname", "") or ""
    if code.startswith("SQLITE_FULL") or "disk I/O" in str(error):
        return ResourceExhausted(f"{doing}: {error}", advice="free some space")
    if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return PermissionDenied(f"{doing}: {error}", advice="run as the owner of the store")
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return Unavailable(f"{doing}: another process keeps it busy", advice="try again")
    return FailedPrecondition(
        f"{doing}: {error}",
        advice=broken,
    )
