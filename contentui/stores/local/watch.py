"""Noticing that someone else writes to a file that a writer has open."""

from __future__ import annotations

import os

from contentui.content.errors import DataLoss


class Watch:
    """An open file that only we should change.

    A foreign change is told by the file's size at once, and by its time of change as a doubt
    that hashing it again settles: some file systems move that time on their own.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.trust()

    def trust(self) -> None:
        """Take the file as it is now for ours."""
        self.doubted = False
        self.wrote()

    def wrote(self) -> None:
        """To be called after each change that we made."""
        self._modified_ns = os.fstat(self._fd).st_mtime_ns

    def check(self, size: int) -> os.stat_result:
        """To be called before each use. Raises DataLoss when the file isn't ``size`` bytes long."""
        found = os.fstat(self._fd)
        if found.st_size != size:
            raise altered(f"it is {found.st_size} bytes long where {size} were written")
        if found.st_mtime_ns != self._modified_ns:
            self.doubted = True
            self._modified_ns = found.st_mtime_ns
        return found


def altered(how: str) -> DataLoss:
    """The error for an ingest whose bytes are not those that were written."""
    return DataLoss(
        f"something else has changed the ingest's data: {how}",
        advice="abort the ingest and start over",
    )
