"""Findings of a check, and what both check and repair use."""

from __future__ import annotations

import contextlib
import os
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from contentui.content.errors import Changed, NotFound
from contentui.stores import files
from contentui.stores.local.locks import NamingLock, RefLocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contentui.content.errors import ContentError
    from contentui.stores.local.store import LocalStore

SAFE_AGE_NS = 10 * 60 * 10**9
"""Ten minutes, nanoseconds: a running process may still use what changed within that time."""


class Kind(StrEnum):
    """What is wrong."""

    LABELS_WITHOUT_BLOB = "labels-without-blob"
    DATABASE_DAMAGED = "database-damaged"
    IMAGE_WITHOUT_BLOB = "image-without-blob"
    INGEST_DAMAGED = "ingest-damaged"
    BLOB_ALTERED = "blob-altered"
    BLOB_MODE = "blob-mode"
    BLOB_NAME = "blob-name"
    FILE_MODE = "file-mode"
    FILE_TYPE = "file-type"
    FOREIGN = "foreign"
    LEFTOVER = "leftover"
    OWNER_STALE = "owner-stale"
    OWNERSHIP = "ownership"
    UNCHECKED = "unchecked"
    """A part of the store could not be read, so its state is unknown."""


class Finding(NamedTuple):
    """One thing that is wrong."""

    kind: Kind
    name: str
    """A path below the store's directory, a digest or an image's name; untrusted text."""
    problem: str
    """What is wrong, without the name; safe to print."""
    repair: str = ""
    """What a repair would do; empty if there is no repair."""
    advice: str = ""
    """What a person can do if there is no repair."""
    seen: Any = None
    """The state that was found; the repair compares it with the state then."""


class Repaired(NamedTuple):
    """How the repair of one finding ended."""

    finding: Finding
    result: str
    """``done``; ``skipped``: it has changed, or is gone; ``failed``."""
    reason: str = ""
    """Why it was not done; untrusted text."""
    error: ContentError | None = None

    @property
    def remains(self) -> bool:
        """Whether the finding may still be there."""
        return self.result != "done" and not isinstance(self.error, NotFound)


class OpenStore:
    """A store's directory, open for one check or repair. A context manager."""

    def __init__(self, store: LocalStore) -> None:
        self.store = store
        self.root = files.Directory(None, store.name)
        self.state_dir = files.Directory(self.root, files.STATE_DIR)
        self.ingests = files.Directory(self.root, "ingest")
        self.blobs = files.Directory(self.root, "blobs")
        self.locks = RefLocks(self.state_dir)
        self.naming = NamingLock(self.state_dir)

    @property
    def is_writable(self) -> bool:
        return not self.store.traits.read_only_reason

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.locks.close()
        for directory in (self.blobs, self.ingests, self.state_dir, self.root):
            directory.close()

    @contextlib.contextmanager
    def settled(self) -> Iterator[None]:
        """Hold the naming lock, so that no labelled blob is being created or deleted.

        In a read-only store wait one second instead: such an operation takes milliseconds.
        """
        if self.is_writable:
            with self.naming.held():
                yield
        else:
            time.sleep(1.0)
            yield


def names_in(directory: files.Directory) -> list[str]:
    """The names in a directory, sorted; empty if it does not exist. Raises OSError."""
    try:
        return sorted(os.listdir(directory.fd()))
    except FileNotFoundError:
        return []


def look(name: str, directory: files.Directory) -> os.stat_result | None:
    """The stat result of a name; None if it does not exist. Raises OSError."""
    try:
        return os.stat(name, dir_fd=directory.fd(), follow_symlinks=False)
    except FileNotFoundError:
        return None


def is_old(changed_ns: int, least_ns: int = SAFE_AGE_NS) -> bool:
    """Whether a time is more than ``least_ns`` ago."""
    return time.time_ns() - changed_ns > least_ns


def identity(found: os.stat_result) -> tuple[int, ...]:
    """Identifies a file and, by size and time, its content."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def unchanged(finding: Finding, directory: files.Directory, name: str) -> os.stat_result:
    """The stat result of the name, if it is what was found. Raises NotFound, Changed, OSError."""
    now = look(name, directory)
    if now is None:
        raise NotFound("it is gone")
    if identity(now) != finding.seen:
        raise Changed("it has changed since it was found")
    return now


def set_mode(name: str, directory: files.Directory, seen: os.stat_result, mode: int) -> None:
    """Raises NotFound, Changed, OSError."""
    try:
        files.change_mode(name, mode, directory.fd(), expected=seen)
    except FileNotFoundError:
        raise Changed("it was replaced by another file") from None
