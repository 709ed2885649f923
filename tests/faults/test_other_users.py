"""Other users on a store's directory: who may only read it, and who shares it in a group."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import elsewhere
import pytest

from contentui.content.digest import Digest
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as other users")
ALICE, BOB, EVE, GROUP = 40001, 40002, 40003, 40010


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that everybody may enter."""
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def user(script: str, root: Path, uid: int, *, group: int = 0, umask: int = 0o077) -> str:
    """Run ``script`` as a user with a group of that user's own, and perhaps a shared one."""
    groups = [group] if group else []
    become = f"os.setgroups({groups}); os.setgid({uid}); os.setuid({uid}); os.umask({umask})\n"
    return elsewhere.run(become + script, root)


def as_user(uid: int, script: str, root: Path) -> subprocess.Popen[str]:
    """A process of another user that prints when it is ready, and runs until it is killed."""
    become = f"""
import contextlib, fcntl, os, sqlite3, struct, sys, time  # before they can't be read any more
os.setgroups([]); os.setgid({uid}); os.setuid({uid})
"""
    process = subprocess.Popen(
        [sys.executable, "-c", become + script, str(root)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


HOLD = """
ours = sys.argv[1] + "/.contentui/"
flock = struct.Struct("@hhqqi4x")
kept = []
for name in ("locks", "naming", "owner", "labels.db", "images.db"):
    with contextlib.suppress(OSError):
        fd = os.open(ours + name, os.O_RDONLY)
        kept.append(name)
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, flock.pack(fcntl.F_RDLCK, 0, 0, 0, 0))
for name in ("labels.db", "images.db"):
    with contextlib.suppress(sqlite3.Error):
        connection = sqlite3.connect(f"file:{ours}{name}?mode=ro", uri=True, isolation_level=None)
        connection.execute("BEGIN")
        connection.execute("SELECT * FROM sqlite_master").fetchone()
print("ready", flush=True)
time.sleep(600)
"""


def loosened(root: Path) -> None:
    """The modes that version 0.1 gave to its files."""
    for entry in (root / ".contentui").iterdir():
        entry.chmod(0o644)


@pytest.mark.parametrize("made_by", ["this version", "0.1"])
def test_who_may_only_read_stops_nobody(public, made_by):
    from contentui.content.model import Descriptor

    root = public / "store"
    store = LocalStore(str(root))
    kept = store.put(b"kept", labels={"a": "b"})
    target = Descriptor("application/vnd.oci.image.index.v1+json", kept.digest, kept.size)
    store.images.put("image:1", target)
    store.writer("ref").close()
    if made_by == "0.1":
        loosened(root)
        store = LocalStore(str(root))
        store.put(b"first touch", labels={"a": "b"})  # closes them to readers
        store.images.put("image:2", target)
        store.writer("ref").close()
    eve = as_user(EVE, HOLD, root)
    try:
        begun = time.monotonic()
        store = LocalStore(str(root))
        with store.writer("ref") as writer:
            writer.write(b"data")
            assert writer.commit(labels={"c": "d"}).labels == {"c": "d"}
        store.update(kept.digest, {"a": "c"})
        store.images.put("image:3", target)
        store.delete(kept.digest)
        assert store.traits.read_only_reason == ""
        assert time.monotonic() - begun < 2
    finally:
        eve.kill()
        eve.wait()
    for name in ("locks", "naming", "labels.db", "images.db"):
        assert stat.S_IMODE((root / ".contentui" / name).stat().st_mode) == 0o600


READER = """
store = LocalStore(root)
status = store.status("held")
holder = store.holders([status.id])[status.id]
assert holder.pid == PID, holder
assert store.holders([store.status("free").id]) == {}
assert store.info(Digest.of(b"data")).labels is None
assert [info.labels for info in store.walk()] == [None]
refused(PermissionDenied, lambda: store.images.list())
"""


def test_a_reader_sees_holders_and_no_labels(public):
    root = public / "store"
    store = LocalStore(str(root))
    store.put(b"data", labels={"a": "b"})
    info = store.info(Digest.of(b"data"))
    from contentui.content.model import Descriptor

    store.images.put("image:1", Descriptor("text/plain", info.digest, info.size))
    store.writer("free").close()
    with store.writer("held"):
        user(READER.replace("PID", str(os.getpid())), root, EVE)


TRANSFERS = """
from contentui.stores.source import of_store
from contentui.transfers.status import TransferStatusReader, status_directory
reader = TransferStatusReader(status_directory(of_store(root)))
assert [transfer.pid for transfer in reader.transfers()] == PIDS
"""


def test_a_reader_sees_live_transfers_and_cannot_keep_dead_ones_alive(public):
    from contentui.stores.source import of_store
    from contentui.transfers.model import Transfer
    from contentui.transfers.status import TransferStatusWriter, status_directory

    root = public / "store"
    LocalStore(str(root)).put(b"data")
    with TransferStatusWriter(status_directory(of_store(str(root)))) as notice:
        notice(Transfer("pull", "image:1", os.getpid(), time.time_ns(), ()))
        user(TRANSFERS.replace("PIDS", str([os.getpid()])), root, EVE)
        (lock,) = (root / ".contentui" / "transfers").glob("*.lock")
        assert stat.S_IMODE(lock.stat().st_mode) == 0o600
    user(TRANSFERS.replace("PIDS", "[]"), root, EVE)


# -- a store that a group shares

BEGINS = """
store = LocalStore(root)
with store.writer("begun by alice", total=10) as writer:
    writer.write(b"alice")
with store.writer("to abort") as writer:
    writer.write(b"alice")
with store.writer("to truncate") as writer:
    writer.write(b"alice")
store.put(b"blob of alice", labels={"by": "alice"})
store.put(b"plain blob of alice")
with store.writer("wrong", expected=Digest.of(b"right")) as writer:
    writer.write(b"wrong")
    refused(FailedPrecondition, writer.commit)
"""

GOES_ON = """
from contentui.content.model import Descriptor
store = LocalStore(root)
assert store.info(Digest.of(b"blob of alice")).labels == {"by": "alice"}
with store.writer("begun by alice") as writer:
    assert writer.offset == 5
    writer.write(b" bob!")
    assert writer.commit(10, labels={"by": "bob"}).digest == Digest.of(b"alice bob!")
store.abort("to abort")
store.truncate("to truncate")
assert store.status("wrong").refused == Digest.of(b"wrong")
store.abort("wrong")
store.update(Digest.of(b"blob of alice"), {"seen by": "bob"}, ["labels.seen by"])
store.delete(Digest.of(b"plain blob of alice"))
store.put(b"blob of bob", labels={"by": "bob"})
store.images.put("bob:1", Descriptor("text/plain", Digest.of(b"blob of bob"), 11))
with store.writer("sha512", expected=Digest.of(b"x", "sha512")) as writer:
    writer.write(b"x"); writer.commit()
with store.writer("by bob") as writer:
    writer.write(b"bob")
"""

ENDS = """
store = LocalStore(root)
labels = store.info(Digest.of(b"blob of alice")).labels
assert labels == {"by": "alice", "seen by": "bob"}, labels
assert store.info(Digest.of(b"alice bob!")).labels == {"by": "bob"}
assert store.images.get("bob:1").target.digest == Digest.of(b"blob of bob")
store.images.delete("bob:1")
store.delete(Digest.of(b"blob of bob"))
with store.writer("by bob") as writer:
    writer.write(b" and alice"); writer.commit()
assert [status.ref for status in store.statuses()] == ["to truncate"]
assert {os.stat(store.path(digest)).st_mode & 0o7777 for digest in store.digests()} == {0o444}
"""


def init(root: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "contentui", "--store", str(root), "init", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def prepared_by_hand(root: Path) -> None:
    root.mkdir()
    os.chown(root, 0, GROUP)
    root.chmod(0o2775)


@pytest.mark.parametrize("how", ["init", "by hand"])
def test_two_users_share_a_store(public, how):
    root = public / "store"
    if how == "init":
        init(root, "--shared", str(GROUP))
    else:
        prepared_by_hand(root)
    user(BEGINS, root, ALICE, group=GROUP)
    user(GOES_ON, root, BOB, group=GROUP)
    user(ENDS, root, ALICE, group=GROUP)
    for name in ("locks", "naming", "labels.db", "images.db"):
        assert stat.S_IMODE((root / ".contentui" / name).stat().st_mode) == 0o660


COMPLETE = """
store = LocalStore(root)
with store.writer("wrong", total=5, expected=Digest.of(b"right")) as writer:
    writer.write(b"wrong")
"""
PROBED = """
store = LocalStore(root)
found = store.probe("wrong", if_match=store.status("wrong"))
assert found.status.refused == found.digest == Digest.of(b"wrong"), found
"""


def test_a_user_of_the_group_probes_the_ingest_of_another(public):
    root = public / "store"
    prepared_by_hand(root)
    user(COMPLETE, root, ALICE, group=GROUP)
    user(PROBED, root, BOB, group=GROUP)
    user(PROBED, root, ALICE, group=GROUP)
    [refused] = (root / "ingest").glob("*/refused")
    assert stat.S_IMODE(refused.stat().st_mode) == 0o664


def test_a_store_of_0_1_is_shared_afterwards(public):
    root = public / "store"
    root.mkdir()
    os.chown(root, ALICE, ALICE)
    user(BEGINS, root, ALICE, umask=0o022)
    loosened(root)
    init(root, "--shared", str(GROUP))
    user(GOES_ON, root, BOB, group=GROUP)
    user(ENDS, root, ALICE, group=GROUP)


def test_who_is_not_in_the_group_may_only_look(public):
    root = public / "store"
    init(root, "--shared", str(GROUP))
    user(BEGINS, root, ALICE, group=GROUP)
    script = """
store = LocalStore(root)
assert store.status("to abort").offset == 5
for deed in (lambda: store.abort("to abort"), lambda: store.put(b"x"), lambda: store.writer("x"),
             lambda: store.delete(Digest.of(b"plain blob of alice"))):
    refused(PermissionDenied, deed)
"""
    user(script, root, EVE)


@pytest.mark.parametrize("mode", [0o700, 0o770, 0o1777, 0o2750])
def test_sharing_gives_others_nothing_and_takes_nothing(public, mode):
    root = public / "store"
    root.mkdir()
    root.chmod(mode)
    init(root, "--shared", str(GROUP))
    assert stat.S_IMODE(root.stat().st_mode) == mode | 0o2070


@pytest.mark.parametrize("group", ["99999999999", "4294967295", "-1", "no-such-group"])
def test_a_group_that_cannot_be_is_refused(public, group):
    command = [sys.executable, "-m", "contentui", "--store", str(public / "store"), "init"]
    done = subprocess.run(
        [*command, f"--shared={group}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "there is no group" in done.stderr
    assert not (public / "store").exists()


def test_a_directory_of_something_else_is_not_shared(public):
    (public / "letters").write_text("private")
    before = public.stat().st_mode
    command = [sys.executable, "-m", "contentui", "--store", str(public), "init", "--shared", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 5
    assert public.stat().st_mode == before
    assert [path.name for path in public.iterdir()] == ["letters"]
