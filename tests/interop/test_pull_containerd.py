"""Our pulls into a real containerd, beside ctr's."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from interop_live import MIB, Live, await_true, unavailable

from bench.peers import Missing
from contentui.actions.model import Concern, Result
from contentui.actions.planner import Planner
from contentui.actions.run import run
from contentui.content.digest import Digest
from contentui.demo.registry import Registry, Throttle
from contentui.demo.unpackable import make_unpackable
from contentui.oci.references import parse_reference
from contentui.remotes.registry import Registry as Remote
from contentui.remotes.retry import Stopped
from contentui.remotes.settings import Settings
from contentui.stores.containerd.lease_manager import PROCESS_LABELS
from contentui.stores.open import open_store
from contentui.stores.procfs import process_identity
from contentui.transfers.model import Phase
from contentui.transfers.pull import Pull

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from contentui.content.store import Store
    from contentui.transfers.model import Transfer

IMAGE = make_unpackable(5, [200_000, 6 * MIB])
LAYER = Digest.of(IMAGE.layers[1])
SIZE = len(IMAGE.layers[1])
REF = f"default/1/layer-{LAYER}"


@pytest.fixture(scope="module")
def node(short_tmp: Path) -> Iterator[Live]:
    try:
        with Live(short_tmp / "pulls") as daemon:
            yield daemon
    except Missing as missing:
        unavailable(str(missing))


@pytest.fixture
def store(node: Live) -> Iterator[Store]:
    """Empty again after each test."""
    opened = open_store(f"unix://{node.socket}?namespace=default")
    yield opened
    opened.close()
    for kind in ("images", "leases"):
        for name in node.output(kind, "ls", "-q").decode().split():
            node.output(kind, "rm", "--sync", name)
    forget = open_store(f"unix://{node.socket}?namespace=default")
    for ingest in forget.statuses():
        forget.abort(ingest.ref, force=True)
    forget.close()
    collect(node)


@pytest.fixture
def link() -> Throttle:
    return Throttle()


@pytest.fixture
def name(link: Throttle) -> Iterator[str]:
    with Registry(link) as registry:
        yield registry.add(IMAGE, "demo/app:v1")


def collect(node: Live) -> None:
    """Run the garbage collection, and wait for it."""
    node.output("leases", "create", "--id", "passing", "--expires", "1h")
    node.output("leases", "rm", "--sync", "passing")


def blobs(node: Live) -> set[str]:
    return set(node.output("content", "ls", "-q").decode().split())


def parts() -> set[str]:
    return {str(digest) for digest in IMAGE.blobs} | {str(IMAGE.digest)}


class Ours:
    """A pull on a thread."""

    def __init__(self, store: Store, name: str, *, record: bool = True) -> None:
        self.resumed: dict[str, int] = {}
        self.error: BaseException | None = None
        self.pull = Pull(
            store, Remote(parse_reference(name), Settings()), record=record, reports=[self._report]
        )
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _report(self, transfer: Transfer) -> None:
        for part in transfer.parts:
            if part.phase is not Phase.WAITING:
                self.resumed[part.descriptor.digest] = part.resumed

    def _run(self) -> None:
        try:
            self.pull.run()
        except BaseException as error:
            self.error = error

    def end(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()


def leased(node: Live) -> list[str]:
    return node.output("leases", "ls", "-q").decode().split()


def start_and_kill(node: Live, store: Store, link: Throttle, name: str) -> None:
    """A pull by a process of its own, which gets SIGKILL in the middle of the layer."""
    link.stall_at[LAYER] = 3 * MIB
    source = f"unix://{node.socket}?namespace=default"
    argv = [sys.executable, "-m", "contentui", "--store", source, "pull", "-q", name]
    process = subprocess.Popen(argv)
    await_true(lambda: LAYER in link.stalled)
    await_true(lambda: any(status.offset >= MIB for status in store.statuses()))
    process.kill()
    process.wait()
    link.stalled.clear()
    link.stall_at.clear()


def test_the_lease_of_a_killed_pull_goes_with_the_next_one(
    node: Live, store: Store, link: Throttle, name: str
) -> None:
    start_and_kill(node, store, link, name)
    (left,) = leased(node)
    labels = node.output("leases", "ls").decode()
    assert f"contentui.io/image={name}" in labels
    assert "contentui.io/pid=" in labels
    assert "contentui.io/boot-id=" in labels
    ours = Ours(store, name)
    ours.end()
    assert ours.error is None
    assert ours.resumed[LAYER] > 0
    assert left not in leased(node)
    store.close()
    assert leased(node) == []


def test_the_lease_of_a_killed_pull_that_keeps_more_stays(
    node: Live, store: Store, link: Throttle
) -> None:
    """The tag has moved since: what the killed pull has downloaded of the old image is kept."""
    with Registry(link) as registry:
        name = registry.add(IMAGE, "demo/app:v1")
        start_and_kill(node, store, link, name)
        (left,) = leased(node)
        (before,) = [status for status in store.statuses() if str(LAYER) in status.ref]
        registry.add(make_unpackable(77, [2 * MIB]), "demo/app:v1")
        ours = Ours(store, name)
        ours.end()
        assert ours.error is None
    assert left in leased(node)
    store.close()
    collect(node)
    again = open_store(f"unix://{node.socket}?namespace=default")
    assert again.status(before.ref).offset == before.offset
    again.close()


def test_leases_of_other_images_and_of_live_processes_stay(
    node: Live, store: Store, link: Throttle, name: str
) -> None:
    start_and_kill(node, store, link, name)
    (dead,) = leased(node)
    own = process_identity(os.getpid())
    assert own is not None
    living = [f"{key}={value}" for key, value in zip(PROCESS_LABELS, own, strict=True)]
    elsewhere = [*living[:3], f"{PROCESS_LABELS[3]}=1"]
    image = f"contentui.io/image={name}"
    for lease, labels in (
        ("living", [*living, image]),
        ("elsewhere", [*elsewhere, image]),
        ("nameless", [image]),
        ("nonsense", [image, *(f"{key}=x" for key in PROCESS_LABELS)]),
    ):
        node.output("leases", "create", "--id", lease, "--expires", "1h", *labels)
    with Registry() as other:
        ours = Ours(store, other.add(make_unpackable(6, [2 * MIB]), "demo/app:v1"))
        ours.end()
        assert ours.error is None
    assert dead in leased(node)
    ours = Ours(store, name)
    ours.end()
    assert ours.error is None
    assert dead not in leased(node)
    assert {"living", "elsewhere", "nameless", "nonsense"} <= set(leased(node))


def test_the_collector_leaves_alone_what_comes_in(
    node: Live, store: Store, link: Throttle, name: str
) -> None:
    link.stall_at[LAYER] = 3 * MIB
    ours = Ours(store, name)
    await_true(lambda: LAYER in link.stalled)
    small = parts() - {str(LAYER)}
    await_true(lambda: small <= blobs(node))
    collect(node)
    assert small <= blobs(node)
    assert node.output("leases", "ls", "-q").split()
    link.stalled.clear()
    ours.end()
    assert ours.error is None
    store.close()
    assert node.output("leases", "ls", "-q").split() == []
    collect(node)
    assert parts() <= blobs(node)
    assert b"complete (3/3)" in node.output("images", "check", f"name=={name}")
    node.output("images", "rm", "--sync", name)
    assert not parts() & blobs(node)  # nothing of ours keeps it for good


def test_what_is_fetched_without_a_name_stays(node: Live, store: Store, name: str) -> None:
    ours = Ours(store, name, record=False)
    ours.end()
    assert ours.error is None
    store.close()
    collect(node)
    assert parts() <= blobs(node)
    assert node.output("images", "ls", "-q") == b""
    node.output("content", "rm", str(IMAGE.digest))
    collect(node)
    assert not parts() & blobs(node)


def test_we_go_on_where_ctr_was_killed(node: Live, store: Store, link: Throttle, name: str) -> None:
    link.stall_at[LAYER] = 3 * MIB
    argv = node.ctr("content", "fetch", "--plain-http", name)
    ctr = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    await_true(lambda: LAYER in link.stalled)
    await_true(lambda: node.offsets().get(REF, 0) >= MIB)
    ctr.kill()
    ctr.wait()
    there = node.offsets()[REF]
    link.stalled.clear()
    ours = Ours(store, name)
    ours.end()
    assert ours.error is None
    assert ours.resumed[LAYER] >= there
    assert b"complete (3/3)" in node.output("images", "check", f"name=={name}")


def test_ctr_goes_on_where_we_were_stopped(
    node: Live, store: Store, link: Throttle, name: str
) -> None:
    link.stall_at[LAYER] = 3 * MIB
    ours = Ours(store, name)
    await_true(lambda: LAYER in link.stalled)
    await_true(lambda: node.offsets().get(REF, 0) >= MIB)
    ours.pull.stop()
    ours.end()
    assert isinstance(ours.error, Stopped)
    store.close()
    there = node.offsets()[REF]
    link.stalled.clear()
    link.cuts[LAYER] = [there - 1]  # who starts over is cut off there
    node.output("content", "fetch", "--plain-http", name)
    assert link.cuts[LAYER] == [there - 1]
    assert parts() <= blobs(node)


def test_wrong_bytes_of_another_client_are_not_built_upon(
    node: Live, store: Store, name: str
) -> None:
    client = node.begin(f"layer-{LAYER}", b"w" * MIB)
    client.kill()
    client.communicate()
    first = Ours(store, name)
    first.end()
    assert first.error is not None
    assert "unexpected commit digest" in str(first.error)
    second = Ours(store, name)
    second.end()
    assert second.error is None
    assert second.resumed[LAYER] == 0
    assert parts() <= blobs(node)


def blob_bytes(node: Live) -> int:
    """Bytes of all blobs as they lie on disk."""
    return sum(path.stat().st_size for path in (node.content / "blobs" / "sha256").iterdir())


def pull_whole(node: Live, name: str) -> None:
    """Pull by a store of its own, whose lease ends with it."""
    opened = open_store(f"unix://{node.socket}?namespace=default")
    with Remote(parse_reference(name), Settings()) as remote:
        Pull(opened, remote).run()
    opened.close()


def test_a_plan_counts_what_the_collector_removes(node: Live, store: Store, name: str) -> None:
    other = make_unpackable(6, [300_000])
    with Registry() as registry:
        for image in (name, registry.add(other, "demo/other:v1")):
            pull_whole(node, image)
    kept = store.info(Digest.of(other.manifest)).digest
    before = blob_bytes(node)
    planner = Planner(store)
    plan = planner.delete([store.info(IMAGE.digest)])
    (step,) = plan.steps
    assert Concern.COLLECTED in step.concerns
    assert {str(info.digest) for info in step.unreferenced} == parts() - {str(IMAGE.digest)}
    (outcome,) = run(store, plan, allow=frozenset(Concern), referrers=planner.referrer_refresher())
    assert outcome.result is Result.DONE
    await_true(lambda: not blobs(node) & parts())
    await_true(lambda: before - blob_bytes(node) == plan.lost_bytes)
    assert str(kept) in blobs(node)


def test_removing_a_name_counts_all_that_goes(node: Live, store: Store, name: str) -> None:
    pull_whole(node, name)
    (image,) = store.images.list()
    before = blob_bytes(node)
    plan = Planner(store).untag([image])
    (outcome,) = run(store, plan)
    assert outcome.result is Result.DONE
    collect(node)
    await_true(lambda: before - blob_bytes(node) == plan.lost_bytes)
