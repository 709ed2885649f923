"""Checking and repairing ingests and blobs."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

from contentui.content.digest import HEX_LENGTHS
from contentui.content.errors import Changed, NotFound
from contentui.content.model import IngestId, id_text, ingest_id
from contentui.stores import files
from contentui.stores.local.fsck_model import (
    Finding,
    Kind,
    OpenStore,
    identity,
    is_old,
    look,
    names_in,
    set_mode,
)
from contentui.stores.local.locks import describe
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contentui.content.model import Status
    from contentui.content.streams import Progress
    from contentui.stores.local.store import LocalStore

_HEX = re.compile(r"[0-9a-f]+")
_INGEST = re.compile(r"[0-9a-f]{64}")
_TEMPORARY = ("data.tmp", "startedat.tmp", "updatedat.tmp")
"""Files that a crash can leave when a file of an ingest is replaced."""


# -- ingests


def ingests(place: OpenStore) -> list[Finding]:
    """Damaged ingests and foreign files in ``ingest``. Raises ContentError, OSError."""
    statuses = place.store.statuses()
    found = [finding for status in statuses if (finding := _damaged(place, status))]
    for status in statuses:
        if not status.damage:
            found += _temporaries(place, status.id)
    return found


def _damaged(place: OpenStore, status: Status) -> Finding | None:
    if not status.damage:
        return None
    name, problem = f"ingest/{id_text(status.id)}", visible(status.damage)
    if not _INGEST.fullmatch(status.id):
        problem = f"it is not an ingest of contentui or containerd: {problem}"
        return Finding(Kind.FOREIGN, name, problem, advice=_move_away(name))
    changed_ns = _changed_ns(place, status.id)
    if changed_ns is None or not is_old(changed_ns):
        return None  # its writer may still be creating it
    holders = place.store.holders([status.id]) or {}
    if status.id in holders:
        holder = describe(holders[status.id], 0)
        advice = "end that process, and check again"
        return Finding(
            Kind.INGEST_DAMAGED, name, f"{problem}; it is held by {holder}", advice=advice
        )
    if status.offset and status.ref and ingest_id(status.ref) == status.id:
        # Opening the ref repairs the ingest and resumes after its bytes.
        advice = (
            f"ingest that ref again, which keeps its {status.offset} bytes, or run"
            f" 'contentui abort id:{id_text(status.id)}'"
        )
        return Finding(Kind.INGEST_DAMAGED, name, problem, advice=advice)
    remove = f"remove the ingest, with {status.offset} bytes"
    return Finding(Kind.INGEST_DAMAGED, name, problem, remove, seen=status)


def _changed_ns(place: OpenStore, ingest: str) -> int | None:
    """When anything in an ingest changed last, ns; None if it is gone. Raises OSError."""
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


def _temporaries(place: OpenStore, ingest: str) -> list[Finding]:
    """Temporary files that a crash left in a sound ingest."""
    directory = files.Directory(place.ingests, ingest)
    try:
        found = [
            (name, look(name, directory)) for name in names_in(directory) if name in _TEMPORARY
        ]
    except OSError:
        return []  # it is gone, or not a directory any more
    finally:
        directory.close()
    return [
        Finding(
            Kind.LEFTOVER,
            f"ingest/{ingest}/{name}",
            "it is left over from an interrupted write",
            "remove it",
            seen=identity(there),
        )
        for name, there in found
        if there is not None and stat.S_ISREG(there.st_mode) and is_old(there.st_mtime_ns)
    ]


def abort_ingest(place: OpenStore, finding: Finding) -> None:
    """Remove a damaged ingest under its ref's lock. Raises Locked, Changed, NotFound."""
    status: Status = finding.seen
    changed_ns = _changed_ns(place, status.id)
    if changed_ns is None:
        raise NotFound("it is gone")
    if not is_old(changed_ns):
        raise Changed("something has changed in it since it was found")
    place.store.abort(IngestId(status.id), if_match=status)


# -- blobs


def blobs(place: OpenStore) -> list[Finding]:
    """Foreign files in ``blobs``, and blobs with wrong modes. Raises OSError."""
    found = [
        _foreign(f"blobs/{name}", "contentui stores no blobs there")
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
            problem = "its name is not a digest; the garbage collection of a containerd fails on it"
            yield _foreign(f"blobs/{algorithm}/{name}", problem)
        elif not stat.S_ISREG(there.st_mode):
            problem = "it has the name of a blob, but is not a regular file"
            yield _foreign(f"blobs/{algorithm}/{name}", problem)
        elif (mode := stat.S_IMODE(there.st_mode)) != (right := _blob_mode(mode)):
            problem = f"its mode is {mode:04o}: {_mode_problem(mode)}"
            repair = f"set its mode to {right:04o}"
            seen = identity(there)
            yield Finding(Kind.BLOB_MODE, f"{algorithm}:{name}", problem, repair, seen=seen)


def _foreign(name: str, problem: str) -> Finding:
    return Finding(Kind.FOREIGN, name, problem, advice=_move_away(name))


def _move_away(name: str) -> str:
    return f"find out which program made {visible(name, 300)}, and move it away"


def _blob_mode(mode: int) -> int:
    """The mode that a blob should have: as readable as it was, and no other bits."""
    return mode & 0o444 | 0o400


def _mode_problem(mode: int) -> str:
    if mode & 0o222:
        return "its bytes can be changed"
    return "its owner can't read it" if not mode & 0o400 else "a blob needs only read permission"


def set_blob_mode(place: OpenStore, finding: Finding) -> None:
    """Make a blob readable and nothing else. Raises NotFound, Changed, OSError."""
    algorithm, _, name = finding.name.partition(":")
    directory = files.Directory(place.blobs, algorithm)
    try:
        now = look(name, directory)
        if now is None:
            raise NotFound("it is gone")
        if identity(now) != finding.seen:
            raise Changed("it was stored again since it was found")
        set_mode(name, directory, now, _blob_mode(stat.S_IMODE(now.st_mode)))
    except FileNotFoundError:
        raise NotFound("it is gone") from None
    finally:
        directory.close()


def altered(store: LocalStore, progress: Progress | None) -> list[Finding]:
    """The blobs whose bytes do not match their digests. Raises ContentError."""
    from contentui.content.helpers import verify_blobs

    found: list[Finding] = []
    for info, ok, error in verify_blobs(store, list(store.walk()), progress):
        if error is None:
            continue
        kind, advice = Kind.UNCHECKED, error.advice
        if ok is False:
            kind = Kind.BLOB_ALTERED
            advice = f"run 'contentui delete {info.digest}', then store it again"
        found.append(Finding(kind, info.digest, visible(error.message), advice=advice))
    return found
