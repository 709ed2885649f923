"""A disk without a free block or inode can be freed, and what doesn't fit leaves nothing behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import elsewhere
import pytest

if TYPE_CHECKING:
    from pathlib import Path

FILL = """
import errno
top = root + "/full"

def no_room(deed):
    "Until the disk has none."
    n = 0
    try:
        while True:
            deed(n)
            n += 1
    except OSError as error:
        assert error.errno == errno.ENOSPC
    return n

def fill_blocks():
    with open(top + "/ballast", "wb", buffering=0) as ballast:
        no_room(lambda n: ballast.write(bytes(4096)))

def fill_inodes(name="ballast"):
    return no_room(lambda n: open(f"{top}/{name} {n}", "x").close())
"""

FREED = """
store = LocalStore(top)
labelled = [store.put(b"labelled %d" % n, labels={"a": "b"}).digest for n in range(3)]
plain = [store.put(b"plain %d" % n).digest for n in range(3)]
for ref in ("abort", "truncate", "hold"):
    with store.writer(ref) as writer:
        writer.write(b"bytes of " + ref.encode())
held = LocalStore(top).writer("hold")
fill_blocks()
if FULL == "inodes":
    fill_inodes()
for one in (store, LocalStore(top)):
    one.delete(labelled.pop())
    one.delete(plain.pop())
store.abort("abort")
store.truncate("truncate")
store.abort("hold", force=True)
assert set(store.digests()) == {*plain, *labelled}
assert [(status.ref, status.offset) for status in store.statuses()] == [("truncate", 0)]
for name in os.listdir(top):
    if name.startswith("ballast"):
        os.unlink(f"{top}/{name}")
for n in (1, 2):  # labels of the deleted blobs don't come back
    assert store.put(b"labelled %d" % n).labels == {}
    assert store.info(Digest.of(b"labelled %d" % n)).labels == {}
assert store.info(Digest.of(b"labelled 0")).labels == {"a": "b"}
"""

MOUNT = 'mount -t tmpfs -o size=1m,nr_inodes=200 none "$0/full"'


@pytest.mark.parametrize("full", ["blocks", "inodes"])
def test_a_full_disk_can_be_freed(tmp_path: Path, full: str) -> None:
    (tmp_path / "full").mkdir()
    elsewhere.with_mounts(f"FULL = {full!r}\n" + FILL + FREED, tmp_path, MOUNT)


COPIED = """
import shutil
with LocalStore(root + "/other") as other:
    digest = other.put(b"plain").digest
    for ref in ("abort", "truncate"):
        with other.writer(ref) as writer:
            writer.write(b"bytes")
for name in ("blobs", "ingest"):  # as containerd has it: without a part of ours
    shutil.copytree(f"{root}/other/{name}", f"{top}/{name}")
fill_inodes("lost+found")
store = LocalStore(top)
store.abort("abort")
store.delete(digest)
assert store.digests() == [] and len(store.statuses()) == 1
"""


def test_a_copied_directory_on_a_full_disk_can_be_freed(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    elsewhere.with_mounts(FILL + COPIED, tmp_path, MOUNT)


NO_ROOM = """
store = LocalStore(top)
store.put(b"first")
store.writer("first").close()
n = fill_inodes()
for left in range(7):
    refs = {status.ref for status in store.statuses()}
    try:
        with store.writer(f"ref {left}") as writer:
            pass
        store.abort(f"ref {left}")
    except ResourceExhausted:
        assert {status.ref for status in store.statuses()} == refs, store.statuses()
    assert not [status for status in store.statuses() if status.damage]
    n -= 1
    os.unlink(f"{top}/ballast {n}")
assert len(store.statuses()) == 1
with store.writer("at last") as writer:
    pass
"""


def test_an_ingest_that_finds_no_room_leaves_no_row(tmp_path: Path) -> None:
    """Whatever file of it is the first that can't be made."""
    (tmp_path / "full").mkdir()
    elsewhere.with_mounts(FILL + NO_ROOM, tmp_path, MOUNT)
