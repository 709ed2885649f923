"""Checking and repairing a directory: what is found, what is repaired, what is left alone."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time

import pytest

from contentui.content.digest import Digest
from contentui.content.errors import ReadOnly
from contentui.content.model import Descriptor, ingest_id
from contentui.stores.local import fsck, ownership
from contentui.stores.local.fsck import Kind
from contentui.stores.local.fsck_model import SAFE_AGE_NS
from contentui.stores.local.store import LocalStore

ONE, TWO = Digest.of(b"1"), Digest.of(b"2")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OLD_S = SAFE_AGE_NS // 10**9 + 60


@pytest.fixture
def store(tmp_path):
    """A store with labelled blobs, an image, an idle ingest and a file of each kind of ours."""
    store = LocalStore(str(tmp_path / "store"))
    store.put(b"1", labels={"one": "1"})
    store.put(b"2", labels={"two": "2"})
    store.images.put("example.com/one:v1", Descriptor(MANIFEST, ONE, 1))
    with store.writer("idle", total=10) as writer:
        writer.write(b"12345")
    yield store
    store.close()


@pytest.fixture
def root(store, tmp_path):
    return tmp_path / "store"


def make_old(*paths, age_s=OLD_S):
    then = time.time() - age_s
    for path in paths:
        os.utime(path, (then, then))


def tree(root):
    """Everything below a directory, with what repairs change: bytes, modes, times."""
    found = {}
    for path in sorted(root.rglob("*")):
        there = path.lstat()
        data = path.read_bytes() if stat.S_ISREG(there.st_mode) else b""
        found[str(path.relative_to(root))] = (there.st_mode, there.st_mtime_ns, data)
    return found


def kinds(findings):
    return {(finding.kind, finding.name) for finding in findings}


def repaired(store, findings):
    return {(outcome.finding.name, outcome.result) for outcome in fsck.repair(store, findings)}


def only(findings):
    [finding] = findings
    return finding


def test_a_sound_store_has_no_findings_and_is_not_changed(store, root):
    make_old(*root.glob("ingest/*/*"), *root.glob("ingest/*"))
    before = tree(root)
    assert fsck.check(store) == []
    assert fsck.check_bytes(store) == []
    assert list(fsck.repair(store, [])) == []
    assert tree(root) == before


def test_an_empty_directory_has_no_findings(tmp_path):
    with LocalStore(str(tmp_path)) as store:
        assert fsck.check(store) == []
    assert list(tmp_path.iterdir()) == []


# -- labels and images


def test_labels_without_a_blob_are_removed_and_no_others(store, root):
    (root / "blobs/sha256" / ONE.encoded).unlink()
    store.images.delete("example.com/one:v1")
    finding = only(fsck.check(store))
    assert (finding.kind, finding.name) == (Kind.LABELS_WITHOUT_BLOB, ONE)
    assert repaired(store, [finding]) == {(ONE, "done")}
    assert fsck.check(store) == []
    assert store.info(TWO).labels == {"two": "2"}
    assert store.put(b"1").labels == {}


def test_labels_of_a_blob_that_is_back_stay(store, root):
    path = root / "blobs/sha256" / ONE.encoded
    path.rename(root / "aside")
    finding = next(found for found in fsck.check(store) if found.name == ONE)
    (root / "aside").rename(path)
    outcome = only(fsck.repair(store, [finding]))
    assert (outcome.result, outcome.remains) == ("skipped", False)
    assert store.info(ONE).labels == {"one": "1"}


def test_labels_under_a_hostile_name_are_removed(store, root):
    with contextlib.closing(sqlite3.connect(root / ".contentui/labels.db")) as database, database:
        database.execute("INSERT INTO labels VALUES (?, 1, '{}')", ("../\x1b[31m",))
    finding = only(fsck.check(store))
    assert finding.name == "../\x1b[31m"
    assert repaired(store, [finding]) == {("../\x1b[31m", "done")}
    assert fsck.check(store) == []


def test_an_image_without_its_blob_is_reported(store, root):
    store.images.put("example.com/gone:v1", Descriptor(MANIFEST, Digest.of(b"gone"), 4))
    finding = only(fsck.check(store))
    assert (finding.kind, finding.name) == (Kind.IMAGE_WITHOUT_BLOB, "example.com/gone:v1")
    assert finding.repair == ""
    assert finding.advice
    assert list(fsck.repair(store, [finding])) == []
    assert store.images.get("example.com/gone:v1")


def _garble(path):
    path.write_bytes(b"no database" * 1000)


def _truncate(path):
    os.truncate(path, path.stat().st_size // 2 + 1)


def _without_tables(path):
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        for table in ("labels", "meta", "images"):
            database.execute(f"DROP TABLE IF EXISTS {table}")
        database.execute("CREATE TABLE other (x)")


def _with_a_bad_row(path):
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        table = path.stem
        database.execute(f"UPDATE {table} SET labels = '[1]' WHERE labels IS NOT NULL")


def _with_a_trigger(path):
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(f"CREATE TRIGGER t AFTER INSERT ON {path.stem} BEGIN SELECT 1; END")


def _fifo(path):
    path.unlink()
    os.mkfifo(path)


def _link(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _with_a_fifo_beside(path):
    os.mkfifo(f"{path}-journal")


@pytest.mark.parametrize("name", ["labels.db", "images.db"])
@pytest.mark.parametrize(
    "damage",
    [
        _garble,
        _truncate,
        _without_tables,
        _with_a_bad_row,
        _with_a_trigger,
        _fifo,
        _link,
        _with_a_fifo_beside,
    ],
)
def test_a_damaged_database_is_reported_and_never_replaced(store, root, name, damage):
    store.close()
    path = root / ".contentui" / name
    damage(path)
    before = tree(root)
    with LocalStore(str(root)) as again:
        finding = only(fsck.check(again))
        assert (finding.kind, finding.name) == (Kind.DATABASE_DAMAGED, f".contentui/{name}")
        assert finding.repair == ""
        assert "move it away" in finding.advice
        assert list(fsck.repair(again, [finding])) == []
    assert tree(root) == before


def test_a_change_that_was_cut_short_is_no_damage(store, root):
    """A hot journal: the writer is killed within its transaction, after it has written."""
    store.close()
    script = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA cache_size = 1")
database.execute("BEGIN IMMEDIATE")
database.execute("DELETE FROM labels")
for n in range(2000):
    database.execute("INSERT INTO labels VALUES (?, 1, '{}')", (str(n) * 40,))
os.kill(os.getpid(), 9)
"""
    path = root / ".contentui/labels.db"
    done = subprocess.run([sys.executable, "-c", script, path])
    assert done.returncode == -signal.SIGKILL
    assert (root / ".contentui/labels.db-journal").stat().st_size > 0
    with LocalStore(str(root), read_only=True) as looking:
        before = tree(root)
        assert {found.kind for found in fsck.check(looking)} <= {Kind.UNCHECKED}
        assert tree(root) == before
    with LocalStore(str(root)) as again:
        assert fsck.check(again) == []
        assert again.info(ONE).labels == {"one": "1"}


# -- ingests


def make_nameless(root, ref="nameless", age_s=OLD_S):
    path = root / "ingest" / ingest_id(ref)
    path.mkdir()
    (path / "data").write_bytes(b"123")
    make_old(path / "data", path, age_s=age_s)
    return path


def test_a_half_made_ingest_is_removed(store, root):
    path = make_nameless(root)
    finding = only(fsck.check(store))
    name = f"ingest/{path.name}"
    assert (finding.kind, finding.name) == (Kind.INGEST_DAMAGED, name)
    assert "3 bytes" in finding.repair
    assert repaired(store, [finding]) == {(name, "done")}
    assert not path.exists()
    assert store.status("idle").offset == 5


def test_what_a_commit_left_of_its_ingest_is_removed(store, root):
    path = root / "ingest" / ingest_id("idle")
    (path / "data").unlink()
    make_old(*path.iterdir(), path)
    finding = only(fsck.check(store))
    assert "'data' is missing" in finding.problem
    assert repaired(store, [finding]) == {(f"ingest/{path.name}", "done")}


@pytest.mark.parametrize("young", ["directory", "data"])
def test_a_young_half_made_ingest_is_left_alone(store, root, young):
    path = make_nameless(root)
    os.utime(path if young == "directory" else path / "data")
    assert fsck.check(store) == []


def test_a_half_made_ingest_that_is_held_is_left_alone(store, root):
    path = make_nameless(root, "held")
    from contentui.stores import files
    from contentui.stores.local.locks import RefLocks

    locks = RefLocks(files.Directory(files.Directory(None, str(root)), ".contentui"))
    before = only(fsck.check(store))
    with locks.acquire(ingest_id("held")):
        finding = only(fsck.check(store))
        assert f"pid {os.getpid()}" in finding.problem
        assert finding.repair == ""
        outcome = only(fsck.repair(store, [before]))
        assert (outcome.result, outcome.remains) == ("skipped", True)
    assert path.exists()
    locks.close()


@pytest.mark.parametrize("change", ["written", "healed", "removed", "refilled"])
def test_an_ingest_that_changed_since_is_skipped(store, root, change):
    path = make_nameless(root)
    finding = only(fsck.check(store))
    if change == "written":
        (path / "data").write_bytes(b"1234")
    elif change == "healed":
        with store.writer("nameless") as writer:
            writer.write(b"new")
    else:
        shutil.rmtree(path)
    if change == "refilled":
        path.mkdir()
        (path / "data").write_bytes(b"12")
        make_old(path / "data", path)
    outcome = only(fsck.repair(store, [finding]))
    assert outcome.result == "skipped"
    assert outcome.remains is (change != "removed")
    assert path.exists() is (change != "removed")


def test_a_sound_ingest_is_never_a_finding_however_old(store, root):
    path = root / "ingest" / ingest_id("idle")
    make_old(*path.iterdir(), path, age_s=365 * 86400)
    assert fsck.check(store) == []


def test_foreign_things_among_the_ingests_are_reported(store, root):
    (root / "ingest/backup").mkdir()
    (root / "ingest/notes\x1b.txt").write_text("mine")
    make_old(root / "ingest/backup", root / "ingest/notes\x1b.txt")
    found = fsck.check(store)
    assert {finding.kind for finding in found} == {Kind.FOREIGN}
    assert len(found) == 2
    assert not any(finding.repair for finding in found)
    assert "\x1b" not in "".join(finding.problem + finding.advice for finding in found)


def test_temporaries_in_an_ingest_are_removed_unless_it_is_held(store, root):
    path = root / "ingest" / ingest_id("idle")
    for name in ("data.tmp", "updatedat.tmp"):
        (path / name).write_bytes(b"half")
        make_old(path / name)
    (path / "startedat.tmp").write_bytes(b"young")
    found = fsck.check(store)
    names = {f"ingest/{path.name}/data.tmp", f"ingest/{path.name}/updatedat.tmp"}
    assert kinds(found) == {(Kind.LEFTOVER, name) for name in names}
    with store.writer("idle"):
        assert {result for _, result in repaired(store, found)} == {"skipped"}
    assert repaired(store, fsck.check(store)) == {(name, "done") for name in names}
    assert (path / "startedat.tmp").exists()
    assert store.status("idle").offset == 5


# -- blobs


def test_foreign_names_among_the_blobs_are_reported(store, root):
    blobs = root / "blobs"
    (blobs / "sha256/README").write_text("mine")
    (blobs / "sha256" / ("f" * 64)).mkdir()
    (blobs / "sha256" / ("e" * 64)).symlink_to(ONE.encoded)
    (blobs / "sha256" / ("A" * 64)).write_text("upper case")
    (blobs / "md5").mkdir()
    before = tree(root)
    found = fsck.check(store)
    assert kinds(found) == {
        (Kind.FOREIGN, f"blobs/{name}")
        for name in (
            "sha256/README",
            f"sha256/{'f' * 64}",
            f"sha256/{'e' * 64}",
            f"sha256/{'A' * 64}",
            "md5",
        )
    }
    assert list(fsck.repair(store, found)) == []
    assert tree(root) == before


@pytest.mark.parametrize(
    ("mode", "right"), [(0o644, 0o444), (0o640, 0o440), (0o600, 0o400), (0o555, 0o444), (0, 0o400)]
)
def test_modes_of_blobs_are_set_right(store, root, mode, right):
    path = root / "blobs/sha256" / ONE.encoded
    path.chmod(mode)
    modified = path.stat().st_mtime_ns
    finding = only(fsck.check(store))
    assert (finding.kind, finding.name) == (Kind.BLOB_MODE, ONE)
    assert repaired(store, [finding]) == {(ONE, "done")}
    assert stat.S_IMODE(path.stat().st_mode) == right
    assert path.stat().st_mtime_ns == modified
    assert fsck.check(store) == []


@pytest.mark.parametrize("mode", [0o444, 0o440, 0o400])
def test_modes_that_another_umask_makes_are_right(store, root, mode):
    (root / "blobs/sha256" / ONE.encoded).chmod(mode)
    assert fsck.check(store) == []


@pytest.mark.parametrize("there", ["another", "nothing", "a link"])
def test_a_blob_that_was_replaced_keeps_its_mode(store, root, there):
    path = root / "blobs/sha256" / ONE.encoded
    path.chmod(0o644)
    finding = only(fsck.check(store))
    path.rename(root / "elsewhere")
    if there == "another":
        path.write_bytes(b"1")
        path.chmod(0o666)
    elif there == "a link":
        path.symlink_to(root / "elsewhere")
    outcome = only(fsck.repair(store, [finding]))
    assert (outcome.result, outcome.remains) == ("skipped", there != "nothing")
    assert stat.S_IMODE((root / "elsewhere").stat().st_mode) == 0o644
    if there == "another":
        assert stat.S_IMODE(path.stat().st_mode) == 0o666


def test_altered_bytes_are_found_only_when_they_are_read(store, root):
    path = root / "blobs/sha256" / ONE.encoded
    path.chmod(0o644)
    path.write_bytes(b"X")
    path.chmod(0o444)
    assert fsck.check(store) == []
    read = []
    finding = only(fsck.check_bytes(store, read.append))
    assert (finding.kind, finding.name, finding.repair) == (Kind.BLOB_ALTERED, ONE, "")
    assert read[-1] == 2


# -- files of ours


def test_temporaries_that_nobody_has_open_are_removed(store, root):
    ours = root / ".contentui"
    names = [
        f"put-{'0a' * 16}",
        "labels.db.new",
        "labels.db.new-journal",
        "images.db.new",
        "images.db.new-journal",
        "adopted.tmp",
        "uuid.4711.tmp",
    ]
    for name in names:
        (ours / name).write_bytes(b"half")
        make_old(ours / name)
    (ours / f"put-{'0b' * 16}").write_bytes(b"young")
    (ours / "mine").write_bytes(b"not one of ours, not one that is known")
    make_old(ours / "mine")
    found = fsck.check(store)
    assert kinds(found) == {(Kind.LEFTOVER, f".contentui/{name}") for name in names}
    assert repaired(store, found) == {(f".contentui/{name}", "done") for name in names}
    assert fsck.check(store) == []
    assert (ours / f"put-{'0b' * 16}").exists()
    assert (ours / "mine").exists()
    assert store.info(ONE).labels == {"one": "1"}


HOLD = "import sys; file = open(sys.argv[1], sys.argv[2]); print(1, flush=True); sys.stdin.read()"


@contextlib.contextmanager
def opened_elsewhere(path, mode="rb"):
    """Another process that has a file open."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, path, mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout.readline() == b"1\n"
        yield
    finally:
        process.communicate()


@pytest.mark.parametrize("mode", ["rb", "ab"])
def test_a_temporary_that_a_process_has_open_is_left_alone(store, root, mode):
    path = root / ".contentui" / f"put-{'0a' * 16}"
    path.write_bytes(b"half")
    make_old(path, age_s=10 * 86400)
    finding = only(fsck.check(store))
    with opened_elsewhere(path, mode):
        assert fsck.check(store) == []
        outcome = only(fsck.repair(store, [finding]))
        assert (outcome.result, outcome.remains) == ("skipped", True)
    assert path.exists()
    assert repaired(store, [finding]) == {(f".contentui/{path.name}", "done")}


@pytest.mark.parametrize("change", ["written", "replaced", "removed"])
def test_a_temporary_that_changed_since_is_skipped(store, root, change):
    path = root / ".contentui/adopted.tmp"
    path.write_bytes(b"half")
    make_old(path)
    finding = only(fsck.check(store))
    if change == "written":
        path.write_bytes(b"what is written now")
    else:
        path.unlink()
    if change == "replaced":
        path.write_bytes(b"half")
    outcome = only(fsck.repair(store, [finding]))
    assert outcome.result == "skipped"
    assert path.exists() is (change != "removed")
    assert outcome.remains is (change != "removed")


LIVE_TRANSFER = """
import sys
from contentui.stores.source import of_store
from contentui.transfers.status import TransferStatusWriter, status_directory
from contentui.transfers.model import Transfer
with TransferStatusWriter(status_directory(of_store(sys.argv[1]))) as notice:
    notice(Transfer("pull", "example.com/web:v1", 1, 1, (), "", ""))
    print(1, flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_transfer_left_is_removed_and_a_live_one_stays(store, root):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", LIVE_TRANSFER, str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout.readline() == b"1\n"
    transfers = root / ".contentui/transfers"
    dead, live = processes
    dead.kill()
    dead.communicate()
    make_old(*transfers.iterdir())
    found = fsck.check(store)
    expected = {path.name for path in transfers.iterdir() if path.name.startswith(f"{dead.pid}-")}
    assert expected
    assert {finding.name.rpartition("/")[2] for finding in found} == expected
    assert {result for _, result in repaired(store, found)} == {"done"}
    assert fsck.check(store) == []
    assert any(path.name.startswith(f"{live.pid}-") for path in transfers.iterdir())
    live.communicate()


def test_a_blob_that_a_crash_left_without_its_name_gets_it_back(store, root):
    path = root / "blobs/sha256" / ONE.encoded
    aside = root / ".contentui" / f"renamed-sha256-{ONE.encoded}"
    path.rename(aside)
    found = fsck.check(store)
    finding = next(each for each in found if each.kind is Kind.BLOB_NAME)
    assert repaired(store, [finding]) == {(f".contentui/{aside.name}", "done")}
    assert store.info(ONE).labels == {"one": "1"}
    assert fsck.check(store) == []
    shutil.copy2(path, aside)  # it was stored anew since
    assert repaired(store, fsck.check(store)) == {(f".contentui/{aside.name}", "done")}
    assert not aside.exists()
    assert store.info(ONE).size == 1


@pytest.mark.parametrize("name", ["locks", "naming", "owner", "labels.db", "images.db"])
def test_locked_files_are_closed_to_others(store, root, name):
    path = root / ".contentui" / name
    path.touch(0o600)
    for mode in (0o644, 0o666, 0o700, 0o400):
        path.chmod(mode)
        finding = only(fsck.check(store))
        assert (finding.kind, finding.name) == (Kind.FILE_MODE, f".contentui/{name}")
        assert repaired(store, [finding]) == {(f".contentui/{name}", "done")}
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    finding = only(fsck.check(store))
    path.chmod(0o640)
    assert repaired(store, [finding]) == {(f".contentui/{name}", "skipped")}
    path.chmod(0o600)
    assert fsck.check(store) == []


def test_in_a_shared_store_they_are_open_to_the_group(store, root):
    for path in (root, *root.rglob("*")):
        if path.is_dir():
            path.chmod(0o2775)
    names = {f".contentui/{name}" for name in ("locks", "naming", "labels.db", "images.db")}
    found = fsck.check(store)
    assert kinds(found) == {(Kind.FILE_MODE, name) for name in names}
    assert repaired(store, found) == {(name, "done") for name in names}
    assert {stat.S_IMODE((root / name).stat().st_mode) for name in names} == {0o660}
    assert fsck.check(store) == []


def test_setting_a_mode_takes_no_lock_off_a_database(store, root):
    """Closing another descriptor of a file drops this process's SQLite locks on it."""
    path = root / ".contentui/labels.db"
    path.chmod(0o644)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as ours:
        ours.execute("BEGIN IMMEDIATE")
        found = [each for each in fsck.check(store) if each.kind is Kind.FILE_MODE]
        assert repaired(store, found) == {(".contentui/labels.db", "done")}
        begin = "sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"
        script = f"import sqlite3, sys; {begin}"
        done = subprocess.run([sys.executable, "-c", script, path], capture_output=True)
        assert b"locked" in done.stderr


def test_a_lock_that_is_no_file_is_reported(store, root):
    store.close()
    (root / ".contentui/naming").unlink()
    (root / ".contentui/naming").mkdir()
    with LocalStore(str(root)) as again:
        finding = only(fsck.check(again))
    assert (finding.kind, finding.repair) == (Kind.FILE_TYPE, "")


# -- ownership


SERVICE = """
import sys
from contentui.stores.local.ownership import lock_directory
with lock_directory(sys.argv[1], "/run/service.sock"):
    print(1, flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def service(root):
    process = subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout.readline() == b"1\n"
        yield process
    finally:
        process.communicate()


def test_the_mark_of_a_killed_service_is_emptied(store, root):
    with service(root) as process:
        process.kill()
        process.wait()
    assert (root / ".contentui/owner").stat().st_size
    finding = only(fsck.check(store))
    assert (finding.kind, finding.name) == (Kind.OWNER_STALE, ".contentui/owner")
    assert repaired(store, [finding]) == {(".contentui/owner", "done")}
    assert (root / ".contentui/owner").stat().st_size == 0
    assert fsck.check(store) == []


def test_the_owner_file_of_a_service_that_started_since_stays(store, root, monkeypatch):
    monkeypatch.setattr(ownership, "MAX_AGE_S", 60.0)
    with service(root) as process:
        process.kill()
        process.wait()
    finding = only(fsck.check(store))
    with service(root):
        with LocalStore(str(root)) as again, pytest.raises(ReadOnly):
            list(fsck.repair(again, [finding]))
        # This one has read the owner before, and must skip the file all the same.
        outcome = only(fsck.repair(store, [finding]))
        assert outcome.result in ("skipped", "failed")
        assert json.loads((root / ".contentui/owner").read_bytes())["socket"]


def test_a_directory_that_is_served_is_checked_and_not_repaired(store, root):
    path = make_nameless(root)
    with service(root), LocalStore(str(root)) as looking:
        finding = only(fsck.check(looking))
        assert finding.kind is Kind.INGEST_DAMAGED
        with pytest.raises(ReadOnly):
            list(fsck.repair(looking, [finding]))
        assert path.exists()


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"containerd": b""}, "does not name the root"),
        ({"containerd": b"relative/path\n"}, "does not name the root"),
        ({"containerd": b"/var/lib/containerd\n", "adopted": b""}, "both as adopted"),
        ({"adopted": None}, "not a regular file"),
    ],
)
def test_invalid_ownership_files_are_reported(store, root, files, problem):
    store.close()
    for name, data in files.items():
        path = root / ".contentui" / name
        path.mkdir() if data is None else path.write_bytes(data)
    with LocalStore(str(root)) as again:
        finding = only(fsck.check(again))
    assert finding.kind is Kind.OWNERSHIP
    assert problem in finding.problem
    assert finding.repair == ""


def test_valid_ownership_files_are_no_findings(store, root):
    (root / ".contentui/containerd").write_bytes(b"/var/lib/containerd\n")
    with LocalStore(str(root)) as again:
        assert fsck.check(again) == []
    (root / ".contentui/containerd").unlink()
    with service(root), LocalStore(str(root)) as again:
        assert fsck.check(again) == []


def test_a_containerd_s_directory_is_checked_and_never_changed(store, root, tmp_path):
    store.close()
    node = tmp_path / "node"
    content = node / ownership.CONTAINERD_CONTENT
    shutil.copytree(root, content)
    shutil.rmtree(content / ".contentui")
    database = node / "io.containerd.metadata.v1.bolt/meta.db"
    database.parent.mkdir()
    database.touch()
    (content / "blobs/sha256" / ONE.encoded).chmod(0o644)
    (content / "blobs/sha256/stray").touch()
    path = make_nameless(content)
    before = tree(node)
    with LocalStore(str(content)) as looking:
        found = fsck.check(looking)
        assert kinds(found) == {
            (Kind.BLOB_MODE, ONE),
            (Kind.FOREIGN, "blobs/sha256/stray"),
            (Kind.INGEST_DAMAGED, f"ingest/{path.name}"),
        }
        with pytest.raises(ReadOnly):
            list(fsck.repair(looking, found))
    assert tree(node) == before


def test_what_cannot_be_read_is_said_and_the_rest_is_checked(store, root):
    store.close()
    shutil.rmtree(root / "ingest")
    (root / "ingest").write_text("a file")
    (root / "blobs/sha256" / ONE.encoded).chmod(0o644)
    with LocalStore(str(root)) as again:
        found = fsck.check(again)
    assert kinds(found) == {(Kind.UNCHECKED, "ingest"), (Kind.BLOB_MODE, ONE)}


# -- what a repair leaves alone


def old(*paths):
    for path in paths:
        os.utime(path, (1, 1))


def test_files_that_are_not_ours_are_left_alone(tmp_path):
    store = LocalStore(str(tmp_path))
    store.put(b"data")
    ours = tmp_path / ".contentui"
    (ours / "transfers").mkdir()
    strangers = [
        ours / "my-notes.tmp",
        ours / "transfers" / "notes.txt",
        ours / "renamed-sha256-zz",
    ]
    for path in strangers:
        path.write_text("theirs")
    old(*strangers)
    assert fsck.check(store) == []
    LocalStore(str(tmp_path)).put(b"more")  # nor do they keep anybody from storing
    assert all(path.exists() for path in strangers)


def test_a_link_in_place_of_a_renamed_blob_is_left_alone(tmp_path):
    store = LocalStore(str(tmp_path))
    digest = store.put(b"data").digest
    link = tmp_path / ".contentui" / f"renamed-sha256-{'a' * 64}"
    link.symlink_to("/etc/passwd")
    (tmp_path / ".contentui" / f"renamed-sha256-{digest.encoded}").mkdir()
    again = LocalStore(str(tmp_path))
    again.put(b"more")
    assert link.is_symlink()
    assert len(again.digests()) == 2
    assert fsck.check(store) == []


def test_bytes_that_can_be_resumed_are_not_removed(tmp_path):
    store = LocalStore(str(tmp_path))
    with store.writer("begun") as writer:
        writer.write(b"bytes")
        ident = writer.status().id
    ingest = tmp_path / "ingest" / ident
    (ingest / "startedat").write_text("")
    old(*ingest.iterdir(), ingest)
    (finding,) = fsck.check(store)
    assert finding.kind is fsck.Kind.INGEST_DAMAGED
    assert not finding.repair
    assert "keeps its 5 bytes" in finding.advice
    assert store.writer("begun").offset == 5


@pytest.mark.parametrize("name", ["holders", "uuid"])
def test_what_is_no_file_is_found(tmp_path, name):
    store = LocalStore(str(tmp_path))
    store.put(b"data")
    (tmp_path / ".contentui" / name).mkdir()
    assert [finding.kind for finding in fsck.check(store)] == [fsck.Kind.FILE_TYPE]


def test_a_directory_that_the_group_cannot_use_is_found(tmp_path):
    tmp_path.chmod(0o2775)
    store = LocalStore(str(tmp_path))
    store.put(b"data")
    assert fsck.check(store) == []
    (tmp_path / "blobs" / "sha256").chmod(0o755)
    (finding,) = fsck.check(store)
    assert finding.kind is fsck.Kind.FILE_MODE
    assert "init --shared" in finding.advice


def test_a_label_row_under_no_text_is_damage(tmp_path):
    store = LocalStore(str(tmp_path))
    store.put(b"data", labels={"a": "b"})
    connection = sqlite3.connect(tmp_path / ".contentui" / "labels.db")
    with connection:
        connection.execute("INSERT INTO labels VALUES (x'fffe', 1, '{}')")
    connection.close()
    (finding,) = fsck.check(store)
    assert finding.kind is fsck.Kind.DATABASE_DAMAGED
