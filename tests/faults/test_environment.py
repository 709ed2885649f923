"""Full disks, read-only media, missing rights, few descriptors, odd refs, jumping clocks."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import elsewhere
import pytest

from contentui.content.digest import Digest
from contentui.content.errors import ContentError, FailedPrecondition, InvalidArgument
from contentui.content.model import parse_ref_argument, ref_argument
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator

FULL = """
store = LocalStore(root + "/full")
good = store.put(b"good", labels={"a": "b"}).digest
writer = store.writer("ref", total=1 << 30)
block = os.urandom(1 << 16)
written = 0
def fill():
    global written
    while True:
        writer.write(block)
        written += len(block)
refused(ResourceExhausted, fill)
assert written <= writer.offset < written + len(block), (written, writer.offset)
digest = writer.digest()
try:
    writer.close()
except ResourceExhausted:
    pass
for deed in (lambda: store.put(block), lambda: store.put_many([block, block + b"x"])):
    refused(ResourceExhausted, deed)
def another():
    with store.writer("another") as other:
        other.write(block)
        other.commit(labels={"l" * 100: "m" * 3000})
refused(ResourceExhausted, another)
def from_file():
    with open(os.__file__, "rb") as source:
        write_blob(store, "from file", source)
refused(ResourceExhausted, from_file)
assert store.digests() == [good]
for status in store.statuses():
    if status.damage:
        store.abort(status.id)
with store.writer("ref") as writer:
    assert writer.digest() == digest and writer.offset >= written
for status in store.statuses():
    if status.ref != "ref":
        store.abort(status.id)
info = store.writer("ref").commit()
assert info.digest == digest
assert store.info(good).labels == {"a": "b"}
store.delete(digest)
store.put(block)
"""


def test_a_full_disk_is_said_and_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    mount = 'mount -t tmpfs -o size=1m none "$0/full"'
    elsewhere.with_mounts(FULL, tmp_path, mount)


LABELS_FULL = """
store = LocalStore(root + "/full")
store.put(b"good", labels={"a": "b"})
writer = store.writer("ref")
writer.write(b"bytes")
with open(root + "/full/ballast", "wb") as ballast:
    try:
        while True:
            ballast.write(bytes(1 << 12)); ballast.flush()
    except OSError:
        pass
    try:
        ballast.close()
    except OSError:
        pass
labels = {f"key {n}": "v" * 4000 for n in range(10)}
refused(ResourceExhausted, lambda: writer.commit(labels=labels))
assert store.digests() == [Digest.of(b"good")]
assert store.status("ref").offset == 5 and not store.status("ref").damage
os.unlink(root + "/full/ballast")
assert store.writer("ref").commit(labels=labels).labels == labels
assert store.info(Digest.of(b"bytes")).labels == labels
"""


def test_labels_that_find_no_room_keep_the_ingest(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    mount = 'mount -t tmpfs -o size=1m none "$0/full"'
    elsewhere.with_mounts(LABELS_FULL, tmp_path, mount)


NO_LOCKS = """
import fcntl, struct
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
def no_locks():
    "From here on the kernel answers ENOLCK to fcntl(F_OFD_SETLK) and flock, as NFS without lockd."
    set_lock, flock = {"x86_64": (72, 73), "aarch64": (25, 32)}[os.uname().machine]
    load, equal, end, refusal, allow = 0x20, 0x15, 0x06, 0x00050000 | 37, 0x7FFF0000
    code = [(load, 0, 0, 0), (equal, 4, 0, flock), (equal, 0, 2, set_lock), (load, 0, 0, 24),
            (equal, 1, 0, fcntl.F_OFD_SETLK), (end, 0, 0, allow), (end, 0, 0, refusal)]
    filter = b"".join(struct.pack("HBBI", *each) for each in code)
    program = Program(len(code), ctypes.cast(filter, ctypes.c_void_p))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    assert prctl(38, 1, 0, 0, 0) == 0 and prctl(22, 2, ctypes.byref(program), 0, 0) == 0
store = LocalStore(root)
store.put(b"good", labels={"a": "b"})
no_locks()
for deed in (
    lambda: store.writer("ref"), lambda: store.put(b"x", labels={"a": "b"}),
    lambda: store.delete(Digest.of(b"good")), lambda: store.update(Digest.of(b"good"), {"a": "c"}),
):
    error = refused(ContentError, deed)
    assert "No locks available" in error.message and "NFS" in error.advice, (error, error.advice)
assert store.digests() == [Digest.of(b"good")] and store.statuses() == []
"""


def test_a_file_system_without_locks_is_said_with_advice(tmp_path: Path) -> None:
    if os.uname().machine not in ("x86_64", "aarch64"):
        pytest.skip("the numbers of this machine's system calls are not known here")
    elsewhere.run(NO_LOCKS, tmp_path)


READ_ONLY = """
store = LocalStore(root)
digest = Digest.of(b"good")
assert store.info(digest).labels == LABELS
assert [status.ref for status in store.statuses()] == ["ref"]
assert store.holders([ingest_id("ref")]) == {}
for deed in (
    lambda: store.put(b"x"), lambda: store.put(b"x", labels={"a": "b"}),
    lambda: store.put_many([b"x"]), lambda: store.writer("new"), lambda: store.writer("ref"),
    lambda: store.abort("ref"), lambda: store.truncate("ref"), lambda: store.delete(digest),
    lambda: store.update(digest, {"a": "c"}),
):
    refused(KIND, deed)
with store.reader(digest) as reader:
    assert reader.read_at(10, 0) == b"good"
assert store.digests() == [digest]
"""


def filled(root: Path) -> None:
    with LocalStore(str(root)) as store:
        store.put(b"good", labels={"a": "b"})
        with store.writer("ref") as writer:
            writer.write(b"bytes")


def test_read_only_media_are_read(tmp_path: Path) -> None:
    filled(root := tmp_path / "store")
    mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"'
    script = READ_ONLY.replace("KIND", "ReadOnly").replace("LABELS", '{"a": "b"}')
    elsewhere.with_mounts(script, root, mount)


@pytest.fixture
def public(tmp_path: Path) -> Iterator[Path]:
    """A directory that everybody may enter."""
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


def test_other_peoples_files_are_read(public: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a file that is another's")
    filled(root := public / "store")
    # Who may not open the label database can't keep it locked, and doesn't know the labels.
    script = READ_ONLY.replace("KIND", "PermissionDenied").replace("LABELS", "None")
    elsewhere.as_plain_user(script, root)


HIDDEN = """
store = LocalStore(root)
for deed in (store.statuses, store.digests, lambda: list(store.walk()), lambda: store.put(b"x"),
             lambda: store.writer("ref"), lambda: store.info(Digest.of(b"good"))):
    refused(PermissionDenied, deed)
"""


def test_directories_that_may_not_be_read_are_said(public: Path) -> None:
    filled(root := public / "store")
    for name in ("blobs", "ingest"):
        (root / name).chmod(0)
    try:
        elsewhere.as_plain_user(HIDDEN, root)
    finally:
        for name in ("blobs", "ingest"):
            (root / name).chmod(0o755)


RESUMED_READ_ONLY = """
root += "/mine"
store = LocalStore(root)
with store.writer("ref") as writer:
    writer.write(b"bytes")
path = f"{root}/ingest/{ingest_id('ref')}/data"
for mode in (0o444, 0o000):
    os.chmod(path, mode)
    with store.writer("ref") as writer:
        assert writer.offset == 5
os.makedirs(f"{root}/ingest/{ingest_id('ref')}/extra/deep/deeper")
for name in ("extra/deep/deeper", "extra/deep", "extra"):
    os.chmod(f"{root}/ingest/{ingest_id('ref')}/{name}", 0)
store.abort("ref")
assert store.statuses() == []
"""


def test_a_plain_user_resumes_and_removes_what_is_read_only(public: Path) -> None:
    elsewhere.as_plain_user(RESUMED_READ_ONLY, public)


def test_a_limit_on_file_size_is_said(tmp_path: Path) -> None:
    filled(tmp_path / "store")
    elsewhere.run(
        """
store = LocalStore(root)
with open(root + "/../source", "wb") as source:
    source.write(os.urandom(3 << 20))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
writer = store.writer("big")
refused(ResourceExhausted, lambda: writer.write(bytes(200_000)))
assert writer.offset == 100_000
writer.close()
assert store.status("big").offset == 100_000
refused(ResourceExhausted, lambda: store.put(bytes(200_000)))
refused(ResourceExhausted, lambda: write_blob(store, "exe", open(root + "/../source", "rb")))
assert store.digests() == [Digest.of(b"good")]
""",
        tmp_path / "store",
    )


def test_few_descriptors_are_enough_or_said(tmp_path: Path) -> None:
    filled(tmp_path / "store")
    elsewhere.run(
        """
resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))
store = LocalStore(root)
infos = store.put_many([b"%d" % n for n in range(300)])
assert len(infos) == 300 and len(store.digests()) == 301
hoard = []
try:
    while True:
        hoard.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
def tried():
    for deed in (store.statuses, lambda: store.put(b"x"), lambda: store.writer("ref").close(),
                 lambda: store.writer("new").close(), lambda: store.reader(Digest.of(b"good")),
                 lambda: list(store.walk()), lambda: store.abort("ref"),
                 lambda: store.holders([ingest_id("ref")])):
        try:
            deed()
        except ContentError:
            pass
for _ in range(8):
    tried()
    os.close(hoard.pop())
for fd in hoard:
    os.close(fd)
assert store.put(b"x").size == 1
store.writer("ref").close()
store.writer("new").close()
assert [status.damage for status in store.statuses()] == ["", ""]
""",
        tmp_path / "store",
    )


@pytest.mark.parametrize("name", ["blobs", "ingest", "blobs/sha256", ".contentui"])
@pytest.mark.parametrize("kind", ["symlink", "file"])
def test_something_else_where_a_directory_should_be(tmp_path: Path, name: str, kind: str) -> None:
    filled(root := tmp_path / "store")
    outside = tmp_path / "outside"
    shutil.move(root / name, outside)
    before = sorted(outside.rglob("*"))
    if kind == "symlink":
        (root / name).symlink_to(outside)
    else:
        (root / name).write_bytes(b"")
    with LocalStore(str(root)) as store:
        deeds = {
            "blobs": [lambda: store.put(b"x"), lambda: list(store.walk()), store.digests],
            "ingest": [lambda: store.writer("ref"), store.statuses, lambda: store.abort("ref")],
            ".contentui": [lambda: store.put(b"x"), lambda: store.writer("ref")],
        }
        for deed in deeds[name.removesuffix("/sha256")]:
            with pytest.raises(FailedPrecondition):
                deed()
        assert store.traits.read_only_reason == ""
    assert sorted(outside.rglob("*")) == before


REFS = [
    "nul\0inside",
    "new\nline",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "invalid \udcff\udc80",
    "id:" + "0" * 64,
    "id:../../etc",
    "-rf",
    "--",
    "../../../etc/passwd",
    "/",
    ".",
    " ",
    "r" * (64 * 1024),
    "\u202egnitset",
    "💥",
]


@pytest.mark.parametrize("ref", REFS, ids=lambda ref: ascii(ref[:20]))
def test_hostile_refs_are_kept_exactly(tmp_path: Path, ref: str) -> None:
    with LocalStore(str(tmp_path)) as store:
        with store.writer(ref) as writer:
            writer.write(b"bytes")
        (status,) = store.statuses()
        assert (status.ref, status.damage, status.offset) == (ref, "", 5)
        argument = ref_argument(status)
        assert argument.isprintable() or argument.startswith("id:")
        assert store.status(parse_ref_argument(argument)) == status
        store.abort(parse_ref_argument(argument), if_match=status)
        assert store.statuses() == []


@pytest.mark.parametrize("ref", ["", "r" * 100_000, "\ud800"], ids=["empty", "100 kB", "half"])
def test_refs_that_cannot_be_are_refused(tmp_path: Path, ref: str) -> None:
    with LocalStore(str(tmp_path)) as store:
        with pytest.raises(InvalidArgument):
            store.writer(ref)
        assert store.statuses() == []


@pytest.mark.parametrize("jump_s", [-400 * 86400, 400 * 86400])
def test_a_clock_that_jumps_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump_s: int
) -> None:
    real = time.time_ns
    with LocalStore(str(tmp_path)) as store:
        with store.writer("ref", total=10) as writer:
            writer.write(b"12345")
        monkeypatch.setattr(time, "time_ns", lambda: real() + jump_s * 10**9)
        assert [status.damage for status in store.statuses()] == [""]
        writer = store.writer("ref")
        writer.write(b"67890")
        assert store.status("ref").offset == 10
        holders = store.holders([writer.status().id])
        assert holders
        with pytest.raises(ContentError, match="pid"):
            store.writer("ref")
        monkeypatch.undo()
        info = writer.commit(labels={"a": "b"})
        assert info.digest == Digest.of(b"1234567890")
        assert store.info(info.digest).labels == {"a": "b"}
        monkeypatch.setattr(time, "time_ns", lambda: real() + jump_s * 10**9)
        store.update(info.digest, {"a": "c"}, ["labels.a"])
        assert store.info(info.digest).updated_ns > 0
        store.delete(info.digest, if_match=store.info(info.digest))


@pytest.mark.parametrize(
    "stamp", [b"2999-01-01T00:00:00Z", b"0001-01-01T00:00:00Z", b"0001-01-01T00:00:00.5Z"]
)
def test_times_in_the_future_and_at_zero_are_fine(tmp_path: Path, stamp: bytes) -> None:
    with LocalStore(str(tmp_path)) as store:
        with store.writer("ref") as writer:
            writer.write(b"12345")
            path = os.path.join(str(tmp_path), "ingest", writer.status().id)
        for name in ("startedat", "updatedat"):
            os.unlink(os.path.join(path, name))
            with open(os.path.join(path, name), "wb") as file:
                file.write(stamp)
        for _ in range(2):
            (status,) = store.statuses()
            assert status.damage == ""
            assert (status.started_ns == 0) == stamp.startswith(b"0001")
        store.refresh([status])
        with store.writer("ref") as writer:
            assert writer.offset == 5
            writer.commit()
