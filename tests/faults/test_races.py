"""Many processes on one directory: no failed listing, one writer per ref, harmless probes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from contentui.content.digest import Digest
from contentui.content.errors import ContentError, DataLoss, Locked, NotFound
from contentui.content.helpers import write_blob
from contentui.content.model import ingest_id
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

CROWD = """
import sys
from contentui.stores.local.store import LocalStore
store = LocalStore(sys.argv[1])
sys.stdin.readline()
for n in range(int(sys.argv[3])):
    data = f"{sys.argv[2]} {n} ".encode() * 40
    with store.writer(f"ref-{sys.argv[2]}-{n}", total=len(data)) as writer:
        writer.write(data[:100])
        writer.write(data[100:])
        writer.commit(len(data))
"""

HOLD = """
import sys
from contentui.stores.local.store import LocalStore
writer = LocalStore(sys.argv[1]).writer(sys.argv[2])
writer.write(b"first ")
print("held", flush=True)
sys.stdin.readline()
writer.write(b"second")
try:
    print(writer.commit().digest, flush=True)
except Exception as error:
    print(type(error).__name__, flush=True)
print("done", flush=True)
sys.stdin.readline()
"""

LOCKED_OUT = """
import io, sys
from contentui.content.errors import Locked
from contentui.content.helpers import write_blob
from contentui.content.digest import Digest
from contentui.stores.local.store import LocalStore
store = LocalStore(sys.argv[1])
wait = float(sys.argv[2])
if wait:
    print("waiting", flush=True)
try:
    print(write_blob(store, "contended", io.BytesIO(b"first second"), wait_s=wait,
                     expected=Digest.of(b"first second")).outcome)
except Locked as error:
    print("locked by", error.holder.pid)
"""


def start(script: str, *arguments: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def held(root: Path, ref: str = "contended") -> subprocess.Popen[str]:
    """A process that holds the ref until `go` is called."""
    process = start(HOLD, root, ref)
    assert line(process) == "held"
    return process


def crowd(root: Path, processes: int, blobs: int) -> None:
    workers = [start(CROWD, root, n, blobs) for n in range(processes)]
    for worker in workers:
        go(worker)
    listings = rows = walks = 0
    with LocalStore(str(root)) as store:
        while any(worker.poll() is None for worker in workers):
            if root.exists():
                statuses = store.statuses()
                assert [status for status in statuses if status.damage] == []
                rows += len(statuses)
                listings += 1
                if listings % 4 == 0:
                    walks += 1
                    for info in store.walk():
                        assert info.size > 0
        for worker in workers:
            worker.communicate()
        assert [worker.returncode for worker in workers] == [0] * processes
        assert store.statuses() == []
        assert len(store.digests()) == processes * blobs
        wanted = {
            Digest.of(f"{n} {m} ".encode() * 40) for n in range(processes) for m in range(blobs)
        }
        assert set(store.digests()) == wanted
    print(
        f"{processes} processes x {blobs} blobs: {listings} listings with {rows} rows and "
        f"{walks} walks, none failed, none damaged"
    )


def test_a_crowd_never_fails_a_listing(tmp_path: Path) -> None:
    crowd(tmp_path / "store", 4, 100)


@pytest.mark.torture
@pytest.mark.timeout(900)
def test_a_large_crowd_never_fails_a_listing(tmp_path: Path) -> None:
    crowd(tmp_path / "store", 8, 500)


def test_ten_race_for_one_ref(tmp_path: Path) -> None:
    holder = held(tmp_path)
    others = [start(LOCKED_OUT, tmp_path, 0) for _ in range(9)]
    assert [other.communicate()[0] for other in others] == [f"locked by {holder.pid}\n"] * 9
    waiters = [start(LOCKED_OUT, tmp_path, 30) for _ in range(9)]
    assert [line(waiter) for waiter in waiters] == ["waiting"] * 9
    go(holder)
    assert line(holder) == Digest.of(b"first second")
    assert line(holder) == "done"  # it lives on: what frees the ref is the commit
    assert [waiter.communicate()[0] for waiter in waiters] == ["existed\n"] * 9
    holder.communicate("\n")


def test_an_aborted_writer_keeps_its_ref_and_stores_nothing(tmp_path: Path) -> None:
    holder = held(tmp_path)
    with LocalStore(str(tmp_path)) as store:
        with pytest.raises(Locked):
            store.abort("contended")
        store.abort("contended", force=True)
        with pytest.raises(NotFound):
            store.status("contended")
        with pytest.raises(Locked):
            store.writer("contended")
        go(holder)
        assert line(holder) == "NotFound"
        assert line(holder) == "done"
        assert store.digests() == []
        assert store.statuses() == []
        with store.writer("contended") as writer:
            assert writer.offset == 0
    holder.communicate("\n")


def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    with LocalStore(str(tmp_path)) as store:
        writer = store.writer("ref")
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:  # lives until the pipe closes, and never touches the store
            os.close(theirs)
            os.read(ours, 1)
            os._exit(0)
        os.close(ours)
        writer.write(b"x")
        writer.close()
        with LocalStore(str(tmp_path)) as other:
            assert not other.holders([ingest_id("ref")])
            other.writer("ref").close()
        os.close(theirs)
        os.waitpid(child, 0)


FORKING = """
import os, sys
from contentui.stores.local.store import LocalStore
writer = LocalStore(sys.argv[1]).writer("ref")
writer.write(b"x")
if os.fork() == 0:
    print("child", flush=True)
    os.close(1)
    sys.stdin.readline()
    os._exit(0)
import time
time.sleep(60)
"""


def test_a_killed_holder_with_a_living_child_frees_the_ref(tmp_path: Path) -> None:
    process = start(FORKING, tmp_path)
    assert line(process) == "child"
    with LocalStore(str(tmp_path)) as store:
        with pytest.raises(Locked):
            store.writer("ref")
        process.kill()
        process.wait()
        with store.writer("ref") as writer:
            assert writer.offset == 1
    process.communicate("\n")


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_without_its_lock_file_no_wrong_blob_is_made(tmp_path: Path, how: str) -> None:
    """Someone deletes the lock file: two writers may then meet, but never commit a mixture."""
    holder = held(tmp_path)
    lock = tmp_path / ".contentui" / "locks"
    lock.unlink()
    if how == "replaced":
        lock.write_bytes(b"")
    with LocalStore(str(tmp_path)) as store:
        store.holders([ingest_id("contended")])
        second = store.writer("contended")
        second.truncate(0)
        second.write(b"other ")  # as long as what the first one wrote
        go(holder)
        assert line(holder) == "DataLoss"
        with pytest.raises(DataLoss):
            second.commit()
        for info in store.walk():
            with store.reader(info.digest) as reader:
                assert Digest.of(reader.read_at(info.size + 1, 0)) == info.digest
    holder.communicate("\n")


def probed(root: Path, seconds: float) -> tuple[int, int]:
    """One process looks at the locks without pause while another takes and frees them."""
    stop = threading.Event()
    probes = 0
    failures: list[BaseException] = []

    def probe() -> None:
        nonlocal probes
        ids = [ingest_id("ref"), ingest_id("other")]
        with LocalStore(str(root), read_only=True) as prober:
            while not stop.is_set():
                try:
                    prober.holders(ids)
                    probes += 1
                except BaseException as error:
                    failures.append(error)

    opened = 0
    with LocalStore(str(root)) as store, LocalStore(str(root)) as looking:
        store.put(b"makes the directories")
        threads = [threading.Thread(target=probe) for _ in range(2)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                with store.writer("ref") as writer:
                    assert looking.holders([writer.status().id])
                opened += 1
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert failures == []
    return probes, opened


def test_probes_never_make_a_writer_fail(tmp_path: Path) -> None:
    probes, opened = probed(tmp_path, 1.5)
    print(f"{probes} probes against {opened} writers, none failed")
    assert probes > 1000
    assert opened > 20


@pytest.mark.torture
def test_many_probes_never_make_a_writer_fail(tmp_path: Path) -> None:
    probes, opened = probed(tmp_path, 30)
    print(f"{probes} probes against {opened} writers, none failed")
    assert probes > 50_000


def test_forced_aborts_race_with_closing_writers(tmp_path: Path) -> None:
    """An abort that meets a writer just renaming its files removes all of it all the same."""
    with LocalStore(str(tmp_path)) as store, LocalStore(str(tmp_path)) as other:
        stop = threading.Event()
        wrong: list[BaseException] = []

        def write() -> None:
            while not stop.is_set():
                try:
                    with other.writer("ref", total=5) as writer:
                        writer.write(b"bytes")
                except ContentError:
                    pass  # aborted under it
                except BaseException as error:
                    wrong.append(error)

        thread = threading.Thread(target=write)
        thread.start()
        aborted = 0
        try:
            end = time.monotonic() + 2
            while time.monotonic() < end:
                try:
                    store.abort("ref", force=True)
                    aborted += 1
                except NotFound:
                    pass
        finally:
            stop.set()
            thread.join()
        assert wrong == []
        assert aborted > 10
        with store.writer("ref") as writer:
            writer.truncate(0)
        store.abort("ref")
        assert store.statuses() == []


def test_waiters_get_their_turn(tmp_path: Path) -> None:
    results: list[str] = []

    def write(n: int) -> None:
        with LocalStore(str(tmp_path / "store")) as store:
            path = tmp_path / f"source{n}"
            path.write_bytes(b"same for all")
            with path.open("rb") as source:
                results.append(write_blob(store, "ref", source, wait_s=30).outcome)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["created"] + ["existed"] * 7
