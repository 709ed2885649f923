"""Our client on a real containerd: namespaces, leases, collection, restarts, another daemon."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3]))

from bench.peers import Containerd, Missing
from contentui.content.digest import Digest
from contentui.content.errors import (
    AlreadyExists,
    ContentError,
    InvalidArgument,
    Locked,
    NotFound,
    ReadOnly,
    Unavailable,
)
from contentui.content.helpers import list_digests, verified_chunks, write_blob
from contentui.content.model import Descriptor, Liveness, Root, backend_ref, ingest_id
from contentui.content.rules import GC_ROOT
from contentui.protocol import leases_pb2, names
from contentui.stores.containerd.store import ContainerdStore
from contentui.stores.open import open_store

pytestmark = pytest.mark.interop
MIB = 1 << 20


def started(place, **options):
    daemon = Containerd(place, **options)
    try:
        daemon.start()
    except Missing as missing:
        if os.environ.get("CONTENTUI_REQUIRE_INTEROP") == "1":
            pytest.fail(f"required, but missing: {missing}")
        pytest.skip(str(missing))
    return daemon


@pytest.fixture(scope="module")
def place():
    path = Path(tempfile.mkdtemp(prefix="cui-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def daemon(place):
    daemon = started(place / "a")
    yield daemon
    daemon.stop()


@pytest.fixture
def opened(daemon):
    """Opens stores on the daemon, and closes them."""
    stores = []

    def open_it(*namespaces, **options):
        stores.append(ContainerdStore(str(daemon.socket), namespaces=namespaces, **options))
        return stores[-1]

    yield open_it
    for store in stores:
        store.close()
    everything = ContainerdStore(str(daemon.socket))
    for status in everything.statuses():
        everything.abort(status.id, force=True)
    for digest in list_digests(everything):
        everything.delete(digest)
    everything.close()
    for name in ("default", "later"):
        for lease in leases(daemon, name):
            subprocess.run(daemon.ctr("-n", name, "leases", "delete", lease), check=True)


def leases(daemon, namespace="default"):
    argv = daemon.ctr("-n", namespace, "leases", "ls", "-q")
    return subprocess.run(argv, capture_output=True, check=True, text=True).stdout.split()


def left_behind(store, ref="r", data=b"half", **options):
    with store.writer(ref, **options) as writer:
        writer.write(data)
    return store.status(ref)


def collect(daemon):
    """Run the daemon's garbage collection, and wait for it."""
    done = subprocess.run(
        daemon.ctr("images", "rm", "--sync", "none"), capture_output=True, check=False
    )
    assert done.returncode in {0, 1}, done.stderr
    for command in (("leases", "create", "--id", "now"), ("leases", "delete", "--sync", "now")):
        subprocess.run(daemon.ctr(*command), check=True, capture_output=True)


def test_it_is_recognized(daemon, opened):
    store = opened("default")
    assert store.traits.garbage_collected
    assert store.traits.buffered_writes
    assert store.traits.namespaced
    assert not store.traits.read_only_reason
    assert store.name == f"unix://{daemon.socket}?namespace=default"
    assert store.usage().total > 0
    assert store.roles.blob_versions is None


def test_opened_by_its_path_or_url(daemon):
    for source in (str(daemon.socket), f"unix://{daemon.socket}?namespace=default"):
        store = open_store(source, read_only=True)
        assert store.statuses() == []
        assert store.traits.read_only_reason
        for change in (
            lambda store=store: store.writer("r"),
            lambda store=store: store.put(b"x"),
            lambda store=store: store.abort("r"),
            lambda store=store: store.delete(Digest.of(b"x")),
            lambda store=store: store.images.delete("a"),
        ):
            with pytest.raises(ReadOnly):
                change()
        store.close()


def test_what_ctr_stores_is_seen_and_the_reverse(place):
    daemon = started(place / "f", collect=False)  # ctr leaves what it ingests to the collector
    try:
        store = ContainerdStore(str(daemon.socket), namespaces=["default"])
        data = os.urandom(3 * MIB)
        subprocess.run(daemon.ctr("content", "ingest", "r"), input=data, check=True)
        assert b"".join(verified_chunks(store, Digest.of(data))) == data
        info = store.put(b"ours")
        argv = daemon.ctr("content", "get", info.digest)
        assert subprocess.run(argv, capture_output=True, check=True).stdout == b"ours"
        store.close()
    finally:
        daemon.stop()


def test_several_namespaces_are_one_store(opened):
    one, two = opened("one"), opened("two")
    info = one.put(b"both", labels={"a": "1", "b": "1"})
    two.put(b"both", labels={"b": "2", "c": "2"})
    two.put(b"second")
    left_behind(one, "shared")
    left_behind(two, "shared")
    left_behind(two, "alone")
    both = opened("one", "two")
    merged = both.info(info.digest)
    assert merged.namespaces == ("one", "two")
    assert {key: merged.labels[key] for key in "abc"} == {"a": "1", "b": "1", "c": "2"}
    assert {each.digest for each in both.walk()} == {info.digest, Digest.of(b"second")}
    assert next(iter(both.walk([f"digest=={info.digest}"]))) == merged
    assert {(each.namespace, each.ref) for each in both.statuses()} == {
        ("one", "shared"),
        ("two", "shared"),
        ("two", "alone"),
    }
    for status in both.statuses():
        assert status.id == ingest_id(backend_ref(status.namespace, status.ref))
        assert both.status(status.id) == status
    assert both.status("alone").namespace == "two"
    seen = both.statuses()
    assert both.refresh(seen) == seen
    for call in (both.status, both.abort, both.writer):
        with pytest.raises(InvalidArgument, match="several namespaces") as caught:
            call("shared")
        assert "namespace=" in caught.value.advice
    with pytest.raises(InvalidArgument, match="several namespaces"):
        both.update(info.digest, {"x": "1"}, ["labels.x"])
    both.abort(ingest_id(backend_ref("one", "shared")))
    assert both.status("shared").namespace == "two"
    both.delete(info.digest, if_match=merged)
    for store in (one, two):
        with pytest.raises(NotFound):
            store.info(info.digest)


def test_all_namespaces_when_none_is_named(opened):
    opened("one").put(b"x")
    opened("two").put(b"y")
    store = opened()
    assert {"one", "two"} <= set(store.namespaces)
    assert {Digest.of(b"x"), Digest.of(b"y")} <= set(list_digests(store))


def test_what_is_stored_survives_a_collection_and_its_lease_goes(daemon, opened):
    store = opened("default")
    kept = store.put(b"kept")
    with store.writer("r") as writer:
        writer.append_from(io.BytesIO(b"kept as well"))
        other = writer.commit()
    chosen = store.put(b"chosen", labels={"containerd.io/gc.ref.content.0": str(kept.digest)})
    assert GC_ROOT in kept.labels
    assert GC_ROOT in other.labels
    assert GC_ROOT not in chosen.labels
    assert store.roots() == []  # our own lease is no reason to keep anything
    store.close()
    assert leases(daemon) == []
    collect(daemon)
    assert set(list_digests(opened("default"))) == {kept.digest, other.digest}


def test_an_unfinished_ingest_survives_the_store_that_began_it(daemon, opened):
    store = opened("later")
    left_behind(store, "half", b"half", total=8)
    store.close()
    collect(daemon)
    again = opened("later")
    assert again.status("half").offset == 4
    with again.writer("half") as writer:
        writer.write(b"half")
        assert writer.commit(8).digest == Digest.of(b"halfhalf")


def test_a_deleted_lease_is_made_again(daemon, opened):
    store = opened("default")
    store.put(b"first")
    for lease in leases(daemon):
        subprocess.run(daemon.ctr("leases", "delete", lease), check=True, capture_output=True)
    assert store.put(b"second").size == 6
    store.writer("r").close()


def test_images_and_leases_are_roots(daemon, opened):
    store = opened("default")
    info = store.put(b"an index")
    store.images.put("redis", Descriptor("application/x", info.digest, info.size))
    root = Root("image", "redis", info.digest, "default")
    assert store.roots() == [root]
    subprocess.run(daemon.ctr("leases", "create", "--id", "L"), check=True, capture_output=True)
    request = leases_pb2.AddResourceRequest(id="L")
    request.resource.id, request.resource.type = info.digest, "content"
    store._client.call(names.LEASES, "AddResource", request.SerializeToString(), "default")
    assert store.roots() == [root, Root("lease", "L", info.digest, "default")]
    store.images.delete("redis")
    subprocess.run(daemon.ctr("leases", "delete", "L"), check=True, capture_output=True)
    assert store.roots() == []


def test_looking_opens_nothing(opened):
    store = opened("default")
    with pytest.raises(NotFound):
        store.probe("gone", if_match=left_behind(store, "other"))
    with pytest.raises(NotFound):
        store.status("gone")
    assert [status.ref for status in store.statuses()] == ["other"]


def test_a_probe_that_comes_too_late_leaves_nothing(opened):
    store = opened("default")
    seen = left_behind(store, "r")
    real = store._ingests.status

    def vanishing(ref):
        found = real(ref)
        store._ingests.status = real
        store.abort("r")
        return found

    store._ingests.status = vanishing
    with pytest.raises(NotFound):
        store.probe("r", if_match=seen)
    assert store.statuses() == []


def test_a_probe_reports_since_when_an_ingest_is_held(daemon, opened):
    store = opened("default")
    before = time.time_ns()
    with store.writer("r") as writer:
        writer.write(b"x")
        seen = store.status("r")
        probe = store.probe("r", if_match=seen)
        assert probe.liveness is Liveness.HELD
        assert probe.holder.pid == 0  # the client's is unknown: this process is not named
        assert probe.holder.daemon == (daemon.process.pid, "containerd")
        assert before <= probe.holder.since_ns <= time.time_ns()
        assert store.holders([seen.id])[seen.id].since_ns == probe.holder.since_ns
        store.abort(seen.id, force=True)
    with opened("default").writer(seen.ref):  # another writer, of a new ingest of that ref
        assert store.holders([seen.id])[seen.id].since_ns == 0
    assert store.holders([seen.id]) == {}


def test_a_poisoned_ingest_is_known_until_its_bytes_change(opened):
    store = opened("default")
    ref = f"layer-{Digest.of(b'right')}"
    seen = left_behind(store, ref, b"wrong", total=5)
    store.probe(ref, if_match=seen)
    assert store.status(ref).refused == Digest.of(b"wrong")
    written = write_blob(store, ref, io.BytesIO(b"right"), expected=Digest.of(b"right"))
    assert (written.outcome, written.resumed_from) == ("created", 0)


def test_a_reader_continues_or_seeks(opened):
    store = opened("default")
    data = os.urandom(9 * MIB + 5)
    with store.reader(store.put(data).digest) as reader:
        assert reader.read_at(10, 0) + reader.read_at(6 * MIB, 10) == data[: 6 * MIB + 10]
        assert reader.read_at(7, 100) == data[100:107]
        assert reader.read_at(3 * MIB, 107) == data[107 : 3 * MIB + 107]
        assert reader.read_at(10 * MIB, 0) == data
        assert reader.read_at(9, len(data) - 4) == data[-4:]
        assert reader.read_at(1, len(data)) == b""


def test_a_reader_that_is_closed_half_way_leaves_no_thread(opened):
    store = opened("default")
    digest = store.put(os.urandom(12 * MIB)).digest
    for _ in range(3):
        with store.reader(digest) as reader:
            for at in range(6):
                reader.read_at(MIB, at * MIB)
    deadline = time.monotonic() + 10
    while any(thread.name == "read-ahead" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_another_has_committed_meanwhile(opened):
    store = opened("default")
    with store.writer("r") as writer:
        writer.write(b"same")
        store.put(b"same")
        with pytest.raises(AlreadyExists):
            writer.commit()
    assert store.statuses() == []


def test_a_daemon_that_restarts_is_found_again(place):
    daemon = started(place / "b")
    try:
        store = ContainerdStore(str(daemon.socket), namespaces=["default"])
        info = store.put(b"x")
        seen = left_behind(store, "r")
        writer = store.writer("live")
        daemon.process.kill()
        daemon.process.wait()
        begun = time.monotonic()
        with pytest.raises(Unavailable):
            store.statuses()
        with pytest.raises(Unavailable):
            writer.write(b"x")
        with pytest.raises(Unavailable):
            store.put(b"y")
        assert time.monotonic() - begun < 5
        daemon.start()
        assert {status.id for status in store.statuses()} >= {seen.id}
        assert store.info(info.digest) == info
        assert store.notifications() == []
        writer.close()
        with store.writer("r") as again:
            assert again.offset == 4
        store.close()
    finally:
        daemon.stop()


def test_another_daemon_on_the_same_socket_is_reported_once(place):
    first, second = started(place / "c"), None
    try:
        store = ContainerdStore(str(first.socket), namespaces=["default"])
        store.put(b"first's")
        second = started(place / "d")
        os.rename(second.socket, first.socket)
        assert list_digests(store) == []
        [news] = store.notifications()
        assert "another daemon than before" in news
        assert store.notifications() == []
        store.close()
    finally:
        first.stop()
        if second is not None:
            second.stop()


def test_a_removed_socket_is_reported_at_once(place):
    daemon = started(place / "e")
    try:
        store = ContainerdStore(str(daemon.socket), namespaces=["default"])
        os.unlink(daemon.socket)
        with pytest.raises(Unavailable, match="there is no socket"):
            store.statuses()
        store.close()
    finally:
        daemon.stop()


def test_a_ref_that_was_just_closed_is_free(opened):
    store = opened("default")
    for _ in range(20):
        with store.writer("r") as writer:
            writer.write(b"x")


def test_a_busy_ref_stays_locked_for_all(opened):
    store, other = opened("default"), opened("default")
    with store.writer("r") as writer:
        for each in (store, other):
            with pytest.raises(Locked):
                each.truncate("r")
            with pytest.raises(Locked):
                each.abort("r")
        other.abort("r", force=True)
        with pytest.raises(ContentError):
            writer.commit()
