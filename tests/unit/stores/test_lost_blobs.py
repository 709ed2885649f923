"""Ways in which a good blob could be lost or a wrong one made, each tried once."""

from __future__ import annotations

import gzip
import io
import os
import threading
from typing import TYPE_CHECKING

import pytest

from contentui.content.digest import Digest
from contentui.content.errors import AlreadyExists, ContentError, DataLoss, FailedPrecondition
from contentui.content.helpers import write_blob
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    with LocalStore(str(tmp_path / "store")) as opened:
        yield opened


def content_of(store: LocalStore, digest: Digest) -> bytes:
    with store.reader(digest) as reader:
        return reader.read_at(reader.size + 1, 0)


def in_the_way(store: LocalStore, digest: Digest, kind: str) -> str:
    """Put something that is no file where a blob belongs."""
    store.put(b"makes the directories")
    path = os.path.join(store.name, "blobs", digest.algorithm, digest.encoded)
    if kind == "directory":
        os.mkdir(path)
    elif kind == "symlink":
        os.symlink("/nowhere", path)
    else:
        os.mkfifo(path)
    return path


@pytest.mark.parametrize("kind", ["directory", "symlink", "fifo"])
class TestSomethingElseStandsThere:
    def test_put_says_so(self, store: LocalStore, kind: str) -> None:
        in_the_way(store, Digest.of(b"x"), kind)
        with pytest.raises(ContentError):
            store.put(b"x")

    def test_put_many_says_so(self, store: LocalStore, kind: str) -> None:
        in_the_way(store, Digest.of(b"x"), kind)
        with pytest.raises(ContentError):
            store.put_many([b"y", b"x"])

    def test_commit_keeps_the_ingest(self, store: LocalStore, kind: str) -> None:
        path = in_the_way(store, Digest.of(b"x"), kind)
        writer = store.writer("ref")
        writer.write(b"x")
        with pytest.raises(FailedPrecondition):
            writer.commit()
        assert store.status("ref").offset == 1
        os.rmdir(path) if kind == "directory" else os.unlink(path)
        store.writer("ref").commit()
        assert content_of(store, Digest.of(b"x")) == b"x"


def test_commit_beside_a_shortened_blob_keeps_the_good_bytes(store: LocalStore) -> None:
    digest = store.put(b"whole").digest
    path = store.path(digest)
    os.chmod(path, 0o644)
    os.truncate(path, 2)
    writer = store.writer("ref")
    writer.write(b"whole")
    with pytest.raises(DataLoss):
        writer.commit()
    store.delete(digest)
    store.writer("ref").commit()
    assert content_of(store, digest) == b"whole"


def rewrite(path: str) -> None:
    with open(path, "r+b") as file:
        file.truncate(0)
        file.write(b"BBBB")


def overwrite(path: str) -> None:
    with open(path, "r+b") as file:
        file.write(b"B")


def swap(path: str) -> None:
    os.rename(path, path + ".old")
    with open(path, "wb") as file:
        file.write(b"AAAA")


def shorten(path: str) -> None:
    os.truncate(path, 2)


def grow(path: str) -> None:
    with open(path, "ab") as file:
        file.write(b"B")


@pytest.mark.parametrize("harm", [rewrite, overwrite, swap, shorten, grow])
@pytest.mark.parametrize("more", [b"", b"CC"], ids=["at the end", "in between"])
def test_data_changed_under_a_writer_is_never_committed(
    store: LocalStore, harm: Callable[[str], None], more: bytes
) -> None:
    writer = store.writer("ref")
    writer.write(b"AAAA")
    harm(os.path.join(store.name, "ingest", writer.status().id, "data"))
    with pytest.raises(DataLoss):  # noqa: PT012 - either may notice
        if more:
            writer.write(more)
        writer.commit()
    assert store.digests() == []


def test_data_changed_under_a_copying_writer_is_never_committed(
    store: LocalStore, tmp_path: Path
) -> None:
    (tmp_path / "source").write_bytes(b"A" * (3 << 20))
    writer = store.writer("ref")
    with (tmp_path / "source").open("rb", buffering=0) as source:
        writer.append_from(source)
    overwrite(os.path.join(store.name, "ingest", writer.status().id, "data"))
    with pytest.raises(DataLoss):
        writer.commit()
    assert store.digests() == []


def test_a_file_object_that_decodes_is_read_through_itself(
    store: LocalStore, tmp_path: Path
) -> None:
    content = os.urandom(3 << 20)
    with gzip.open(tmp_path / "packed", "wb", compresslevel=1) as packed:
        packed.write(content)
    with gzip.open(tmp_path / "packed", "rb") as packed:
        info = write_blob(store, "ref", packed).info  # type: ignore[arg-type]  # GzipFile is no BinaryIO by name
    assert info.digest == Digest.of(content)


@pytest.mark.parametrize("buffered", [True, False])
def test_a_pipe_that_does_not_block_is_waited_for(store: LocalStore, buffered: bool) -> None:
    content = os.urandom(3 << 20)
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)

    def feed() -> None:
        with os.fdopen(theirs, "wb", buffering=0) as pipe:
            for at in range(0, len(content), 100_000):
                pipe.write(content[at : at + 100_000])
                threading.Event().wait(0.002)

    feeder = threading.Thread(target=feed)
    feeder.start()
    with os.fdopen(ours, "rb", buffering=-1 if buffered else 0) as source:
        info = write_blob(store, "ref", source).info
    feeder.join()
    assert info.digest == Digest.of(content)


def test_an_open_directory_is_shared_by_threads(tmp_path: Path) -> None:
    """A descriptor that one thread opened must not be closed by another one that raced it."""
    failures: list[BaseException] = []
    for round_ in range(20):
        with LocalStore(str(tmp_path / f"store{round_}")) as store:
            LocalStore(store.name).put(b"makes the directories")
            start = threading.Barrier(8)

            def work(n: int, store: LocalStore = store, start: threading.Barrier = start) -> None:
                try:
                    start.wait()
                    for m in range(3):
                        digest = store.put(b"%d %d" % (n, m)).digest
                        store.info(digest)
                except BaseException as error:
                    failures.append(error)

            threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert failures == []


def test_content_that_exists_keeps_and_shows_its_labels(store: LocalStore) -> None:
    store.put(b"x", labels={"a": "b"})
    assert store.put(b"x").labels == {"a": "b"}
    assert store.put_many([b"x", b"y"])[0].labels == {"a": "b"}
    writer = store.writer("ref")
    writer.write(b"x")
    with pytest.raises(AlreadyExists):
        writer.commit(labels={"c": "d"})
    assert store.info(Digest.of(b"x")).labels == {"a": "b"}


class Broken(io.RawIOBase):
    """A source that fails in the middle."""

    def __init__(self) -> None:
        self._left = 5

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed: Buffer has no len
        if not self._left:
            raise OSError(5, "broken")
        self._left -= 1
        buffer[:100] = b"z" * 100
        return 100


def test_a_broken_source_leaves_what_it_gave(store: LocalStore) -> None:
    with pytest.raises(OSError, match="broken"):  # the source's own error, not the store's
        write_blob(store, "ref", Broken())  # type: ignore[arg-type]  # RawIOBase is no BinaryIO by name
    assert store.status("ref").offset == 500


def test_what_is_no_file_is_in_no_listing(tmp_path):
    store = LocalStore(str(tmp_path))
    blob = store.put(b"data").digest
    above = tmp_path / "blobs" / "sha256"
    (above / ("a" * 64)).mkdir()
    os.mkfifo(above / ("b" * 64))
    (above / ("c" * 64)).symlink_to(above / blob.encoded)
    assert store.digests() == [blob]
    assert store.digest_lines() == f"{blob}\n"
    assert [info.digest for info in store.walk()] == [blob]
    assert len(store.strays()) == 3
