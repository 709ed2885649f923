"""Checks and repairs in a loop while real processes write and die: nothing live is touched."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from contentui.content.digest import Digest
from contentui.content.helpers import verify
from contentui.content.model import ingest_id
from contentui.stores.local import fsck
from contentui.stores.local.store import LocalStore

CHILD = Path(__file__).with_name("fsck_child.py")


class Child:
    """One process of `fsck_child.py`; its acknowledgements go to a file."""

    def __init__(self, root: Path, role: str, seed: int) -> None:
        self.role = role
        self.log = root.with_name(f"{role}-{seed}.jsonl")
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, CHILD, str(root), role, str(seed)],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.PIPE,
            )

    def records(self) -> list[dict[str, object]]:
        whole = self.log.read_bytes().rpartition(b"\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def count(self, key: str) -> int:
        return sum(key in record for record in self.records())

    def end(self) -> None:
        _, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, err.decode()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


def healed(seeds: range, most: int) -> set[str]:
    return {f"ingest/{ingest_id(f'healed-{s}-{n}')}" for s in seeds for n in range(most)}


def run(tmp_path: Path, rounds: int, kills: int) -> None:  # noqa: C901 - one scenario, in order
    root = tmp_path / "store"
    LocalStore(str(root)).put(b"first", labels={"first": "1"})
    roles = ("ingest", "put", "leave", "heal", "heal")
    writers = [Child(root, role, seed) for seed, role in enumerate(roles)]
    repairers = [Child(root, "repair", seed) for seed in (100, 101)]
    records = []
    try:
        for n in range(kills):  # what they leave is real, and too young to be repaired yet
            victim = Child(root, random.choice(("ingest", "put")), 1000 + n)
            while not victim.count("blob"):
                assert victim.process.poll() is None, victim.process.communicate()
                time.sleep(0.005)
            time.sleep(random.random() * 0.05)
            victim.kill()
            records += victim.records()
        # On a slow machine the first rounds may be too slow to repair anything in time.
        while min(child.count("round") for child in repairers) < rounds or not any(
            record.get("result") == "done" for child in repairers for record in child.records()
        ):
            assert all(child.process.poll() is None for child in (*writers, *repairers))
            time.sleep(0.05)
        for child in (*writers, *repairers):
            child.end()
    finally:
        for child in (*writers, *repairers):
            if child.process.poll() is None:
                child.kill()
    for child in writers:
        assert child.count("blob"), child.role
        records += child.records()
    with LocalStore(str(root)) as store:
        for record in records:
            info = store.info(Digest(str(record["blob"])))
            assert info.labels == record["labels"]
            verify(store, info.digest)
        for image in store.images.list():
            assert store.info(image.target.digest)
        check_what_was_repaired(repairers, records)
        age_everything(root)
        list(fsck.repair(store, fsck.check(store)))
        assert fsck.check(store) == []
        for record in records:
            assert store.info(Digest(str(record["blob"]))).labels == record["labels"]


def check_what_was_repaired(repairers: list[Child], acknowledged: list[dict[str, object]]) -> None:
    """Only ingests that were left incomplete long ago, and labels without a blob."""
    may_go = healed(range(5), 20_000)
    blobs = {record["blob"] for record in acknowledged}
    for child in repairers:
        for record in child.records():
            if "found" in record:
                orphan = record["kind"] == "labels-without-blob" and record["found"] not in blobs
                assert orphan or record["found"] in may_go, record
            if record.get("result") == "done" and record["repaired"] not in may_go:
                assert record["repaired"] not in blobs, record
            assert record.get("result") != "failed", record
    outcomes = [record for child in repairers for record in child.records() if "result" in record]
    assert {"done", "skipped"} >= {record["result"] for record in outcomes}
    assert any(record["result"] == "done" for record in outcomes)


def age_everything(root: Path) -> None:
    """As if an hour had passed."""
    then = time.time() - 3600
    for folder in ("ingest", ".contentui"):
        for path in sorted((root / folder).rglob("*"), reverse=True):
            if path.name not in ("labels.db", "images.db"):
                os.utime(path, (then, then))


def test_nothing_live_is_touched(tmp_path: Path) -> None:
    run(tmp_path, rounds=40, kills=5)


@pytest.mark.torture
def test_nothing_live_is_touched_for_long(tmp_path: Path) -> None:
    run(tmp_path, rounds=150, kills=60)
