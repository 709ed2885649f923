"""Ingests with every kind of trouble, and the hand that ages and damages them on disk."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from contentui.content.digest import Digest
from contentui.content.model import ingest_id
from contentui.demo.content import make_layer
from contentui.text import rfc3339

_MB = 1_000_000


class Trouble(NamedTuple):
    """An ingest that goes wrong: the arguments of the writer that makes it so."""

    ref: str
    size: int
    """Bytes."""
    seed: int
    arguments: tuple[str, ...]


def all_troubles() -> tuple[Trouble, ...]:
    """One that is stalled, one abandoned, one damaged on disk, one poisoned."""
    stalled = make_layer(9001, 9 * _MB)
    abandoned = make_layer(9002, 7 * _MB)
    wrong = Digest.of(b"what was asked for")
    return (
        Trouble(
            f"layer-{stalled.digest}",
            stalled.size,
            stalled.seed,
            (f"--expected={stalled.digest}", "--stop-at=0.42", "--then=stall", "--age=760"),
        ),
        Trouble(
            f"layer-{abandoned.digest}",
            abandoned.size,
            abandoned.seed,
            (f"--expected={abandoned.digest}", "--stop-at=0.71", "--then=die", "--age=9000"),
        ),
        Trouble("upload-5f0c2be7a911", _MB, 9003, ("--stop-at=0.2", "--then=damage", "--age=300")),
        Trouble(f"layer-{wrong}", 2 * _MB, 9004, (f"--expected={wrong}",)),
    )


def folder_of(root: str, ref: str) -> str:
    """The directory of an ingest."""
    return os.path.join(root, "ingest", ingest_id(ref))


def grow_old(root: str, ref: str, age_s: float) -> None:
    """Make an ingest look as if its last byte had come ``age_s`` seconds ago."""
    folder = folder_of(root, ref)
    then = time.time_ns() - int(age_s * 1e9)
    for name, time_ns in (("startedat", then - 45 * 10**9), ("updatedat", then)):
        _replace(os.path.join(folder, name), (rfc3339(time_ns) or "").encode())
    os.utime(os.path.join(folder, "data"), ns=(then, then))


def damage(root: str, ref: str) -> None:
    """Garble the time at which an ingest began."""
    _replace(os.path.join(folder_of(root, ref), "startedat"), b"the day before\x1b[31m yesterday")


def _replace(path: str, data: bytes) -> None:
    """A new file under an old name: the store's two times may be one file with two names."""
    with open(path + ".new", "wb") as file:
        file.write(data)
    os.replace(path + ".new", path)
