"""The labels of blobs, in the SQLite database ``.contentui/labels.db``.

Labels are data, not a cache: they are synced before a commit is acknowledged. If the database is
missing or damaged, labels are unknown. A database that was made while there was no blob is
complete: a blob without a row has no labels. One that was made later is not (``complete`` is 0):
there the labels of a blob without a row are unknown.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from contentui.content.errors import (
    ContentError,
    FailedPrecondition,
    Unavailable,
)
from contentui.content.rules import ALL_LABELS_LIMIT, checked_labels
from contentui.stores import forks
from contentui.stores.local.database import Schema
from contentui.stores.local.locks import HolderStopped

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

    from contentui.content.digest import Digest
    from contentui.stores.files import Directory

    _Query = tuple[str, Sequence[str]]

LABELS = Schema(
    "labels.db",
    {
        "labels": "digest TEXT PRIMARY KEY, updated_ns INTEGER NOT NULL, labels TEXT NOT NULL",
        "meta": "key TEXT PRIMARY KEY, value INTEGER NOT NULL",
    },
    "the label database",
    "restore it from a copy, or move it away: then the labels of the blobs there are unknown",
)
_ONE = "SELECT digest, updated_ns, labels FROM labels WHERE digest = ?"
_ALL = "SELECT digest, updated_ns, labels FROM labels"
_DIGESTS = "SELECT digest FROM labels"
_TICK_NS = 10**8
"""More than a tick of any file system's clock."""
_COMPLETE = "SELECT value FROM meta WHERE key = 'complete'"
_AT_ONCE = 256
"""The most digests in one query."""


class Labelled(NamedTuple):
    """A blob's labels and when they changed last, nanoseconds."""

    labels: Mapping[str, str] | None
    """None: the row is invalid, so they are unknown."""
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


class Labels:
    """The label database of one store, shared by all processes that open it.

    Methods that change it are called with the store's naming lock held.
    """

    def __init__(self, directory: Directory, *, recovers: bool = True) -> None:
        """``recovers``: reading may roll back a transaction that a crash interrupted."""
        self.recovers = recovers
        self._database = LABELS.below(directory)
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._writable = False
        self._complete = False
        self._empty: Hashable = None
        """The token of a database that has no rows."""
        forks.reset_in_child(self)

    @property
    def path(self) -> str:
        return self._database.path

    def version(self) -> Hashable:
        """A cheap token that differs after labels changed; None without a database."""
        try:
            found = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def exists(self) -> bool:
        """Whether the database's path exists. Raises OSError if unknown."""
        return self._database.exists()

    def get(self, digest: Digest) -> AllLabels:
        """What is known about one blob's labels."""
        return self._read(_ONE, digest)

    def all(self) -> AllLabels:
        """What is known about every blob's labels."""
        return self._read(_ALL)

    def create(self, *, complete: bool) -> None:
        """Make the database where it is missing. ``complete``: no blob was there before."""
        with self._database.mutex, self._map_errors("making the label database"):
            self._make(complete=complete)

    def needs_row(self, labels: Mapping[str, str]) -> bool:
        """Whether a new blob with these labels must have a row, so that they are known."""
        if labels:
            return True
        if self._complete:
            return False
        try:
            rows = self._query("looking for labels", [(_COMPLETE, ())], fail_fast=True)
        except (FailedPrecondition, HolderStopped):
            # The labels of blobs without a row are unknown then anyway.
            return False
        return rows is not None and not self._complete

    def digests_with_rows(self, digests: Sequence[str]) -> set[str]:
        """Which of ``digests`` have a row.

        The empty set where the database is damaged, since its labels are unknown anyway, and
        while another process is stopped within it, so that work without labels does not wait.

        Raises OSError, ContentError.
        """
        version = self._settled_version()
        if version is not None and version == self._empty:
            return set()
        some = [digests[start : start + _AT_ONCE] for start in range(0, len(digests), _AT_ONCE)]
        queries = [(f"{_DIGESTS} WHERE digest IN ({_placeholders(part)})", part) for part in some]
        first = [] if version is None else [(f"{_DIGESTS} LIMIT 1", ())]
        try:
            rows = self._query("looking for labels", [*queries, *first], fail_fast=True)
        except (FailedPrecondition, HolderStopped):
            return set()
        if rows is None:
            return set()
        if version is not None:
            self._empty = None if rows else version
        return {row[0] for row in rows} & set(digests)

    def _settled_version(self) -> Hashable:
        """The version, if every later change will differ from it: it is older than a clock tick."""
        try:
            found = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if time.time_ns() - found.st_mtime_ns < _TICK_NS:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def digests(self) -> list[str]:
        """The digests of all rows, hostile text. Raises ContentError, OSError."""
        rows = self._query("reading the label database", [(_DIGESTS, ())])
        return [row[0] for row in rows or () if isinstance(row[0], str)]

    def write(
        self,
        labels: Iterable[tuple[Digest, Mapping[str, str]]],
        without: Iterable[str],
        updated_ns: int,
    ) -> None:
        """Write rows, and delete those of ``without``, in one durable transaction.

        ``updated_ns``: nanoseconds since 1970. Raises ContentError, OSError.
        """
        rows = [(digest, updated_ns, encode_labels(one)) for digest, one in labels]
        gone = [(digest,) for digest in without]
        with self._database.mutex, self._map_errors("writing labels"):
            connection = self._writer()
            with self._database.transaction(connection):
                connection.executemany("INSERT OR REPLACE INTO labels VALUES (?, ?, ?)", rows)
                connection.executemany("DELETE FROM labels WHERE digest = ?", gone)

    def replace(
        self,
        digest: Digest,
        change: Mapping[str, str | None] | None,
        new: Mapping[str, str],
        updated_ns: int,
    ) -> Mapping[str, str]:
        """Set (or, with None, remove) single keys, or replace all labels by ``new``, atomically.

        Raises:
            FailedPrecondition: single keys of labels that are unknown.
        """
        with self._database.mutex, self._map_errors("writing labels"):
            connection = self._writer()
            with self._database.transaction(connection):
                if change is not None:
                    new = self._changed(connection, digest, change)
                connection.execute(
                    "INSERT OR REPLACE INTO labels VALUES (?, ?, ?)",
                    (digest, updated_ns, encode_labels(new)),
                )
        return new

    def close(self) -> None:
        with self._database.mutex:
            self._drop_connection()

    def after_fork(self) -> None:
        """In a forked child: drop the parent's SQLite connection without closing it."""
        if self._connection is not None:
            _parents_connections.append(self._connection)
            self._connection = None

    def _changed(
        self, connection: sqlite3.Connection, digest: Digest, change: Mapping[str, str | None]
    ) -> Mapping[str, str]:
        row = connection.execute(_ONE, (digest,)).fetchone()
        old = _decode(row[2]) if row else ({} if self._complete else None)
        if old is None:
            raise FailedPrecondition(
                f"the labels of {digest} are unknown",
                advice="replace all labels at once instead of single keys",
            )
        new = dict(old)
        for key, value in change.items():
            if value:
                new[key] = value
            else:
                new.pop(key, None)
        return checked_labels(new) if any(change.values()) else new

    def _make(self, *, complete: bool) -> None:
        row = ("complete", int(complete))
        self._database.make(lambda new: new.execute("INSERT INTO meta VALUES (?, ?)", row))

    def _read(self, query: str, *arguments: str) -> AllLabels:
        """The rows as labels; `UNKNOWN` where the database cannot be read."""
        try:
            rows = self._query("reading labels", [(query, arguments)])
        except (ContentError, OSError):
            return UNKNOWN
        if rows is None:
            return UNKNOWN
        found = {
            digest: Labelled(_decode(text), updated if isinstance(updated, int) else 0)
            for digest, updated, text in rows
        }
        return AllLabels(found, self._complete)

    def _query(
        self, doing: str, queries: Sequence[_Query], *, fail_fast: bool = False
    ) -> list[Any] | None:
        """The rows of all queries together; None without a database.

        ``fail_fast``: raise HolderStopped at once instead of waiting for a stopped process.
        Raises ContentError, OSError.
        """
        database = self._database
        with database.mutex, self._map_errors(doing), contextlib.ExitStack() as stack:
            if fail_fast:
                stack.enter_context(database.fail_fast_when_stopped())
            return database.read(
                lambda writable: self._rows(queries, writable=writable), recovers=self.recovers
            )

    def _rows(self, queries: Sequence[_Query], *, writable: bool) -> list[Any] | None:
        connection = self._open(writable=writable)
        if connection is None:
            return None
        rows: list[Any] = []
        for query, arguments in queries:
            rows += self._fetch(connection, query, arguments)
        return rows

    def _fetch(
        self, connection: sqlite3.Connection, query: str, arguments: Sequence[str]
    ) -> list[Any]:
        return self._database.retry_while_busy(
            lambda: connection.execute(query, arguments).fetchall()
        )

    def _writer(self) -> sqlite3.Connection:
        self._make(complete=False)
        connection = self._open(writable=True)
        if connection is None:
            raise Unavailable("the label database was removed meanwhile", advice="try again")
        return connection

    def _open(self, *, writable: bool) -> sqlite3.Connection | None:
        """Open the database; None without one. Raises sqlite3.Error, ContentError, OSError."""
        identity = self._database.identity()
        if identity is None:
            self._drop_connection()
            return None
        if (
            self._connection is not None
            and identity == self._identity
            and (self._writable or not writable)
        ):
            return self._connection
        self._drop_connection()
        connection = self._database.connect(writable=writable)
        try:
            rows = self._fetch(connection, _COMPLETE, ())
        except BaseException:
            connection.close()
            raise
        self._complete = bool(rows and rows[0][0])
        self._connection, self._writable, self._identity = connection, writable, identity
        return connection

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextlib.contextmanager
    def _map_errors(self, doing: str) -> Iterator[None]:
        """Raise SQLite's errors as ContentErrors; close the connection after any exception."""
        try:
            with self._database.map_errors(doing):
                yield
        except BaseException:
            self._drop_connection()
            raise


_parents_connections: list[sqlite3.Connection] = []
"""Never released: closing one in the child could roll back the parent's transaction."""


def _placeholders(values: Sequence[str]) -> str:
    return ",".join("?" * len(values))


def encode_labels(labels: Mapping[str, str]) -> str:
    """As they are stored: a JSON object."""
    import json

    return json.dumps(dict(labels), separators=(",", ":"))


def count_invalid_labels(connection: sqlite3.Connection) -> int:
    """The number of invalid rows. Raises sqlite3.Error."""
    rows = connection.execute(_ALL)
    return sum(not (_is_key(row) and _decode(row[2]) is not None) for row in rows)


def _is_key(row: Sequence[Any]) -> bool:
    return isinstance(row[0], str) and isinstance(row[1], int)


def _are_sendable(labels: Mapping[str, str]) -> bool:
    """Whether labels are valid Unicode and fit into a gRPC message."""
    try:
        size = sum(len(key.encode()) + len(value.encode()) for key, value in labels.items())
    except UnicodeEncodeError:
        return False
    return size <= ALL_LABELS_LIMIT


def _decode(text: object) -> dict[str, str] | None:
    """The labels of a row; None if it is invalid, so that contentui cannot have written it."""
    import json

    if not isinstance(text, str):
        return None
    try:
        labels = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(labels, dict):
        return None
    if not all(type(value) is str for value in labels.values()):
        return None
    # Only escapes can be unpaired surrogates; only a long text can exceed the size of a message.
    if ("\\u" in text or len(text) > ALL_LABELS_LIMIT) and not _are_sendable(labels):
        return None
    return labels
