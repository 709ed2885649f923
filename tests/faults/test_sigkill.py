"""A writer killed at any moment: what it acknowledged is there, what it began can be ended."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import kill_child
import pytest

from contentui.content.digest import Digest
from contentui.content.errors import AlreadyExists
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from pathlib import Path


class Truth:
    """What must be in the store, by all that was acknowledged."""

    def __init__(self) -> None:
        self.blobs: dict[Digest, str] = {}
        self.kills = self.finished = self.resumed = self.damaged = 0
        self.acknowledged = 0

    def hear(self, line: str) -> tuple[int, int] | None:
        """Take in an acknowledgement; returns seed and offset of a closed ingest."""
        kind, *rest = line.split(" ")
        if kind == "blob":
            seed, size = int(rest[0]), int(rest[1])
            self.blobs[Digest.of(kill_child.content(seed, size))] = rest[2]
            self.acknowledged += 1
        elif kind == "ingest":
            self.acknowledged += 1
            return int(rest[0]), int(rest[1])
        return None


def run_and_kill(root: str, seed: int, source: str, after_s: float) -> list[str]:
    """Start a writer, kill it ``after_s`` seconds after its start; what it acknowledged."""
    child = subprocess.Popen(
        [sys.executable, kill_child.__file__, root, str(seed), source], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    first = child.stdout.readline()
    assert first == b"started\n"
    time.sleep(after_s)  # a random moment
    child.kill()
    rest = child.stdout.read().decode()
    child.stdout.close()
    assert child.wait() == -9
    return [line for line in rest.split("\n") if line]


def check(store: LocalStore, truth: Truth, seed: int, lines: list[str]) -> None:
    closed = dict(filter(None, [truth.hear(line) for line in lines]))
    found = {info.digest: info.labels for info in store.walk()}
    for digest in found.keys() - truth.blobs.keys():
        with store.reader(digest) as reader:
            assert Digest.of(reader.read_at(1 << 30, 0)) == digest, "an unacknowledged blob is cut"
        truth.finished += 1
    for digest, label in truth.blobs.items():
        assert digest in found, "an acknowledged blob is lost"
        if label:
            assert found[digest] == {"seed": label}
    statuses = store.statuses()
    held = store.holders([status.id for status in statuses])
    assert not held, f"the dead hold locks: {held}"
    for status in statuses:
        truth.damaged += bool(status.damage)
        seed = int((status.ref or "ref-0").split("-")[1])
        if not status.ref:
            store.abort(status.id)
        else:
            finish(store, truth, seed, closed.get(seed, 0))
    assert store.statuses() == []


SIZES = dict(zip(kill_child.KINDS, (3000, 700, 3 << 20, 3 << 20, 40_000, 900, 600), strict=True))


def finish(store: LocalStore, truth: Truth, seed: int, at_least: int) -> None:
    """Resume what the dead left, and see that the right blob comes out."""
    size = SIZES[kill_child.KINDS[seed // 1000 % len(SIZES)]]
    data = kill_child.content(seed, size)
    digest = Digest.of(data)
    with contextlib.suppress(AlreadyExists), store.writer(f"ref-{seed}") as writer:
        if digest not in set(store.digests()):
            assert writer.offset >= at_least, "bytes that close() acknowledged are lost"
        truth.resumed += writer.offset > 0
        assert writer.digest() == Digest.of(data[: writer.offset]), "the ingest holds other bytes"
        writer.write(data[writer.offset :])
        writer.commit(size, digest, labels={"seed": str(seed)})
    with store.reader(digest) as reader:
        assert reader.read_at(size + 1, 0) == data
    truth.blobs.setdefault(digest, "")


def kill_often(tmp_path: Path, kills: int, dice: random.Random) -> Truth:
    root, source = str(tmp_path / "store"), str(tmp_path / "source")
    truth = Truth()
    verified: set[Digest] = set()
    for n in range(kills):
        seed = (n + 1) * 1_000_000 + n % len(SIZES) * 1000
        lines = run_and_kill(
            root, seed, source, dice.choice([0.0, 0.003, 0.02, 0.1]) * dice.random()
        )
        with LocalStore(root) as store:
            if os.path.isdir(root):
                check(store, truth, seed, lines)
                for digest in set(store.digests()) - verified:
                    with store.reader(digest) as reader:
                        assert Digest.of(reader.read_at(1 << 30, 0)) == digest
                    verified.add(digest)
                if n % 50 == 49:  # keep the store small enough to look through each time
                    for digest in store.digests():
                        store.delete(digest)
                    truth.blobs.clear()
                    verified.clear()
        truth.kills += 1
    print(
        f"{truth.kills} kills: {truth.acknowledged} deeds acknowledged and found, "
        f"{truth.finished} finished but not acknowledged, {truth.resumed} ingests resumed, "
        f"{truth.damaged} left half-made and healed"
    )
    return truth


def test_a_killed_writer_loses_nothing_acknowledged(tmp_path: Path) -> None:
    truth = kill_often(tmp_path, 25, random.Random(1))
    assert truth.kills == 25


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_many_killed_writers_lose_nothing_acknowledged(tmp_path: Path) -> None:
    kills = int(os.environ.get("CONTENTUI_TORTURE", "500"))
    truth = kill_often(tmp_path, kills, random.Random())
    assert truth.kills == kills
    assert truth.acknowledged > kills
    assert truth.resumed > kills / 50
