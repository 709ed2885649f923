"""Checking and repairing labels, image names, ingests and blobs."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from typing import TYPE_CHECKING, Any

from contentui.content.digest import HEX_LENGTHS, Digest
from contentui.content.errors import Changed, ContentError, DataLoss, NotFound, Unavailable
from contentui.content.model import IngestId, id_text
from contentui.stores.local import files
from contentui.stores.local.fsck_model import (
    Finding,
    Kind,
    Place,
    identity,
    is_old,
    look,
    names_in,
    set_mode,
)
from contentui.stores.local.locks import describe
from contentui.text import visible

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from contentui.content.model import Image, Status
    from contentui.content.store import Progress
    from contentui.stores.local.store import LocalStore

_HEX = re.compile(r"[0-9a-f]+")
_INGEST = re.compile(r"[0-9a-f]{64}")
_PARTS = ("data.tmp", "startedat.tmp", "updatedat.tmp")
"""What a crash can leave of a file that was to be replaced in an ingest."""
_TABLES = {"labels.db": {"labels", "meta"}, "images.db": {"images"}}
_BUSY_S = 5.0
_TRIES = 5
"""How often a database is read that a killed writer has left amidst a change."""
_SIZE_LIMIT = 4 << 30
_SIDE_FILES = ("-journal", "-wal", "-shm")
_MOVE_AWAY = {
    "labels.db": "restore it from a copy, or move it away: then the blobs' labels are unknown",
    "images.db": "restore it from a copy, or move it away and name the images again",
}


# -- labels and images


def databases(place: Place) -> list[Finding]:
    """Damaged databases, and rows of sound ones that lead nowhere. Raises OSError."""
    found: list[Finding] = []
    for name in _TABLES:
        try:
            there = look(name, place.ours)
        except FileNotFoundError:
            return found  # nothing was ever stored here
        if there is None:
            continue
        try:
            found += _database(place, name, there)
        except ContentError as error:
            path, words = f".contentui/{name}", visible(error.message)
            found.append(Finding(Kind.UNCHECKED, path, words, advice=error.advice))
    return found


def _database(place: Place, name: str, there: os.stat_result) -> list[Finding]:
    """Raises ContentError when it can't be read."""
    for _ in range(_TRIES):
        try:
            if problem := _database_problem(place, name, there):
                path, advice = f".contentui/{name}", _MOVE_AWAY[name]
                return [Finding(Kind.DATABASE_DAMAGED, path, problem, advice=advice)]
            return _orphan_labels(place) if name == "labels.db" else _images(place)
        except ContentError as error:
            refusal = error
        if not (place.is_writable and look(f"{name}-journal", place.ours)):
            break
        # A writer was killed amidst a change: reading through the store undoes its half.
        with contextlib.suppress(ContentError):
            if name == "labels.db":
                next(place.store.walk(), None)
            else:
                place.store.images.list()
    raise refusal


def _orphan_labels(place: Place) -> list[Finding]:
    """Labels whose blob does not exist. Raises ContentError."""
    found = place.store.orphan_labels()
    if found:
        # Labels are written before their blob has its name: a look between is no finding.
        with place.settled():
            now = set(place.store.orphan_labels())
        found = [text for text in found if text in now]
    problem, repair = "it has labels, but the blob does not exist", "remove its labels"
    return [Finding(Kind.LABELS_WITHOUT_BLOB, text, problem, repair) for text in found]


def _images(place: Place) -> list[Finding]:
    """Image names whose target does not exist. Raises ContentError."""
    names = place.store.images
    found = [image for image in names.list() if not _has_target(place, image)]
    if found:
        with place.settled():
            now = {image.name: image for image in names.list()}
        found = [
            image
            for image in found
            if now.get(image.name) == image and not _has_target(place, image)
        ]
    return [
        Finding(
            Kind.IMAGE_WITHOUT_BLOB,
            image.name,
            f"its target {image.target.digest} does not exist",
            advice="pull the image again, or forget the name: contentui images --remove NAME",
        )
        for image in found
    ]


def _has_target(place: Place, image: Image) -> bool:
    digest = image.target.digest
    try:
        return look(f"{digest.algorithm}/{digest.encoded}", place.blobs) is not None
    except FileNotFoundError:
        return False


def _database_problem(place: Place, name: str, there: os.stat_result) -> str:
    """What is wrong with a database; empty when nothing is. Raises ContentError."""
    import sqlite3

    if not stat.S_ISREG(there.st_mode):  # SQLite would follow a link, and wait for a FIFO
        return "it is not a regular file"
    for side in _SIDE_FILES:
        beside = look(name + side, place.ours)
        if beside is not None and not stat.S_ISREG(beside.st_mode):
            return f"{name}{side} is not a regular file"
    if there.st_size > _SIZE_LIMIT:
        return f"it has {there.st_size} bytes, more than it can have"
    try:
        connection = _open_database(f"{place.ours.path}/{name}")
        try:
            return _tables_problem(connection, name)
        finally:
            connection.close()
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorname", "") or ""
        message = visible(str(error), 160)
        if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_TOOBIG")):
            return message
        raise Unavailable(
            f".contentui/{name}: {message}",
            advice="run this as the owner of the store while no other process keeps it locked",
        ) from error


def _open_database(path: str) -> sqlite3.Connection:
    import sqlite3
    from urllib.parse import quote

    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode=ro", uri=True, timeout=_BUSY_S
    )
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 32 << 20)
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _tables_problem(connection: sqlite3.Connection, name: str) -> str:
    rows = connection.execute("SELECT type, name FROM sqlite_master").fetchall()
    if {table for kind, table in rows if kind == "table"} != _TABLES[name]:
        return "it lacks tables, or has others"
    if any(kind not in ("table", "index") for kind, _ in rows):
        return "it has views or triggers, which contentui never makes"
    for (words,) in connection.execute("PRAGMA quick_check(1)"):
        if words != "ok":
            return visible(str(words), 160)
    bad = _bad_label_rows(connection) if name == "labels.db" else _bad_image_rows(connection)
    return f"{bad} of its rows can't be read" if bad else ""


def _bad_label_rows(connection: sqlite3.Connection) -> int:
    rows = connection.execute("SELECT digest, updated_ns, labels FROM labels")
    return sum(not (isinstance(row[1], int) and _is_labels(row[2])) for row in rows)


def _bad_image_rows(connection: sqlite3.Connection) -> int:
    rows = connection.execute("SELECT name, digest, size, labels FROM images")
    return sum(not _is_image(*row) for row in rows)


def _is_image(name: Any, digest: Any, size: Any, labels: Any) -> bool:
    try:
        Digest.parse(digest)
    except (ContentError, TypeError, AttributeError):
        return False
    return isinstance(name, str) and isinstance(size, int) and _is_labels(labels)


def _is_labels(text: Any) -> bool:
    import json

    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return False
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


# -- ingests


def ingests(place: Place) -> list[Finding]:
    """Half-made, damaged and foreign things in ``ingest``. Raises ContentError, OSError."""
    statuses = place.store.statuses()
    found = [finding for status in statuses if (finding := _damaged(place, status))]
    for status in statuses:
        if not status.damage:
            found += _parts(place, status.id)
    return found


def _damaged(place: Place, status: Status) -> Finding | None:
    if not status.damage:
        return None
    name, problem = f"ingest/{id_text(status.id)}", visible(status.damage)
    if not _INGEST.fullmatch(status.id):
        words = f"it is none of contentui's or containerd's ingests: {problem}"
        return Finding(Kind.FOREIGN, name, words, advice=_move_away(name))
    changed_ns = _changed_ns(place, status.id)
    if changed_ns is None or not is_old(changed_ns):
        return None  # its writer may be about to make it whole
    holders = place.store.holders([status.id]) or {}
    if status.id in holders:
        holder = describe(holders[status.id], 0)
        advice = "end that process, and check again"
        return Finding(Kind.INGEST_DAMAGED, name, f"{problem}; {holder} holds it", advice=advice)
    remove = f"remove the ingest, with {status.offset} bytes"
    return Finding(Kind.INGEST_DAMAGED, name, problem, remove, seen=status)


def _changed_ns(place: Place, ingest: str) -> int | None:
    """When anything in an ingest changed last; None when it is gone. Raises OSError."""
    above = place.ingests.fd()
    try:
        times = [os.stat(ingest, dir_fd=above, follow_symlinks=False).st_mtime_ns]
        try:
            fd = os.open(ingest, files.DIRECTORY, dir_fd=above)
        except NotADirectoryError:
            return times[0]
        try:
            looks = (os.stat(name, dir_fd=fd, follow_symlinks=False) for name in os.listdir(fd))
            times += [there.st_mtime_ns for there in looks]
        finally:
            os.close(fd)
    except FileNotFoundError:
        return None
    return max(times)


def _parts(place: Place, ingest: str) -> list[Finding]:
    """Temporary files that a crash left in an ingest that is sound."""
    directory = files.Directory(place.ingests, ingest)
    try:
        found = [(name, look(name, directory)) for name in names_in(directory) if name in _PARTS]
    except OSError:
        return []  # it is gone, or no directory any more
    finally:
        directory.close()
    return [
        Finding(
            Kind.LEFTOVER,
            f"ingest/{ingest}/{name}",
            "it is left over from a write that was cut short",
            "remove it",
            seen=identity(there),
        )
        for name, there in found
        if there is not None and stat.S_ISREG(there.st_mode) and is_old(there.st_mtime_ns)
    ]


def abort_ingest(place: Place, finding: Finding) -> None:
    """Remove a damaged ingest under its ref's lock. Raises Locked, Changed, NotFound."""
    status: Status = finding.seen
    changed_ns = _changed_ns(place, status.id)
    if changed_ns is None:
        raise NotFound("it is gone")
    if not is_old(changed_ns):
        raise Changed("something has changed in it since it was found")
    place.store.abort(IngestId(status.id), seen=status)


# -- blobs


def blobs(place: Place) -> list[Finding]:
    """What is in ``blobs`` and no blob, and blobs with wrong modes. Raises OSError."""
    found = [
        _foreign(f"blobs/{name}", "no blobs of contentui are kept there")
        for name in names_in(place.blobs)
        if name not in HEX_LENGTHS
    ]
    for algorithm in HEX_LENGTHS:
        directory = files.Directory(place.blobs, algorithm)
        try:
            found += _blobs_of(algorithm, directory.fd())
        except FileNotFoundError:
            pass  # nothing was ever stored there
        finally:
            directory.close()
    return found


def _blobs_of(algorithm: str, directory: int) -> Iterator[Finding]:
    for name in sorted(os.listdir(directory)):
        try:
            there = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if not (len(name) == HEX_LENGTHS[algorithm] and _HEX.fullmatch(name)):
            words = "its name is no digest; a containerd's garbage collection stops at it"
            yield _foreign(f"blobs/{algorithm}/{name}", words)
        elif not stat.S_ISREG(there.st_mode):
            words = "it has a blob's name, and is not a regular file"
            yield _foreign(f"blobs/{algorithm}/{name}", words)
        elif (mode := stat.S_IMODE(there.st_mode)) != (right := _blob_mode(mode)):
            words = f"its mode is {mode:04o}: {_mode_problem(mode)}"
            repair = f"set its mode to {right:04o}"
            seen = identity(there)
            yield Finding(Kind.BLOB_MODE, f"{algorithm}:{name}", words, repair, seen=seen)


def _foreign(name: str, problem: str) -> Finding:
    return Finding(Kind.FOREIGN, name, problem, advice=_move_away(name))


def _move_away(name: str) -> str:
    return f"find out whose {visible(name, 300)} is, and move it away"


def _blob_mode(mode: int) -> int:
    """The mode that a blob should have: readable for whom it was, and nothing else."""
    return mode & 0o444 | 0o400


def _mode_problem(mode: int) -> str:
    if mode & 0o222:
        return "its bytes could be changed"
    return "its owner can't read it" if not mode & 0o400 else "blobs are only read"


def set_blob_mode(place: Place, finding: Finding) -> None:
    """Make a blob readable and nothing else. Raises NotFound, Changed, OSError."""
    algorithm, _, name = finding.name.partition(":")
    directory = files.Directory(place.blobs, algorithm)
    try:
        now = look(name, directory)
        if now is None:
            raise NotFound("it is gone")
        if identity(now) != finding.seen:
            raise Changed("it was stored anew since it was found")
        set_mode(name, directory, now, _blob_mode(stat.S_IMODE(now.st_mode)))
    except FileNotFoundError:
        raise NotFound("it is gone") from None
    finally:
        directory.close()


def altered(store: LocalStore, progress: Progress | None) -> list[Finding]:
    """The blobs whose bytes are not what their digests say. Raises ContentError."""
    from contentui.content.transfer import verify

    found: list[Finding] = []
    done = 0
    for info in list(store.walk()):

        def report(offset: int, before: int = done) -> None:
            if progress is not None:
                progress(before + offset)

        try:
            verify(store, info.digest, report)
        except NotFound:
            continue  # deleted meanwhile
        except DataLoss as error:
            advice = f"run 'contentui delete {info.digest}', then store it again"
            words = visible(error.message)
            found.append(Finding(Kind.BLOB_ALTERED, info.digest, words, advice=advice))
        except ContentError as error:
            words = visible(error.message)
            found.append(Finding(Kind.UNCHECKED, info.digest, words, advice=error.advice))
        done += info.size
    return found
