"""A directory made here is served unchanged by containerd's own local store, and the reverse."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contentui.content.digest import Digest
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from interop_live import Peer

SIZES = (0, 1, 4096, 3 << 20)
ODD = "odd/ref \n\té"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")


def pattern(size: int) -> bytes:
    """What the Go program writes too."""
    return bytes(index * 7 & 255 for index in range(size))


@pytest.fixture
def ours(tmp_path: Path) -> LocalStore:
    """A store of ours with what ``peer ROOT make`` makes."""
    store = LocalStore(str(tmp_path / "ours"))
    for size in SIZES:
        with store.writer(f"blob-{size}") as writer:
            writer.write(pattern(size))
            writer.commit()
    for ref, total, size in (("resumable", 1 << 20, 700_000), ("undeclared", 0, 10), (ODD, 100, 0)):
        with store.writer(ref, total=total) as writer:
            writer.write(pattern(size))
    return store


def layout(root: Path) -> dict[str, tuple[str, bytes | str]]:
    """Every file below blobs/ and ingest/: its mode, and its content unless that is a time."""
    found: dict[str, tuple[str, bytes | str]] = {}
    for part in ("blobs", "ingest"):
        for path in (root / part).rglob("*"):
            content: bytes | str = b"" if path.is_dir() else path.read_bytes()
            if path.name in ("startedat", "updatedat"):
                assert isinstance(content, bytes)
                assert TIME.fullmatch(content.decode()), content
                content = "a time"
            found[str(path.relative_to(root))] = (oct(path.stat().st_mode), content)
    return found


def root_of(store: LocalStore) -> Path:
    return Path(store.name)


def test_both_lay_out_the_same_things_alike(ours: LocalStore, tmp_path: Path, peer: Peer) -> None:
    peer(tmp_path / "theirs", "make")
    assert layout(root_of(ours)) == layout(tmp_path / "theirs")


def test_it_serves_our_blobs_and_ingests(ours: LocalStore, peer: Peer) -> None:
    ours.put(b"in memory")
    ours.put_many([b"first of a group", b"second of a group"])
    before = layout(root_of(ours))
    served = peer(root_of(ours), "check")
    blobs = {one["digest"]: one for one in served if "digest" in one}
    assert {info.digest: (info.size, info.committed_ns) for info in ours.walk()} == {
        digest: (one["size"], one["committed_ns"]) for digest, one in blobs.items()
    }
    assert all(one["sound"] for one in blobs.values())
    assert sorted(
        (status.ref, status.offset, status.total, status.started_ns, status.updated_ns)
        for status in ours.statuses()
    ) == sorted(
        (one["ref"], one["offset"], one["total"], one["started_ns"], one["updated_ns"])
        for one in served
        if "ref" in one
    )
    assert layout(root_of(ours)) == before


def test_it_serves_an_empty_store_of_ours(tmp_path: Path, peer: Peer) -> None:
    store = LocalStore(str(tmp_path / "new"))
    store.delete(store.put(b"x").digest)
    assert peer(tmp_path / "new", "check") == []


def test_it_resumes_and_commits_our_ingest(ours: LocalStore, tmp_path: Path, peer: Peer) -> None:
    whole = tmp_path / "whole"
    whole.write_bytes(pattern(1 << 20))
    (said,) = peer(root_of(ours), "resume", "resumable", whole)
    assert said == {"resumed_at": 700_000, "digest": Digest.of(pattern(1 << 20))}
    assert ours.info(Digest.parse(said["digest"])).size == 1 << 20
    assert "resumable" not in [status.ref for status in ours.statuses()]


def test_its_directory_is_ours_to_use(tmp_path: Path, peer: Peer) -> None:
    root = tmp_path / "theirs"
    peer(root, "make")
    store = LocalStore(str(root))
    assert not store.traits.read_only_reason
    assert {info.digest for info in store.walk()} == {Digest.of(pattern(size)) for size in SIZES}
    assert {(one.ref, one.offset, one.total, one.damage) for one in store.statuses()} == {
        ("resumable", 700_000, 1 << 20, ""),
        ("undeclared", 10, 0, ""),
        (ODD, 0, 100, ""),
    }


def test_we_resume_and_commit_its_ingest(tmp_path: Path, peer: Peer) -> None:
    root = tmp_path / "theirs"
    peer(root, "make")
    store = LocalStore(str(root))
    whole = pattern(1 << 20)
    with store.writer("resumable", total=len(whole)) as writer:
        assert writer.offset == 700_000
        writer.write(whole[700_000:])
        info = writer.commit(len(whole), Digest.of(whole))
    served = [one for one in peer(root, "check") if one.get("digest") == info.digest]
    assert [one["sound"] for one in served] == [True]
    assert (root / "blobs/sha256" / info.digest.encoded).stat().st_mode & 0o777 == 0o444
