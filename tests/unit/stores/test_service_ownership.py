"""The lock of a service on a directory, and a directory that is bound to a containerd."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from contentui.content.errors import FailedPrecondition, InvalidArgument, NotFound, ReadOnly
from contentui.content.model import Liveness
from contentui.stores.local import ownership
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

SERVICE = """
import sys
from contentui.stores.local import ownership
from contentui.stores.local.store import LocalStore
with ownership.lock_directory(sys.argv[1], sys.argv[2]) as lock:
    store = LocalStore(sys.argv[1], lock=lock)
    print(store.put(b"the service's").digest, flush=True)
    sys.stdin.readline()
    if sys.stdin.readline():
        raise SystemExit(store.put(b"once more").size - 9)
"""
PUT = (
    "import sys; from contentui.stores.local.store import LocalStore;"
    "LocalStore(sys.argv[1]).put(b'x')"
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the owner each time, so that no test has to wait."""
    monkeypatch.setattr(ownership, "MAX_AGE_S", -1.0)
    monkeypatch.setattr(ownership, "_BIND_WAIT_S", 0)


def service(root: Path, socket: str) -> subprocess.Popen[str]:
    """A service process that has the directory once it has printed a line."""
    argv = [sys.executable, "-c", SERVICE, str(root), socket]
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def started(root: Path, socket: str) -> subprocess.Popen[str]:
    process = service(root, socket)
    assert process.stdout
    assert process.stdout.readline().startswith("sha256:")
    return process


def put_elsewhere(root: Path) -> str:
    """The error of a change in a process of its own; empty if it succeeds."""
    argv = [sys.executable, "-c", PUT, str(root)]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stderr


class TestClaim:
    def test_while_a_service_runs_all_others_are_sent_to_its_socket(self, tmp_path: Path) -> None:
        process = started(tmp_path, "/run/our.sock")
        try:
            with LocalStore(str(tmp_path)) as store:
                assert store.traits.read_only_reason
                assert store.roles.lock_holders is not None
                assert "unix:///run/our.sock" in store.traits.read_only_reason
                assert store.digests()
                with pytest.raises(ReadOnly) as caught:
                    store.delete(store.digests()[0])
                assert "--store unix:///run/our.sock" in caught.value.advice
            assert "ReadOnly" in put_elsewhere(tmp_path)
            _, errors = process.communicate("\ngo on\n")
            assert (process.returncode, errors) == (0, "")
        finally:
            process.kill()
            process.wait()
        assert put_elsewhere(tmp_path) == ""

    def test_a_dead_owners_mark_means_nothing(self, tmp_path: Path) -> None:
        process = started(tmp_path, "/run/our.sock")
        process.kill()
        process.communicate()
        assert (tmp_path / ".contentui/owner").read_text()
        with LocalStore(str(tmp_path)) as store:
            assert store.traits.read_only_reason == ""
            store.put(b"x")
        with ownership.lock_directory(str(tmp_path), "/run/next.sock") as lock:
            assert lock.is_held

    def test_a_second_service_is_told_the_firsts_socket(self, tmp_path: Path) -> None:
        process = started(tmp_path, "/run/first.sock")
        try:
            with pytest.raises(FailedPrecondition, match=r"unix:///run/first\.sock"):
                ownership.lock_directory(str(tmp_path), "/run/second.sock")
            _, errors = service(tmp_path, "/run/second.sock").communicate("")
            assert "unix:///run/first.sock" in errors
        finally:
            process.kill()
            process.communicate()

    def test_the_lock_makes_the_directory_writable(self, tmp_path: Path) -> None:
        root = str(tmp_path / "new")
        with ownership.lock_directory(root, "tcp://127.0.0.1:5000") as lock:
            with pytest.raises(FailedPrecondition, match=r"tcp://127\.0\.0\.1:5000"):
                ownership.lock_directory(root, "/run/second.sock")
            with LocalStore(root, lock=lock) as ours, LocalStore(root) as others:
                info = ours.put(b"x")
                assert others.info(info.digest) == info
                with pytest.raises(ReadOnly, match="read-only here"):
                    others.put(b"y")
                lock.close()
                lock.close()
                others.put(b"y")

    def test_a_closed_lock_makes_nothing_writable(self, tmp_path: Path) -> None:
        first = ownership.lock_directory(str(tmp_path), "/run/first.sock")
        with LocalStore(str(tmp_path), lock=first) as store:
            store.put(b"x")
            first.close()
            with ownership.lock_directory(str(tmp_path), "/run/next.sock"), pytest.raises(ReadOnly):
                store.put(b"y")

    def test_a_replaced_owner_file_is_not_locked(self, tmp_path: Path) -> None:
        with ownership.lock_directory(str(tmp_path), "/run/first.sock"):
            (tmp_path / ".contentui/owner").unlink()
            with (
                ownership.lock_directory(str(tmp_path), "/run/second.sock"),
                LocalStore(str(tmp_path)) as store,
            ):
                assert "second.sock" in store.traits.read_only_reason

    @pytest.mark.parametrize("mark", [b"", b"{}", b"[]", b'{"socket":', b"\xff", b"0" * 99_999])
    def test_whatever_the_mark_says_the_lock_counts(self, tmp_path: Path, mark: bytes) -> None:
        with ownership.lock_directory(str(tmp_path), "/run/first.sock"):
            (tmp_path / ".contentui/owner").write_bytes(mark)
            with LocalStore(str(tmp_path)) as store:
                assert "can't be read" in store.traits.read_only_reason

    def test_hostile_text_in_the_mark_reaches_nobody(self, tmp_path: Path) -> None:
        with (
            ownership.lock_directory(str(tmp_path), "/run/\x1b[2J\n.sock"),
            LocalStore(str(tmp_path)) as store,
        ):
            assert store.traits.read_only_reason.isprintable()

    @pytest.mark.parametrize("what", ["fifo", "directory", "symlink"])
    def test_a_mark_that_is_no_file_stops_nobody(self, tmp_path: Path, what: str) -> None:
        mark = tmp_path / ".contentui/owner"
        mark.parent.mkdir()
        make = {"fifo": os.mkfifo, "directory": os.mkdir, "symlink": lambda p: os.symlink("x", p)}
        make[what](mark)
        with LocalStore(str(tmp_path)) as store:
            store.put(b"x")

    def test_a_containerds_own_directory_is_not_locked(self, tmp_path: Path) -> None:
        content = containerds(tmp_path)
        with pytest.raises(ReadOnly):
            ownership.lock_directory(str(content), "/run/our.sock")
        assert not (content / ".contentui").exists()

    def test_a_writer_that_was_there_first_goes_on(self, tmp_path: Path) -> None:
        with LocalStore(str(tmp_path)) as store, store.writer("r") as writer:
            with ownership.lock_directory(str(tmp_path), "/run/our.sock") as lock:
                ours = LocalStore(str(tmp_path), lock=lock)
                assert ours.probe("r", if_match=ours.status("r")).liveness is Liveness.HELD
            writer.write(b"x")
            writer.commit()


class TestDedicate:
    def test_an_empty_store_is_taken_for_good(self, tmp_path: Path) -> None:
        root = str(tmp_path / "store")
        for _ in range(2):
            ownership.bind(root, "/var/lib/theirs")
        assert ownership.bound_to(root) == "/var/lib/theirs"
        with LocalStore(root) as store:
            reason = store.traits.read_only_reason
            assert "containerd at /var/lib/theirs keeps its content here" in reason
            assert "through that daemon" in reason
            with pytest.raises(ReadOnly):
                store.put(b"x")
        with ownership.lock_directory(root, "/run/our.sock") as lock:
            with LocalStore(root, lock=lock) as store:
                store.put(b"x")
            with LocalStore(root) as store:
                assert "/var/lib/theirs" in store.traits.read_only_reason
        ownership.bind(root, "/var/lib/theirs")

    def test_nothing_else_is_bound(self, tmp_path: Path) -> None:
        assert ownership.bound_to(str(tmp_path)) == ""
        assert ownership.bound_to(str(tmp_path / "none")) == ""

    def test_the_same_daemon_by_another_path(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        ownership.bind(str(tmp_path / "store"), str(tmp_path / "link"))
        ownership.bind(str(tmp_path / "store"), f"{tmp_path}/real/")
        assert ownership.bound_to(str(tmp_path / "store")) == str(tmp_path / "real")

    def test_another_daemon_is_refused(self, tmp_path: Path) -> None:
        ownership.bind(str(tmp_path), "/var/lib/one")
        with pytest.raises(FailedPrecondition, match=r"/var/lib/one.*/var/lib/two.*collector"):
            ownership.bind(str(tmp_path), "/var/lib/two")
        assert ownership.bound_to(str(tmp_path)) == "/var/lib/one"

    @pytest.mark.parametrize("what", ["blob", "ingest"])
    def test_a_store_with_content_is_refused(self, tmp_path: Path, what: str) -> None:
        with LocalStore(str(tmp_path)) as store:
            if what == "blob":
                store.put(b"x")
            else:
                store.writer("r").close()
        with pytest.raises(FailedPrecondition, match="collector deletes every blob"):
            ownership.bind(str(tmp_path), "/var/lib/theirs")
        assert ownership.bound_to(str(tmp_path)) == ""
        assert put_elsewhere(tmp_path) == ""

    def test_whoever_had_looked_before_is_noticed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ownership, "MAX_AGE_S", 60.0)
        with LocalStore(str(tmp_path)) as store:
            assert store.traits.read_only_reason == ""
            monkeypatch.setattr(ownership.time, "sleep", lambda _: store.put(b"late"))
            with pytest.raises(FailedPrecondition, match="has content"):
                ownership.bind(str(tmp_path), "/var/lib/theirs")
        assert ownership.bound_to(str(tmp_path)) == ""

    def test_an_emptied_store_is_empty(self, tmp_path: Path) -> None:
        with LocalStore(str(tmp_path)) as store:
            store.delete(store.put(b"x").digest)
        ownership.bind(str(tmp_path), "/var/lib/theirs")

    def test_a_containerds_own_directory_is_refused(self, tmp_path: Path) -> None:
        content = containerds(tmp_path)
        with pytest.raises(FailedPrecondition, match="own content"):
            ownership.bind(str(content), str(tmp_path))
        assert not (content / ".contentui").exists()

    def test_a_path_that_is_no_text(self, tmp_path: Path) -> None:
        odd = os.fsdecode(b"/var/lib/odd \xff\n")
        ownership.bind(str(tmp_path), odd)
        assert ownership.bound_to(str(tmp_path)) == odd
        with LocalStore(str(tmp_path)) as store:
            assert store.traits.read_only_reason.isprintable()

    def test_an_unreadable_mark_is_a_mark(self, tmp_path: Path) -> None:
        (tmp_path / ".contentui").mkdir()
        (tmp_path / ".contentui/containerd").touch()
        with LocalStore(str(tmp_path)) as store:
            assert store.traits.read_only_reason

    def test_adopting_ends_it_once_nobody_runs(self, tmp_path: Path) -> None:
        root = str(tmp_path / "store")
        ownership.bind(root, str(tmp_path / "theirs"))
        with ownership.lock_directory(root, "/run/our.sock") as lock:
            LocalStore(root, lock=lock).put(b"x")
            with pytest.raises(FailedPrecondition, match=r"in use by unix:///run/our\.sock"):
                ownership.adopt(root)
        ownership.adopt(root)
        assert ownership.bound_to(root) == ""
        with LocalStore(root) as store:
            store.put(b"y")
        with pytest.raises(FailedPrecondition, match="belongs to no containerd"):
            ownership.adopt(root)


class TestClientsRefs:
    """In a containerd's directory ingests are shown as its clients know them."""

    def ingest(self, root: Path, *refs: str) -> None:
        """As a daemon, or our service for it, leaves them."""
        with LocalStore(str(root)) as store:
            for ref in refs:
                store.writer(ref).close()

    def shown(self, root: Path) -> set[tuple[str, str]]:
        with LocalStore(str(root)) as store:
            found = store.statuses()
            assert store.refresh(found) == found
            assert [store.status(status.id) for status in found] == found
            return {(status.namespace, status.ref) for status in found}

    REFS = ("default/1/a", "k8s.io/1/layer-sha256:1", "img/1/a/1/b", "plain", "a/b/c", "/1/x")
    CLIENTS = {  # noqa: RUF012
        ("default", "a"),
        ("k8s.io", "layer-sha256:1"),
        ("img", "a/1/b"),
        ("", "plain"),
        ("", "a/b/c"),
        ("", "/1/x"),
    }

    def test_in_a_daemons_own_directory(self, tmp_path: Path) -> None:
        content = containerds(tmp_path, dead=True)
        self.ingest(content, *self.REFS)
        assert self.shown(content) == {("", ref) for ref in self.REFS}
        database(content)
        assert self.shown(content) == self.CLIENTS

    def test_in_one_that_our_service_keeps_for_it(self, tmp_path: Path) -> None:
        ownership.bind(str(tmp_path), "/var/lib/theirs")
        with (
            ownership.lock_directory(str(tmp_path), "/run/our.sock") as lock,
            LocalStore(str(tmp_path), lock=lock) as store,
        ):
            for ref in self.REFS:
                store.writer(ref).close()
            held = store.writer("default/1/held")
            assert {status.ref for status in store.statuses()} == {*self.REFS, held.ref}
            assert self.shown(tmp_path) == {*self.CLIENTS, ("default", "held")}
            with LocalStore(str(tmp_path)) as other:
                ids = [status.id for status in other.statuses()]
                assert set(other.holders(ids) or ()) == {other.status("held").id}
                assert other.traits.buffered_writes
            held.close()
        assert self.shown(tmp_path) == {*self.CLIENTS, ("default", "held")}

    def test_an_adopted_one_is_ours_and_its_refs_are_as_they_are(self, tmp_path: Path) -> None:
        content = containerds(tmp_path, dead=True)
        self.ingest(content, "default/1/a")
        database(content)
        ownership.adopt(str(content))
        assert self.shown(content) == {("", "default/1/a")}
        with LocalStore(str(content)) as store:
            store.abort("default/1/a", if_match=store.status("default/1/a"))

    def test_a_ref_is_found_by_all_its_names(self, tmp_path: Path) -> None:
        content = containerds(tmp_path, dead=True)
        self.ingest(content, "default/1/a", "k8s.io/1/both", "default/1/both", "plain")
        database(content)
        with LocalStore(str(content)) as store:
            found = store.status("default/1/a")
            assert found == store.status("a") == store.status(found.id)
            assert store.status("plain").namespace == ""
            assert store.status("k8s.io/1/both").namespace == "k8s.io"
            with pytest.raises(InvalidArgument, match=r"default, k8s\.io"):
                store.status("both")
            for ref in ("none", "default/1/none", "1/a"):
                with pytest.raises(NotFound):
                    store.status(ref)

    def test_filters_see_the_clients_ref(self, tmp_path: Path) -> None:
        content = containerds(tmp_path, dead=True)
        self.ingest(content, "default/1/a", "k8s.io/1/b")
        database(content)
        with LocalStore(str(content)) as store:
            assert [status.namespace for status in store.statuses(["ref==b"])] == ["k8s.io"]
            assert store.statuses(["ref==k8s.io/1/b", "ref~=default"]) == []

    def test_only_a_proven_ref_is_believed(self, tmp_path: Path) -> None:
        content = containerds(tmp_path, dead=True)
        self.ingest(content, "default/1/a", "default/1/b", "default/1/c")
        with LocalStore(str(content)) as store:
            a, b, c = (content / "ingest" / store.status(f"default/1/{r}").id for r in "abc")
        database(content)
        (a / "ref").write_text("k8s.io/1/other")
        (b / "startedat").unlink()
        (c / "ref").unlink()
        with LocalStore(str(content)) as store:
            assert all(status.damage for status in store.statuses())
        assert self.shown(content) == {("", "k8s.io/1/other"), ("default", "b"), ("", "")}


def containerds(place: Path, *, dead: bool = False) -> Path:
    """A containerd's content directory, its database beside it unless that is lost."""
    content = place / "root" / ownership.CONTAINERD_CONTENT
    (content / "blobs/sha256").mkdir(parents=True)
    if not dead:
        database(content)
    return content


def database(content: Path) -> None:
    path = content.parent / "io.containerd.metadata.v1.bolt/meta.db"
    path.parent.mkdir()
    path.touch()
