"""Ingests with every kind of fault, and functions that age and damage them on disk."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from contentui.content.digest import Digest
from contentui.content.model import ingest_id
from contentui.demo.content import make_layer
from contentui.text import rfc3339

_MB = 1_000_000


class Fault(NamedTuple):
    """An ingest that goes wrong, and the arguments for `contentui.demo.writer` that cause it."""

    ref: str
    size: int
    """Bytes."""
    seed: int
    arguments: tuple[str, ...]


def all_faults() -> tuple[Fault, ...]:
    """A stalled ingest, an abandoned one, one damaged on disk, and a poisoned one."""
    stalled = make_layer(9001, 9 * _MB)
    abandoned = make_layer(9002, 7 * _MB)
    wrong = Digest.of(b"what was asked for")
    return (
        Fault(
            f"layer-{stalled.digest}",
            stalled.size,
            stalled.seed,
            (f"--expected={stalled.digest}", "--stop-at=0.42", "--then=stall", "--age=760"),
        ),
        Fault(
            f"layer-{abandoned.digest}",
            abandoned.size,
            abandoned.seed,
            (f"--expected={abandoned.digest}", "--stop-at=0.71", "--then=die", "--age=9000"),
        ),
        Fault("upload-5f0c2be7a911", _MB, 9003, ("--stop-at=0.2", "--then=damage", "--age=300")),
        Fault(f"layer-{wrong}", 2 * _MB, 9004, (f"--expected={wrong}",)),
    )


def folder_of(root: str, ref: str) -> str:
    """The directory of an ingest."""
    return os.path.join(root, "ingest", ingest_id(ref))


def make_old(root: str, ref: str, age_s: float) -> None:
    """Set the times of an ingest as if its last byte had arrived ``age_s`` seconds ago."""
    folder = folder_of(root, ref)
    then = time.time_ns() - int(age_s * 1e9)
    for name, time_ns in (("startedat", then - 45 * 10**9), ("updatedat", then)):
        _replace(os.path.join(folder, name), (rfc3339(time_ns) or "").encode())
    os.utime(os.path.join(folder, "data"), ns=(then, then))


def damage(root: str, ref: str) -> None:
    """Overwrite an ingest's ``startedat`` with text that is not a timestamp."""
    _replace(os.path.join(folder_of(root, ref), "startedat"), b"the day before\x1b[31m yesterday")


def _replace(path: str, data: bytes) -> None:
    """Replace a file: ``startedat`` and ``updatedat`` may be hard links to one file."""
    with open(path + ".new", "wb") as file:
        file.write(data)
    os.replace(path + ".new", path)
