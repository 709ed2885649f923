"""A model of what the disk has: which bytes and names a run has synced, and which it lost.

A sync that fails leaves the kernel with clean pages that are not on the disk; a later sync
succeeds without writing them (fsync(2), "Linux writeback errors"). Only writing them again helps.
"""

from __future__ import annotations

import os
import re
import stat
from typing import Any

CLEAN, DIRTY, LOST = b"\0", b"\1", b"\2"


def key_of(found: os.stat_result) -> str:
    """How a file is known in the model."""
    return f"{found.st_dev}:{found.st_ino}"


class Durability:
    """What was changed below one directory since the model was made: all before is durable."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        state = state or {"files": {}, "names": {}}
        self.files = {key: _flags(runs) for key, runs in state["files"].items()}
        self.names: dict[str, set[str]] = {key: set(names) for key, names in state["names"].items()}

    def state(self) -> dict[str, Any]:
        """As a JSON value, for another process."""
        return {
            "files": {key: runs for key, flags in self.files.items() if (runs := _runs(flags))},
            "names": {key: sorted(names) for key, names in self.names.items() if names},
        }

    # -- what happens

    def created(self, found: os.stat_result) -> None:
        self.files[key_of(found)] = bytearray()
        self.names.pop(key_of(found), None)

    def wrote(self, found: os.stat_result, at: int, count: int) -> None:
        flags = self.files.setdefault(key_of(found), bytearray())
        flags.extend(bytes(max(at + count - len(flags), 0)))
        flags[at : at + count] = DIRTY * count

    def truncated(self, found: os.stat_result, size: int) -> None:
        flags = self.files.setdefault(key_of(found), bytearray())
        del flags[size:]

    def named(self, parent: os.stat_result, name: str) -> None:
        """A name came or went in a directory."""
        self.names.setdefault(key_of(parent), set()).add(name)

    def synced(self, found: os.stat_result) -> None:
        key = key_of(found)
        if stat.S_ISDIR(found.st_mode):
            self.names.pop(key, None)
        elif key in self.files:
            self.files[key] = self.files[key].replace(DIRTY, CLEAN)

    def sync_failed(self, found: os.stat_result) -> None:
        key = key_of(found)
        if not stat.S_ISDIR(found.st_mode) and key in self.files:
            self.files[key] = self.files[key].replace(DIRTY, LOST)

    def dropped(self, found: os.stat_result) -> list[tuple[int, int]]:
        """Pages left the cache; the ranges whose bytes the disk doesn't have."""
        flags = self.files.get(key_of(found), bytearray())
        lost = [(start, end) for start, end, flag in _runs(flags) if flag == LOST[0]]
        for start, end in lost:
            flags[start:end] = CLEAN * (end - start)
        return lost

    # -- what an acknowledgement needs

    def of_file(self, path: str, base: str) -> list[str]:
        """What of a file is not on the disk: its bytes, or a name on its way from ``base``."""
        try:
            found = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            return [f"{os.path.relpath(path, base)} is missing"]
        flags = self.files.get(key_of(found), bytearray())
        wrong = []
        if lost := flags.count(LOST):
            wrong.append(f"{lost} bytes of {_short(path, base)} were lost by a failed sync")
        if dirty := flags.count(DIRTY):
            wrong.append(f"{dirty} bytes of {_short(path, base)} are not synced")
        return wrong + self.of_name(path, base)

    def of_name(self, path: str, base: str) -> list[str]:
        """Which names on the way from ``base`` to ``path`` came or went without a sync."""
        wrong = []
        while path != base:
            above, name = os.path.split(path)
            try:
                key = key_of(os.stat(above))
            except FileNotFoundError:
                key = ""
            if name in self.names.get(key, ()):
                wrong.append(f"the name {_short(path, base)} is not synced")
            path = above
        return wrong


def _runs(flags: bytearray) -> list[tuple[int, int, int]]:
    """Where flags are set: start, end and which."""
    return [
        (run.start(), run.end(), flag[0])
        for flag in (DIRTY, LOST)
        if flag in flags
        for run in re.finditer(flag + b"+", flags)
    ]


def _flags(runs: list[tuple[int, int, int]]) -> bytearray:
    flags = bytearray(max(end for _, end, _ in runs))
    for start, end, flag in runs:
        flags[start:end] = bytes([flag]) * (end - start)
    return flags


def _short(path: str, base: str) -> str:
    parts = [part[:12] for part in os.path.relpath(path, base).split("/")]
    return "/".join(["store", *parts[1:]] if parts[0].startswith("case-") else parts)
