"""The names of images, in the SQLite database ``.contentui/images.db``.

They are synced before a change is acknowledged, and a damaged database raises an error and is never
replaced. The database is made when an image is named for the first time.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from contentui.content.digest import Digest
from contentui.content.errors import ContentError, FailedPrecondition
from contentui.content.model import Descriptor, Image
from contentui.content.rules import check_image, check_image_match, checked_labels, image_not_found
from contentui.stores import files
from contentui.stores.local.database import Schema
from contentui.stores.local.labels import encode_labels

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Mapping

    from contentui.stores.local.locks import NamingLock

    _Rows = list[Any]

IMAGES = Schema(
    "images.db",
    {
        "images": "name TEXT PRIMARY KEY, media_type TEXT NOT NULL, digest TEXT NOT NULL, "
        "size INTEGER NOT NULL, labels TEXT NOT NULL, created_ns INTEGER NOT NULL, "
        "updated_ns INTEGER NOT NULL"
    },
    "the database of image names",
    "restore it from a copy, or move it away and name the images again",
)
_SELECT = "SELECT name, media_type, digest, size, labels, created_ns, updated_ns FROM images"


class LocalImages:
    """See `contentui.content.store.ImageNames`. Any number of processes may share it."""

    def __init__(
        self,
        directory: files.Directory,
        naming: NamingLock,
        prepare: Callable[[], None],
        *,
        recovers: bool,
    ) -> None:
        """``prepare``: called before a change; raises ReadOnly if none is allowed.

        ``recovers``: reading may roll back a transaction that a crash interrupted.
        """
        self._database = IMAGES.below(directory)
        self._naming = naming
        self._prepare = prepare
        self._recovers = recovers

    @property
    def path(self) -> str:
        return self._database.path

    def list(self) -> list[Image]:
        """All of them, sorted by name. Raises FailedPrecondition if they can't be read."""
        return [_image(row) for row in self._rows(_SELECT + " ORDER BY name")]

    def get(self, name: str) -> Image:
        """Raises NotFound."""
        for row in self._rows(_SELECT + " WHERE name = ?", _text(name)):
            return _image(row)
        raise image_not_found(name)

    def put(self, name: str, target: Descriptor, labels: Mapping[str, str] | None = None) -> Image:
        """Raises InvalidArgument, ReadOnly."""
        check_image(name, target)
        new: Mapping[str, str] | None = None if labels is None else checked_labels(labels)
        self._prepare()
        with files.map_errors("naming an image"), self._transaction(make=True) as connection:
            old = _found(connection, name)
            now = time.time_ns()
            if new is None:
                new = old.labels if old else {}
            image = Image(name, target, new, old.created_ns if old else now, now)
            connection.execute(
                "INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?, ?, ?)", _row(image)
            )
            return image

    def delete(self, name: str, *, if_match: Image | None = None) -> None:
        """Raises NotFound, Changed, ReadOnly."""
        self._prepare()
        if not self._exists():
            raise image_not_found(name)
        with (
            files.map_errors("deleting an image's name"),
            self._transaction(make=False) as connection,
        ):
            found = _found(connection, name)
            if found is None:
                raise image_not_found(name)
            check_image_match(found, if_match)
            connection.execute("DELETE FROM images WHERE name = ?", (_text(name),))

    def _exists(self) -> bool:
        with files.map_errors("looking for the names of images"):
            return self._database.exists()

    def _rows(self, query: str, *arguments: str) -> _Rows:
        if not self._exists():
            return []
        doing = "reading the names of images"
        with files.map_errors(doing), self._database.map_errors(doing):
            return self._database.read(
                lambda writable: self._query(query, arguments, writable=writable),
                recovers=self._recovers,
            )

    def _query(self, query: str, arguments: tuple[str, ...], *, writable: bool) -> _Rows:
        database = self._database
        with (
            database.mutex,
            contextlib.closing(database.connect(writable=writable)) as connection,
        ):
            return database.retry_while_busy(
                lambda: connection.execute(query, arguments).fetchall()
            )

    @contextlib.contextmanager
    def _transaction(self, *, make: bool) -> Iterator[sqlite3.Connection]:
        database = self._database
        with (
            database.map_errors("writing the names of images"),
            self._naming.held(),
            database.mutex,
        ):
            if make:
                database.make(lambda _new: None)
            with (
                contextlib.closing(database.connect(writable=True)) as connection,
                database.transaction(connection),
            ):
                yield connection


def _text(name: str) -> str:
    """A name that SQLite can compare. Raises NotFound for an unpaired surrogate: no row has one."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise image_not_found(name) from None
    return name


def _found(connection: sqlite3.Connection, name: str) -> Image | None:
    row = connection.execute(_SELECT + " WHERE name = ?", (_text(name),)).fetchone()
    return None if row is None else _image(row)


def _row(image: Image) -> tuple[str | int, ...]:
    target, labels = image.target, encode_labels(image.labels)
    times = image.created_ns, image.updated_ns
    return image.name, target.media_type, target.digest, target.size, labels, *times


def _image(row: tuple[Any, ...]) -> Image:
    """Raises FailedPrecondition for an invalid row, which contentui cannot have written."""
    import json

    name, media_type, digest, size, labels, created_ns, updated_ns = row
    try:
        target = Descriptor(str(media_type), Digest.parse(digest), int(size))
        known = {str(key): str(value) for key, value in json.loads(labels).items()}
        return Image(str(name), target, known, int(created_ns), int(updated_ns))
    except (ValueError, TypeError, AttributeError, ContentError):
        raise FailedPrecondition(
            "reading the names of images: a row is invalid", advice=IMAGES.broken
        ) from None


def count_invalid_images(connection: sqlite3.Connection) -> int:
    """The number of invalid rows. Raises sqlite3.Error."""
    bad = 0
    for row in connection.execute(_SELECT):
        try:
            _image(row)
        except FailedPrecondition:
            bad += 1
    return bad
