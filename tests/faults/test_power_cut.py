"""A power cut after each step of a real run loses nothing acknowledged and makes nothing up."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Any, NamedTuple

import power
import pytest

from contentui.content.digest import Digest
from contentui.content.errors import AlreadyExists, ContentError, FailedPrecondition
from contentui.content.model import ingest_id
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator


class Blob(NamedTuple):
    data: bytes
    labels: dict[str, str] | None
    algorithm: str = "sha256"


class Bytes(NamedTuple):
    """An ingest closed with these bytes; later it may have become the blob ``then``."""

    ref: str
    data: bytes
    then: bytes
    total: int = 0


class Going(NamedTuple):
    """About to be destroyed on demand: from here on it may be there or not."""

    what: str


class Gone(NamedTuple):
    what: str


BIG = os.urandom(1 << 19) * 3


def everything(store: LocalStore, recorder: power.Recorder, source: str) -> None:
    """Each way in and out, acknowledged one by one."""
    acknowledge = recorder.acknowledge

    def phase(name: str) -> None:
        recorder.phase = name

    phase("put")
    store.put(b"one", labels={"a": "b"})
    acknowledge(Blob(b"one", {"a": "b"}))
    store.put(b"two")
    acknowledge(Blob(b"two", {}))
    phase("put_many")
    many = [b"many %d" % n for n in range(4)]
    store.put_many(many)
    for data in many:
        acknowledge(Blob(data, {}))
    phase("commit")
    writer = store.writer("plain", total=9)
    writer.write(b"some")
    writer.write(b" data")
    writer.commit(9, labels={"c": "d"})
    acknowledge(Blob(b"some data", {"c": "d"}))
    phase("close")
    writer = store.writer("resumed", total=len(BIG))
    writer.write(BIG[:5000])
    writer.close()
    acknowledge(Bytes("resumed", BIG[:5000], BIG))
    phase("commit resumed")
    writer = store.writer("resumed")
    with open(source, "rb", buffering=0) as file:
        file.seek(5000)
        writer.append_from(file)
    writer.commit()
    acknowledge(Blob(BIG, {}))
    phase("sha512")
    writer = store.writer("other", expected=Digest.of(b"long", "sha512"))
    writer.write(b"long")
    writer.commit()
    acknowledge(Blob(b"long", {}, "sha512"))
    phase("close expected")
    with store.writer("kept", total=50, expected=Digest.of(b"never")) as writer:
        writer.write(b"kept bytes")
    acknowledge(Bytes("kept", b"kept bytes", b"", 50))
    phase("refused")
    writer = store.writer("poisoned", expected=Digest.of(b"right"))
    writer.write(b"wrong")
    with contextlib.suppress(FailedPrecondition):
        writer.commit()
    acknowledge(Bytes("poisoned", b"wrong", b""))
    phase("before truncate")
    with store.writer("emptied") as writer:
        writer.write(b"old bytes")
    phase("truncate")
    store.truncate("emptied")
    acknowledge(Bytes("emptied", b"", b""))
    phase("delete")
    acknowledge(Going(Digest.of(b"two")))
    store.delete(Digest.of(b"two"))
    acknowledge(Gone(Digest.of(b"two")))
    phase("abort")
    acknowledge(Going("kept"))
    store.abort("kept")
    acknowledge(Gone("kept"))
    # Whoever meets what another process made and died before syncing must sync it.
    phase("died: put")
    store.put(b"young")
    phase("met: put")
    store.put(b"young")
    acknowledge(Blob(b"young", {}))
    phase("died: commit")
    store.put(b"younger")
    phase("met: commit")
    writer = store.writer("younger")
    writer.write(b"younger")
    with contextlib.suppress(AlreadyExists):
        writer.commit()
    acknowledge(Blob(b"younger", {}))


DIED = {("died: put", "directory sha256"), ("died: commit", "directory sha256")}
"""Syncs that never came, in every run."""


@pytest.fixture(scope="module")
def place() -> Iterator[str]:
    """Memory where there is some: everything here is about syncs that don't happen."""
    above = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    path = tempfile.mkdtemp(dir=above)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def recorded(place: str) -> power.Recorder:
    base = os.path.join(place, "run")
    os.mkdir(base)
    source = os.path.join(place, "source")
    with open(source, "wb") as file:
        file.write(BIG)
    recorder = power.Recorder(base)
    with recorder.recording(), LocalStore(os.path.join(base, "above", "store")) as store:
        recorder.phase = "prepare"
        everything(store, recorder, source)
    return recorder


def violations(  # noqa: C901 - one branch per promise
    store: LocalStore, acknowledged: list[Any]
) -> list[str]:
    """What the promises don't allow of a store found after a power cut."""
    found: list[str] = []
    if not os.path.isdir(store.name):
        return ["the store is gone"] if acknowledged else []
    try:
        sound = {status.ref: status for status in store.statuses() if not status.damage}
        blobs = {info.digest: info for info in store.walk()}
    except ContentError as error:
        return [f"listing failed: {error}"]
    for digest in blobs:
        with store.reader(digest) as reader:
            if Digest.of(reader.read_at(1 << 30, 0), digest.algorithm) != digest:
                found.append(f"{digest} holds other bytes")
    going = {fact.what for fact in acknowledged if isinstance(fact, Going)}
    for fact in acknowledged:
        if isinstance(fact, Blob):
            digest = Digest.of(fact.data, fact.algorithm)
            if digest in going:
                continue
            if digest not in blobs:
                found.append(f"{fact.data[:10]!r} is lost")
            elif blobs[digest].labels != fact.labels:
                found.append(f"{fact.data[:10]!r} has labels {blobs[digest].labels}")
        elif isinstance(fact, Bytes) and fact.ref not in going:
            if fact.then and Digest.of(fact.then) in blobs:
                continue
            if fact.ref not in sound:
                found.append(f"ingest {fact.ref} is lost or damaged")
                continue
            if fact.total and sound[fact.ref].total != fact.total:
                found.append(f"ingest {fact.ref} has total {sound[fact.ref].total}")
            with store.writer(fact.ref) as writer:
                data = os.path.join(store.name, "ingest", writer.status().id, "data")
                with open(data, "rb") as file:
                    kept = file.read()
            if not kept.startswith(fact.data) or (not fact.data and kept):
                found.append(f"ingest {fact.ref} has other bytes")
        elif isinstance(fact, Gone) and (fact.what in blobs or fact.what in sound):
            found.append(f"{fact.what} is back")
    for status in store.statuses():
        if status.damage and status.ref and ingest_id(status.ref) == status.id:
            store.writer(status.ref).close()
        elif status.damage:
            store.abort(status.id)
    return found + [f"{status.ref} stays damaged" for status in store.statuses() if status.damage]


def try_all(
    recorder: power.Recorder,
    place: str,
    without: set[tuple[str, str]],
    *,
    stop_at_first: bool,
    only_phase: str = "",
) -> tuple[list[str], int]:
    """Cut the power after each step. Returns the violations, and how many states were tried."""
    seen: set[int] = set()
    found: list[str] = []
    target = os.path.join(place, "after")
    reached = not only_phase
    real_fsync, os.fsync = os.fsync, lambda fd: None
    try:
        for number, acknowledged in power.cuts(recorder, DIED | without):
            step = recorder.steps[number]
            reached = reached or (step.site is not None and step.site in without)
            if not reached:
                continue
            for mode in power.MODES:
                tree = power.left(recorder.root, mode)
                state = hash((repr(tree), len(acknowledged)))
                if state in seen:
                    continue
                seen.add(state)
                power.build(tree, target)
                try:
                    root = os.path.join(target, "above", "store")
                    with LocalStore(root) as store:
                        bad = violations(store, acknowledged)
                finally:
                    shutil.rmtree(target)
                found += [f"after {number} ({step.what}), {mode}: {what}" for what in bad]
                if found and stop_at_first:
                    return found, len(seen)
    finally:
        os.fsync = real_fsync
    return found, len(seen)


def test_no_power_cut_loses_anything(recorded: power.Recorder, place: str) -> None:
    found, tried = try_all(recorded, place, set(), stop_at_first=False)
    print(f"{len(recorded.steps)} steps, {tried} states after a power cut")
    assert not found, "\n".join(found)
    assert tried > 300


NEEDED = [
    ("put", "directory base"),  # the store's directory above ...
    ("put", "directory above"),  # ... and its own
    ("put", "directory store"),
    ("put", "directory blobs"),
    ("put", "file unnamed"),
    ("put", "directory sha256"),
    ("put", "directory .contentui"),
    ("put_many", "file unnamed"),
    ("put_many", "directory sha256"),
    ("commit", "file data"),
    ("commit", "directory sha256"),
    ("close", "file data"),
    ("close", "file ref"),
    ("close", "file startedat"),
    ("close expected", "file data"),
    ("close expected", "file total"),
    ("close", "directory ingest/*"),
    ("close", "directory ingest"),
    ("commit resumed", "file data"),
    ("commit resumed", "directory sha256"),
    ("sha512", "file data"),
    ("sha512", "directory blobs"),
    ("sha512", "directory sha512"),
    ("refused", "file data"),
    ("truncate", "file data"),
    ("delete", "directory sha256"),
    ("abort", "directory ingest"),
    ("met: put", "directory sha256"),
    ("met: commit", "directory sha256"),
]


@pytest.mark.parametrize("site", NEEDED, ids=lambda site: f"{site[0]}, {site[1]}")
def test_each_sync_is_needed(recorded: power.Recorder, place: str, site: tuple[str, str]) -> None:
    assert site in {step.site for step in recorded.steps}, "this sync is not made at all"
    found, _ = try_all(recorded, place, {site}, stop_at_first=True, only_phase=site[0])
    assert found, "nothing notices when this sync is left out: the test is blind, or it is needless"


def test_all_syncs_are_known(recorded: power.Recorder) -> None:
    """A new kind of sync belongs into the list above, or here if nothing is lost without it."""
    made = {step.site[1] for step in recorded.steps if step.site}
    listed = {what for _, what in NEEDED}
    assert made - listed <= {"file expected", "file refused"}
