"""Making a store that the members of a group share (docs/sharing.md).

Its directories are setgid and writable for the group. `files.is_shared` checks just that, so chmod
and chgrp make a shared store as well.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from contentui.stores import files
from contentui.stores.files import STATE_DIR

if TYPE_CHECKING:
    from collections.abc import Iterator

_DIRECTORY = 0o2070
"""Mode bits that are added to a directory; those for others are not changed."""
_FILE = 0o060
"""Mode bits that are added to a file; u+x and g+x of ``data`` mean something (`ingest_dir`)."""
_BLOB = 0
_PRIVATE = frozenset({"locks", "naming", "owner"})
_DATABASES = (".db", ".db-journal")


def make(root: str, group: int | None) -> None:
    """Make the store ``root`` if it does not exist, and share it with the group of that id.

    An existing one is shared with all its content. Running writers are not disturbed.

    Raises:
        PermissionDenied: it, or a part of it, is another user's.
        FailedPrecondition, ReadOnly, ResourceExhausted, Unavailable: as the file system reports.
    """
    with files.map_errors(f"making {root}"):
        top = files.Directory(None, root)
        try:
            fd = top.fd_or_make()
            for name in ("blobs", "ingest", STATE_DIR):
                files.Directory(top, name).fd_or_make()
            if group is not None:
                _share(fd, group)
        finally:
            top.close()


def _share(root: int, group: int) -> None:
    _share_directory(root, group, _DIRECTORY)
    for name in ("ingest", "blobs"):
        for above, entries in _folders(name, root, group):
            for entry in entries:
                _share_file(entry, above, group, _BLOB if name == "blobs" else _FILE)
    for above, entries in _folders(STATE_DIR, root, group):
        for entry in entries:
            private = entry in _PRIVATE or entry.endswith(_DATABASES)
            _share_file(entry, above, group, _FILE, without=0o007 if private else 0)


def _folders(name: str, above: int, group: int) -> Iterator[tuple[int, list[str]]]:
    """Share a directory and those below it; yields the descriptor and file names of each."""
    try:
        fd = os.open(name, files.DIRECTORY, dir_fd=above)
    except FileNotFoundError:
        return
    try:
        _share_directory(fd, group, _DIRECTORY)
        entries = []
        for entry in os.listdir(fd):
            with contextlib.suppress(FileNotFoundError):
                mode = os.stat(entry, dir_fd=fd, follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    yield from _folders(entry, fd, group)
                elif stat.S_ISREG(mode):
                    entries.append(entry)
        yield fd, entries
    finally:
        files.close(fd)


def _share_file(name: str, above: int, group: int, bits: int, *, without: int = 0) -> None:
    # By its name: only SQLite may open a database (see `database`).
    with contextlib.suppress(FileNotFoundError):
        found = os.stat(name, dir_fd=above, follow_symlinks=False)
        if found.st_nlink > 1 and found.st_uid != os.fstat(above).st_uid:
            return  # a hard link to a file from elsewhere
        new = (stat.S_IMODE(found.st_mode) | bits) & ~without
        if found.st_gid != group:
            files.change_group(name, group, above, found)
        if stat.S_IMODE(found.st_mode) != new:
            files.change_mode(name, new, above, expected=found)


def _share_directory(fd: int, group: int, bits: int) -> None:
    found = os.fstat(fd)
    if found.st_gid != group:
        os.fchown(fd, -1, group)
    new = stat.S_IMODE(found.st_mode) | bits
    if stat.S_IMODE(os.fstat(fd).st_mode) != new:
        os.fchmod(fd, new)
