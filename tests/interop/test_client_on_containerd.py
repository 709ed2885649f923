"""Our client on a real containerd: what it lists, changes and rejects, over the socket alone."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import grpc
import pytest
from acting import FORCE, abort_plan, delete_plan, force, found, refused, truncate_plan
from interop_live import MIB, Live, await_true, unavailable
from registries import archive_of

from bench.peers import Missing
from contentui.actions.model import Concern, Result
from contentui.actions.run import run
from contentui.content.digest import Digest
from contentui.content.errors import Changed, InvalidArgument
from contentui.content.model import Liveness, backend_ref, ingest_id
from contentui.content.rules import GC_ROOT
from contentui.demo.unpackable import make_unpackable
from contentui.monitor.model import Freshness
from contentui.monitor.monitor import Monitor
from contentui.present.plans import effect
from contentui.protocol import leases_pb2, names
from contentui.stores.open import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from contentui.content.store import Store

IMAGE = make_unpackable(4, [100_000, 50_000])
LAYER = Digest.of(IMAGE.layers[0])
NAME = "localhost/made:4"


@pytest.fixture(scope="module")
def node(short_tmp: Path) -> Iterator[Live]:
    """A containerd that collects garbage only when the test starts it."""
    try:
        with Live(short_tmp / "n", collect=False) as daemon:
            yield daemon
    except Missing as missing:
        unavailable(str(missing))


@pytest.fixture
def store(node: Live) -> Iterator[Store]:
    opened = open_store(f"unix://{node.socket}?namespace=default")
    yield opened
    opened.close()


@pytest.fixture
def everything(node: Live) -> Iterator[Store]:
    opened = open_store(f"unix://{node.socket}")
    yield opened
    opened.close()


def interrupted(node: Live, ref: str, data: bytes, namespace: str = "default") -> None:
    """An ingest whose client died after ``data``."""
    argv = ["ctr", "-a", str(node.socket), "-n", namespace, "content", "ingest", ref]
    client = subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert client.stdin
    client.stdin.write(data)
    client.stdin.flush()
    await_true(lambda: node.offsets().get(f"{namespace}/1/{ref}") == len(data))
    client.kill()
    client.communicate()
    await_true(lambda: is_closed(node, f"{namespace}/1/{ref}"))


def is_closed(node: Live, ref: str) -> bool:
    """Whether the daemon has noticed that the only client of an ingest is gone."""
    place = node.content / "ingest" / ingest_id(ref)
    return (place / "updatedat").read_bytes() != (place / "startedat").read_bytes()


def ingest(node: Live, namespace: str, data: bytes, *labels: str) -> Digest:
    def ctr(*arguments: str, given: bytes = b"") -> None:
        argv = ["ctr", "-a", str(node.socket), "-n", namespace, "content", *arguments]
        subprocess.run(argv, input=given, capture_output=True, check=True)

    digest = Digest.of(data)
    ctr("ingest", f"in-{digest[-8:]}", given=data)
    if labels:
        ctr("label", digest, *labels)
    return digest


def test_an_ingest_is_the_one_on_its_disk(node: Live, store: Store) -> None:
    interrupted(node, "disk", b"d" * MIB)
    status = found(store, "disk")
    assert (status.offset, status.total) == (MIB, 0)
    assert status.id == ingest_id(backend_ref("default", "disk"))
    assert (node.content / "ingest" / status.id / "data").stat().st_size == MIB
    force(store, abort_plan(store, status))
    assert not (node.content / "ingest" / status.id).exists()


def test_looking_makes_nothing_and_takes_no_lock(node: Live, store: Store) -> None:
    client = node.begin("busy", b"b" * MIB)
    before = node.offsets()
    monitor = Monitor(store)
    for _ in range(5):
        monitor.tick()
    assert node.offsets() == before
    client.stdin.write(b"c" * MIB)
    client.stdin.close()
    assert client.wait(20) == 0
    assert store.info(Digest.of(b"b" * MIB + b"c" * MIB)).size == 2 * MIB


def test_an_idle_ingest_is_truncated_through_the_daemon(node: Live, store: Store) -> None:
    interrupted(node, "idle", b"i" * MIB)
    await_true(lambda: store.probe("idle", if_match=found(store, "idle")).liveness is Liveness.FREE)
    probe = store.probe("idle", if_match=found(store, "idle"))
    assert probe.digest == Digest.of(b"i" * MIB)
    force(store, truncate_plan(store, found(store, "idle")))
    assert found(store, "idle").offset == 0
    assert node.offsets()["default/1/idle"] == 0
    force(store, abort_plan(store, found(store, "idle")))


def test_a_probe_of_what_is_gone_makes_nothing(node: Live, store: Store) -> None:
    interrupted(node, "gone", b"g" * MIB)
    shown = found(store, "gone")
    store.abort("gone", force=True)
    with pytest.raises(Exception, match="gone"):
        store.probe("gone", if_match=shown)
    assert "default/1/gone" not in node.offsets()


def test_what_an_image_needs_goes_only_by_force(node: Live, store: Store) -> None:
    archive = archive_of(IMAGE, NAME)
    node.output("images", "import", "--snapshotter", "native", "-", given=archive)
    plan, needs = delete_plan(store, LAYER)
    (step,) = plan.steps
    assert step.concerns == {Concern.REFERENCED}
    assert step.referrers
    assert NAME in " ".join(need.name for need in step.referrers)
    assert "it is needed by" in refused(run(store, plan, referrers=needs))
    assert b" complete (" in node.output("images", "check")
    (outcome,) = run(store, plan, allow=FORCE, referrers=needs)
    assert outcome.result is Result.DONE
    assert b"incomplete (" in node.output("images", "check")
    node.output("images", "import", "--snapshotter", "native", "-", given=archive)
    assert b" complete (" in node.output("images", "check")
    assert NAME in {image.name for image in store.images.list()}


@pytest.fixture
def leases(node: Live) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"unix:{node.socket}") as channel:
        yield channel


def test_what_a_lease_holds_is_named(node: Live, store: Store, leases: grpc.Channel) -> None:
    digest = ingest(node, "default", b"leased")

    def call(name: str, request: object) -> None:
        leases.unary_unary(
            names.method(names.LEASES, name),
            request_serializer=lambda message: message.SerializeToString(),
        )(request, metadata=[(names.NAMESPACE, "default")], timeout=10)

    call("Create", leases_pb2.CreateRequest(id="keeper"))
    resource = leases_pb2.Resource(id=digest, type="content")
    call("AddResource", leases_pb2.AddResourceRequest(id="keeper", resource=resource))
    assert ("lease", "keeper", digest) in {root[:3] for root in store.roots()}
    plan, needs = delete_plan(store, digest)
    (step,) = plan.steps
    assert [(need.by, need.name) for need in step.referrers or ()] == [("lease", "keeper")]
    assert "lease keeper" in refused(run(store, plan, referrers=needs))
    call("Delete", leases_pb2.DeleteRequest(id="keeper"))
    plan, needs = delete_plan(store, digest)
    assert plan.steps[0].concerns == set()
    (outcome,) = run(store, plan, referrers=needs)
    assert outcome.result is Result.DONE


def of_ref(store: Store, ref: str) -> list[tuple[str, int]]:
    """Namespaces and offsets of the ingests of a ref."""
    return sorted(
        (status.namespace, status.offset) for status in store.statuses() if status.ref == ref
    )


def test_one_ref_in_two_namespaces_is_two_ingests(node: Live, everything: Store) -> None:
    interrupted(node, "same", b"1" * MIB)
    interrupted(node, "same", b"2" * (2 * MIB), "other")
    await_true(lambda: len(of_ref(everything, "same")) == 2)  # a new namespace is noticed
    assert of_ref(everything, "same") == [("default", MIB), ("other", 2 * MIB)]
    with pytest.raises(InvalidArgument, match=r"default.*other"):
        everything.status("same")
    with pytest.raises(InvalidArgument):
        everything.abort("same", force=True)
    theirs = found(everything, "same", "other")
    assert everything.status(theirs.id).offset == 2 * MIB
    force(everything, abort_plan(everything, theirs))
    assert everything.status("same").namespace == "default"
    assert "default/1/same" in node.offsets()
    force(everything, abort_plan(everything, found(everything, "same")))


def test_one_blob_in_two_namespaces_is_one_blob(node: Live, everything: Store) -> None:
    data = b"in two namespaces"
    root = {GC_ROOT: "now"}  # else the collector may come first
    digest = ingest(node, "default", data, "a=1", "both=first", f"{GC_ROOT}=now")
    ingest(node, "other", data, "b=2", "both=second", f"{GC_ROOT}=now")
    (info,) = [info for info in everything.walk() if info.digest == digest]
    assert info.namespaces == ("default", "other")
    assert info.labels == {"a": "1", "b": "2", "both": "first", **root}
    alone = everything.info(digest)  # 1.6 tells only there when labels changed
    assert alone._replace(updated_ns=info.updated_ns) == info
    with pytest.raises(InvalidArgument):
        everything.update(digest, {"x": "y"}, ["labels.x"])
    with open_one(node, "default") as default:
        assert default.info(digest).labels == {"a": "1", "both": "first", **root}
    plan, needs = delete_plan(everything, digest)
    assert "default, other" in effect(plan.steps[0], plan)
    (outcome,) = run(everything, plan, allow=FORCE, referrers=needs)
    assert outcome.result is Result.DONE
    assert digest not in {info.digest for info in everything.walk()}


class open_one:  # noqa: N801  (used like contextlib.closing)
    """A store of one namespace, closed at the end."""

    def __init__(self, node: Live, namespace: str) -> None:
        self.store = open_store(f"unix://{node.socket}?namespace={namespace}")

    def __enter__(self) -> Store:
        return self.store

    def __exit__(self, *exc: object) -> None:
        self.store.close()


def await_both(store: Store) -> None:
    """Wait until a store of all namespaces has noticed a new one."""
    await_true(lambda: {"default", "other"} <= {n for i in store.walk() for n in i.namespaces})


def outcome_of_delete_after(node: Live, store: Store, digest: Digest, *deeds: str) -> str:
    """Why a deletion that was planned before ``deeds`` skips the blob; each is NAMESPACE VERB."""
    plan, needs = delete_plan(store, digest)
    for deed in deeds:
        namespace, verb = deed.split()
        if verb == "gets":
            ingest(node, namespace, b"known to more")
        else:
            argv = ["ctr", "-a", str(node.socket), "-n", namespace, "content", "rm", digest]
            subprocess.run(argv, check=True, capture_output=True)
    (outcome,) = run(store, plan, allow=FORCE, referrers=needs)
    assert outcome.result is Result.SKIPPED
    return outcome.reason


def test_a_blob_is_deleted_only_from_the_namespaces_in_the_plan(
    node: Live, everything: Store
) -> None:
    digest = ingest(node, "other", b"known to more")
    ingest(node, "default", b"so that there is one")
    await_both(everything)
    assert "default, other" in outcome_of_delete_after(node, everything, digest, "default gets")
    assert everything.info(digest).namespaces == ("default", "other")
    anew = outcome_of_delete_after(node, everything, digest, "default removes", "default gets")
    assert "stored again" in anew
    assert everything.info(digest).namespaces == ("default", "other")
    shown = everything.info(digest)
    with pytest.raises(Changed, match="other namespaces"):
        everything.delete(digest, if_match=shown._replace(namespaces=("other",)))
    everything.delete(digest, if_match=shown)


def test_deleting_in_one_namespace_leaves_the_other(node: Live, everything: Store) -> None:
    digest = ingest(node, "default", b"in both")
    ingest(node, "other", b"in both")
    await_both(everything)
    with open_one(node, "other") as other:
        plan, needs = delete_plan(other, digest)
        run(other, plan, allow=FORCE, referrers=needs)
    assert everything.info(digest).namespaces == ("default",)
    with everything.reader(digest) as reader:
        assert reader.read_at(100, 0) == b"in both"


def test_what_it_stores_is_kept_and_read_by_ctr(node: Live, store: Store) -> None:
    data = bytes(range(256)) * 20_000
    with store.writer("ours", total=len(data)) as writer:
        writer.write(data[:MIB])
        writer.write(data[MIB:])
        info = writer.commit(len(data), Digest.of(data), {"mine": "yes"})
    assert node.output("content", "get", info.digest) == data
    listed = node.output("content", "ls").decode()
    (line,) = [line for line in listed.splitlines() if line.startswith(info.digest)]
    assert "mine=yes" in line


def test_labels_are_changed_one_by_one(node: Live, store: Store) -> None:
    digest = ingest(node, "default", b"labelled", "containerd.io/gc.root=x", "other=kept")
    store.update(digest, {"new": "1"}, ["labels.new"])
    assert store.info(digest).labels == {"containerd.io/gc.root": "x", "other": "kept", "new": "1"}
    store.update(digest, {}, ["labels.new"])
    line = node.output("content", "ls").decode()
    assert "new=1" not in line
    assert "other=kept" in line


def test_it_lives_through_a_restart_of_the_daemon(node: Live, store: Store) -> None:
    interrupted(node, "across", b"a" * MIB)
    monitor = Monitor(store)
    before = monitor.tick()
    node.stop()
    await_true(lambda: monitor.tick().health.freshness is Freshness.STALE)
    stale = monitor.tick()
    assert stale.ingests == before.ingests
    assert stale.health.reason
    node.start()
    await_true(lambda: monitor.tick().health.freshness is not Freshness.STALE, 20)
    again = monitor.tick()
    assert [row.status.ref for row in again.ingests] == [row.status.ref for row in before.ingests]
    force(store, abort_plan(store, found(store, "across")))


@pytest.mark.usefixtures("node")  # to skip without a daemon
def test_the_first_namespace_of_a_new_daemon_is_seen_soon(short_tmp: Path) -> None:
    with Live(short_tmp / "new", collect=False) as daemon:
        store = open_store(f"unix://{daemon.socket}")
        assert store.statuses() == []
        interrupted(daemon, "first", b"1" * MIB)
        await_true(lambda: of_ref(store, "first") == [("default", MIB)], 2)
        store.close()


@pytest.mark.usefixtures("node")  # to skip without a daemon
def test_it_reports_another_daemon(short_tmp: Path) -> None:
    first, second = Live(short_tmp / "d1", collect=False), Live(short_tmp / "d2", collect=False)
    with first:
        store = open_store(f"unix://{first.socket}?namespace=default")
        monitor = Monitor(store)
        monitor.tick()
    second.socket = first.socket
    with second:
        told: list[str] = []

        def heard() -> bool:
            told.extend(monitor.tick().notices)
            return bool(told)

        await_true(heard, 20)
        assert "another" in told[0]
        store.close()
