"""Probing in a directory: times stay, damage is survived, other processes are seen."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from contentui.content.digest import Digest
from contentui.content.errors import Changed, Locked, NotFound, ReadOnly
from contentui.content.model import IngestId, Liveness, Status
from contentui.stores.local import data as ingest_data
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RIGHT = Digest.of(b"right")
HOLD = """
import sys
from contentui.stores.local.store import LocalStore
writer = LocalStore(sys.argv[1]).writer("r")
writer.write(b"theirs")
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    with LocalStore(str(tmp_path)) as store:
        yield store


def left_behind(store: LocalStore, data: bytes, **options: object) -> Status:
    with store.writer("r", **options) as writer:  # type: ignore[arg-type]  # any of them
        writer.write(data)
    return store.status("r")


def files_of(place: Path) -> dict[str, tuple[bytes, int, int]]:
    """Content, mode and time of change of each file of an ingest."""
    return {
        path.name: (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns)
        for path in place.iterdir()
    }


def test_no_file_and_no_time_is_touched(store: LocalStore, tmp_path: Path) -> None:
    seen = left_behind(store, b"right", total=9, expected=RIGHT)
    place = tmp_path / "ingest" / seen.id
    before = files_of(place), place.stat().st_mtime_ns
    store.probe("r", if_match=seen)
    assert (files_of(place), place.stat().st_mtime_ns) == before


def test_poisoning_leaves_the_bytes_and_their_times(store: LocalStore, tmp_path: Path) -> None:
    seen = left_behind(store, b"wrong", total=5, expected=RIGHT)
    place = tmp_path / "ingest" / seen.id
    before = files_of(place)
    probe = store.probe("r", if_match=seen)
    after = files_of(place)
    assert probe.status.updated_ns == store.status("r").updated_ns == seen.updated_ns
    content, mode, changed = after.pop("data")
    assert (content, changed) == (before["data"][0], before.pop("data")[2])
    assert mode & 0o100
    assert after.pop("refused")[0] == b"5 " + Digest.of(b"wrong").encode()
    assert after == before
    assert store.probe("r", if_match=seen).status == probe.status


def test_another_process_is_named(store: LocalStore, tmp_path: Path) -> None:
    argv = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline()
        probe = store.probe("r", if_match=store.status("r"))
        assert probe.liveness is Liveness.HELD
        assert probe.holder
        assert probe.holder.pid == holder.pid
        assert sys.executable in probe.holder.command
        assert 0 < probe.holder.started_ns <= probe.holder.since_ns
        holder.kill()
    probe = store.probe("r", if_match=probe.status)
    assert (probe.liveness, probe.digest) == (Liveness.FREE, Digest.of(b"theirs"))


def test_nobody_else_gets_the_ref_while_it_is_read(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = left_behind(store, b"half")
    refused = []

    def meanwhile(fd: int, algorithm: str) -> tuple[Any, int]:
        with LocalStore(str(tmp_path)) as other, pytest.raises(Locked) as caught:
            other.writer("r")
        refused.append(caught.value.holder)
        return hashed(fd, algorithm)

    hashed = ingest_data.hash_file
    monkeypatch.setattr(ingest_data, "hash_file", meanwhile)
    assert store.probe("r", if_match=seen).digest == Digest.of(b"half")
    assert [holder and holder.pid for holder in refused] == [os.getpid()]


@pytest.mark.parametrize("how", ["grown", "aborted", "begun anew"])
def test_what_knows_no_locks_is_noticed(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    seen = left_behind(store, b"wrong", total=5, expected=RIGHT)
    data = tmp_path / "ingest" / seen.id / "data"

    def meanwhile(fd: int, algorithm: str) -> tuple[Any, int]:
        found = hashed(fd, algorithm)
        if how == "grown":
            with data.open("ab") as file:
                file.write(b"!")
        else:
            store.abort("r", force=True)
        if how == "begun anew":
            data.parent.mkdir()
            data.write_bytes(b"other")
        return found

    hashed = ingest_data.hash_file
    monkeypatch.setattr(ingest_data, "hash_file", meanwhile)
    with pytest.raises(Changed):
        store.probe("r", if_match=seen)
    assert not data.with_name("refused").exists()


@pytest.mark.parametrize(
    ("missing", "digest"),
    [("ref", True), ("startedat", True), ("updatedat", True), ("data", False)],
)
def test_a_damaged_one_is_told_as_far_as_it_goes(
    store: LocalStore, tmp_path: Path, missing: str, digest: bool
) -> None:
    ident = left_behind(store, b"wrong", total=5, expected=RIGHT).id
    (tmp_path / "ingest" / ident / missing).unlink()
    seen = store.status(ident)
    assert seen.damage
    probe = store.probe(ident, if_match=seen)
    assert (probe.status, probe.liveness) == (seen, Liveness.FREE)
    assert probe.digest == (Digest.of(b"wrong") if digest else None)
    assert not (tmp_path / "ingest" / ident / "refused").exists()


@pytest.mark.parametrize("what", ["directory", "fifo", "symlink"])
def test_data_that_is_no_file_has_no_digest(store: LocalStore, tmp_path: Path, what: str) -> None:
    ident = left_behind(store, b"half").id
    data = tmp_path / "ingest" / ident / "data"
    data.unlink()
    {"directory": data.mkdir, "fifo": lambda: os.mkfifo(data)}.get(
        what, lambda: data.symlink_to("ref")
    )()
    probe = store.probe(ident, if_match=store.status(ident))
    assert (probe.liveness, probe.digest) == (Liveness.FREE, None)


def test_what_is_no_directory_has_no_digest(store: LocalStore, tmp_path: Path) -> None:
    left_behind(store, b"half")
    (tmp_path / "ingest" / "file").touch()
    (seen,) = (status for status in store.statuses() if status.id == "file")
    assert store.probe(seen.id, if_match=seen).digest is None


def test_a_read_only_store_takes_no_locks(store: LocalStore, tmp_path: Path) -> None:
    seen = left_behind(store, b"half")
    with LocalStore(str(tmp_path), read_only=True) as other, pytest.raises(ReadOnly):
        other.probe("r", if_match=seen)


@pytest.mark.parametrize("ref", ["../r", "..", "a/b"])
def test_no_path_is_an_id(store: LocalStore, ref: str) -> None:
    seen = left_behind(store, b"half")
    with pytest.raises(NotFound):
        store.probe(IngestId(ref), if_match=seen)
