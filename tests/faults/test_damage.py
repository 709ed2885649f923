"""Every damaged or foreign thing in a store is a row that can be removed, never a failure."""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from contentui.content.digest import Digest
from contentui.content.errors import ContentError, FailedPrecondition, NotFound
from contentui.content.model import IngestId, id_text, ingest_id, parse_ref_argument
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Harm = "Callable[[Path, Path], object]"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    with LocalStore(str(tmp_path / "store")) as opened:
        yield opened


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory that no deed in the store may touch."""
    path = tmp_path / "outside"
    path.mkdir()
    (path / "precious").write_bytes(b"precious")
    return path


def replace(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def only(ingest: Path, *names: str) -> None:
    for path in ingest.iterdir():
        if path.name not in names:
            path.unlink()


def device(path: Path) -> None:
    path.unlink()
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("making a device needs privileges")


def a_socket(path: Path) -> None:
    path.unlink()
    above = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{above}/{path.name}")
    os.close(above)


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def linked(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").write_bytes(b"x")


# What is done to the ingest, and whether its bytes stay on reopening (None: it can't be opened).
DAMAGED: dict[str, tuple[Callable[[Path, Path], object], int | None]] = {
    "empty directory": (lambda i, o: only(i), 0),
    "ref only": (lambda i, o: only(i, "ref"), 0),
    "no data": (lambda i, o: (i / "data").unlink(), 0),
    "no ref": (lambda i, o: (i / "ref").unlink(), 0),
    "no startedat": (lambda i, o: (i / "startedat").unlink(), 9),
    "no updatedat": (lambda i, o: (i / "updatedat").unlink(), 9),
    "empty startedat": (lambda i, o: replace(i / "startedat", b""), 9),
    "empty updatedat": (lambda i, o: replace(i / "updatedat", b""), 9),
    "garbled startedat": (lambda i, o: replace(i / "startedat", b"yesterday"), 9),
    "garbled updatedat": (lambda i, o: replace(i / "updatedat", b"2026-13-41T00:00:00Z"), 9),
    "updatedat with a newline": (
        lambda i, o: replace(i / "updatedat", b"2026-01-01T00:00:00Z\n"),
        9,
    ),
    "ref of another": (lambda i, o: replace(i / "ref", b"somebody else"), 0),
    "empty ref": (lambda i, o: replace(i / "ref", b""), 0),
    "huge ref": (lambda i, o: replace(i / "ref", b"r" * 200_000), 0),
    "ref a FIFO": (lambda i, o: fifo(i / "ref"), 0),
    "ref a symlink": (lambda i, o: linked(i / "ref", o / "precious"), 0),
    "ref a directory": (lambda i, o: directory(i / "ref"), 0),
    "startedat a device": (lambda i, o: device(i / "startedat"), 9),
    "updatedat a socket": (lambda i, o: a_socket(i / "updatedat"), 9),
    "total a directory": (lambda i, o: directory(i / "total"), 9),
    "data a symlink": (lambda i, o: linked(i / "data", o / "precious"), None),
    "data a directory": (lambda i, o: directory(i / "data"), None),
    "data a FIFO": (lambda i, o: fifo(i / "data"), None),
}

FINE: dict[str, tuple[Callable[[Path, Path], object], int]] = {
    "garbled total": (lambda i, o: replace(i / "total", b"many"), 9),
    "total with a newline": (lambda i, o: replace(i / "total", b"12\n"), 9),
    "total beyond 64 bits": (lambda i, o: replace(i / "total", b"9" * 25), 9),
    "negative total": (lambda i, o: replace(i / "total", b"-5"), 9),
    "extra file": (lambda i, o: (i / "extra").write_bytes(b"x"), 9),
    "left-over temporary": (lambda i, o: (i / "updatedat.tmp").write_bytes(b"x"), 9),
    "extra directory": (lambda i, o: (i / "extra" / "deep").mkdir(parents=True), 9),
    "extra symlink": (lambda i, o: (i / "extra").symlink_to(o), 9),
    "read-only extra directory": (
        lambda i, o: ((i / "extra" / "x").mkdir(parents=True), (i / "extra").chmod(0o500)),
        9,
    ),
    "read-only data": (lambda i, o: (i / "data").chmod(0o444), 9),
    "hard-linked data": (lambda i, o: os.link(i / "data", o / "linked"), 0),
}


def ingest(store: LocalStore) -> Path:
    with store.writer("ref", total=12) as writer:
        writer.write(b"old bytes")
        path = os.path.join(store.name, "ingest", writer.status().id)
    from pathlib import Path

    return Path(path)


def looked_at(store: LocalStore, outside: Path) -> None:
    """All ways to look, none of which may fail or touch what is outside."""
    statuses = store.statuses()
    for status in statuses:
        store.status(status.id)
    store.refresh(statuses)
    store.holders([status.id for status in statuses])
    assert (outside / "precious").read_bytes() == b"precious"
    assert stat.S_IMODE((outside / "precious").stat().st_mode) & 0o600 == 0o600


@pytest.mark.parametrize("state", DAMAGED)
class TestDamaged:
    def test_is_a_row_that_can_be_removed(
        self, store: LocalStore, outside: Path, state: str
    ) -> None:
        DAMAGED[state][0](path := ingest(store), outside)
        store.writer("healthy").close()
        looked_at(store, outside)
        damaged = [status for status in store.statuses() if status.damage]
        assert [status.id for status in damaged] == [path.name]
        assert "was changing" not in damaged[0].damage
        argument = parse_ref_argument("id:" + id_text(damaged[0].id))
        store.abort(argument, if_match=store.status(argument))
        assert [status.ref for status in store.statuses()] == ["healthy"]
        looked_at(store, outside)

    def test_is_healed_without_mixing_bytes(
        self, store: LocalStore, outside: Path, state: str
    ) -> None:
        harm, kept = DAMAGED[state]
        harm(ingest(store), outside)
        if kept is None:
            with pytest.raises(FailedPrecondition):
                store.writer("ref")
            store.abort(ingest_id("ref"))
            kept = 0
        with store.writer("ref") as writer:
            assert writer.offset == kept
            writer.write(b"new")
            healed = store.status("ref")
            assert (healed.damage, healed.offset, healed.ref) == ("", kept + 3, "ref")
            info = writer.commit()
        content = b"old bytes"[:kept] + b"new"
        assert info.digest == Digest.of(content)
        with store.reader(info.digest) as reader:
            assert reader.read_at(100, 0) == content
        assert store.statuses() == []
        looked_at(store, outside)


@pytest.mark.parametrize("state", FINE)
def test_what_the_table_calls_fine_is_listed_resumed_and_removed(
    store: LocalStore, outside: Path, state: str
) -> None:
    harm, kept = FINE[state]
    harm(ingest(store), outside)
    looked_at(store, outside)
    (status,) = store.statuses()
    assert (status.damage, status.ref, status.offset) == ("", "ref", 9)
    assert status.total in (0, 12)
    with store.writer("ref") as writer:
        assert writer.offset == kept
        writer.write(b"new")
    store.abort("ref")
    assert store.statuses() == []
    with store.writer("ref") as writer:
        writer.write(b"new")
        writer.commit()
    assert store.statuses() == []
    looked_at(store, outside)
    if (outside / "linked").exists():
        assert (outside / "linked").read_bytes() == b"old bytes"


class TestForeignEntries:
    """Things in ``ingest/`` that no writer of any kind has made."""

    def make(self, store: LocalStore, kind: str, outside: Path) -> str:
        sound = ingest(store)
        above = sound.parent
        name = os.fsdecode(b"b\xffd\n name") if kind == "odd name" else "f" * 64
        path = above / name
        if kind in ("wrong name", "odd name"):
            sound.rename(path)
        elif kind == "file":
            store.abort("ref")
            path.write_bytes(b"x")
        elif kind == "symlink to a sound ingest":
            moved = outside / sound.name
            sound.rename(moved)
            name = sound.name
            sound.symlink_to(moved)
        elif kind == "dangling symlink":
            store.abort("ref")
            path.symlink_to("/nowhere")
        elif kind == "fifo":
            store.abort("ref")
            os.mkfifo(path)
        return name

    @pytest.mark.parametrize(
        "kind",
        ["wrong name", "odd name", "file", "symlink to a sound ingest", "dangling symlink", "fifo"],
    )
    def test_is_a_row_that_can_be_removed(
        self, store: LocalStore, outside: Path, kind: str
    ) -> None:
        name = self.make(store, kind, outside)
        looked_at(store, outside)
        (status,) = store.statuses()
        assert status.id == name
        assert status.damage
        if kind == "symlink to a sound ingest":
            with pytest.raises(ContentError):
                store.writer("ref")
            with pytest.raises(ContentError):
                store.truncate("ref")
            assert (outside / name / "data").read_bytes() == b"old bytes"
        argument = parse_ref_argument("id:" + id_text(status.id))
        assert isinstance(argument, IngestId)
        store.abort(argument)
        assert store.statuses() == []
        looked_at(store, outside)
        if kind == "symlink to a sound ingest":
            assert (outside / name / "data").read_bytes() == b"old bytes"
        with store.writer("ref") as writer:
            assert writer.offset == 0

    @pytest.mark.parametrize("name", ["", ".", "..", "../outside", "a/b", "a\0b", "/", "x" * 5000])
    def test_an_id_never_leads_elsewhere(self, store: LocalStore, outside: Path, name: str) -> None:
        ingest(store)
        for deed in (store.status, store.abort, store.truncate):
            with pytest.raises(ContentError):
                deed(IngestId(name))
        assert len(store.statuses()) == 1
        looked_at(store, outside)


class TestStraysAmongBlobs:
    def test_they_are_told_apart_and_hurt_nobody(self, store: LocalStore, outside: Path) -> None:
        good = store.put(b"good")
        above = os.path.join(store.name, "blobs", "sha256")
        names = {"temporary", "A" * 64, os.fsdecode(b"\xff\n"), "1" * 63}
        for name in names:
            with open(os.path.join(above, name), "wb"):
                pass
        os.mkdir(os.path.join(above, "2" * 64))
        os.symlink(outside / "precious", os.path.join(above, "3" * 64))
        os.makedirs(os.path.join(store.name, "blobs", "md5"))
        assert {os.path.basename(path) for path in store.strays()} == names | {"2" * 64, "3" * 64}
        assert list(store.walk()) == [good]
        for digit in "23":
            digest = Digest.parse("sha256:" + digit * 64)
            with pytest.raises(NotFound):
                store.info(digest)
            with pytest.raises(ContentError):
                store.reader(digest)
            with pytest.raises(ContentError):
                store.delete(digest)
        looked_at(store, outside)
