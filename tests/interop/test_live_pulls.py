"""Pulls by a real containerd through a slow link, watched and aborted by us over its socket."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from acting import abort_plan, force, found, refused
from interop_live import MIB, Live, await_true, unavailable

from bench.peers import Missing
from contentui.actions.model import Concern
from contentui.actions.run import run
from contentui.content.digest import Digest
from contentui.content.errors import Locked
from contentui.content.model import Liveness
from contentui.demo.registry import Registry, Throttle
from contentui.demo.unpackable import make_unpackable
from contentui.monitor.monitor import Monitor
from contentui.monitor.states import IngestState, Thresholds
from contentui.present.plans import effect
from contentui.stores.open import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from contentui.content.store import Store
    from contentui.monitor.model import IngestRow

SMALL, LARGE = 200_000, 8 * MIB
IMAGE = make_unpackable(3, [SMALL, LARGE])
LAYER = Digest.of(IMAGE.layers[1])
SIZE = len(IMAGE.layers[1])
REF = f"layer-{LAYER}"
QUICK = Thresholds(stalled_after_s=1.0)


@pytest.fixture(scope="module")
def node(short_tmp: Path) -> Iterator[Live]:
    try:
        with Live(short_tmp / "node") as daemon:
            yield daemon
    except Missing as missing:
        unavailable(str(missing))


@pytest.fixture
def store(node: Live) -> Iterator[Store]:
    opened = open_store(f"unix://{node.socket}?namespace=default")
    yield opened
    opened.close()


class Pulls:
    """Pulls of one image through one link."""

    def __init__(self, node: Live, registry: Registry) -> None:
        self.node = node
        self.link = registry.throttle
        self.name = registry.add(IMAGE, "demo/app:latest")
        self._running: list[subprocess.Popen[bytes]] = []

    def begin(self) -> subprocess.Popen[bytes]:
        argv = self.node.ctr("images", "pull", "--plain-http", "--snapshotter", "native", self.name)
        pull = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self._running.append(pull)
        return pull

    def end(self) -> None:
        for pull in self._running:
            if pull.returncode is None:
                pull.kill()
                pull.communicate()
        for kind in ("images", "leases"):
            for name in self.node.output(kind, "ls", "-q").decode().split():
                self.node.output(kind, "rm", "--sync", name)
        for ingest in self.node.offsets():  # of a client without a lease
            forget = open_store(f"unix://{self.node.socket}?namespace=default")
            forget.abort(ingest.removeprefix("default/1/"), force=True)
            forget.close()
        assert self.node.offsets() == {}


@pytest.fixture
def pulls(node: Live) -> Iterator[Pulls]:
    with Registry(Throttle()) as registry:
        made = Pulls(node, registry)
        yield made
        registry.closed.set()
        made.end()


def assert_succeeds(pull: subprocess.Popen[bytes]) -> None:
    said = pull.communicate()[1]  # ctr may log what it cancelled itself
    assert pull.returncode == 0, said


def row_of(monitor: Monitor) -> IngestRow | None:
    rows = {row.status.ref: row for row in monitor.tick().ingests}
    return rows.get(REF)


def test_a_pull_appears_with_rate_and_time_left(store: Store, pulls: Pulls) -> None:
    pulls.link.bytes_s = 4 * MIB
    monitor = Monitor(store)
    pull = pulls.begin()
    seen: list[IngestRow] = []

    def looked() -> bool:
        row = row_of(monitor)
        if row is not None:
            seen.append(row)
        return pull.poll() is not None

    await_true(looked, 20)
    assert_succeeds(pull)
    assert {(row.status.total, row.status.expected) for row in seen} == {(SIZE, LAYER)}
    assert {row.status.namespace for row in seen} == {"default"}
    offsets = [row.status.offset for row in seen]
    assert offsets == sorted(offsets)
    moving = [row for row in seen if row.state is IngestState.MOVING and row.eta_s is not None]
    assert moving
    last = moving[-1]
    assert MIB < last.rate < 8 * MIB
    assert last.eta_s == pytest.approx((SIZE - last.status.offset) / last.rate, rel=0.5, abs=0.5)
    await_true(lambda: LAYER in {blob.info.digest for blob in monitor.tick().blobs})
    assert REF not in {status.ref for status in store.statuses()}


def stalled_at(pulls: Pulls, size: int) -> subprocess.Popen[bytes]:
    """A pull whose large layer has stopped after so many bytes."""
    pulls.link.stall_at[LAYER] = size + MIB // 2
    pull = pulls.begin()
    await_true(lambda: pulls.node.offsets().get(f"default/1/{REF}") == size)
    return pull


def test_a_stalled_pull_is_aborted_and_the_retry_succeeds(store: Store, pulls: Pulls) -> None:
    pull = stalled_at(pulls, 2 * MIB)
    monitor = Monitor(store, thresholds=QUICK)

    def silent() -> bool:
        row = row_of(monitor)
        return row is not None and row.state in (IngestState.STALLED, IngestState.UNKNOWN)

    await_true(silent)
    plan = abort_plan(store, found(store, REF))
    (step,) = plan.steps
    assert step.concerns & {Concern.LIVE_WRITER, Concern.HOLDER_UNKNOWN}
    assert "until its commit fails" in effect(step, plan)
    assert "start it again" in effect(step, plan)
    assert refused(run(store, plan))
    assert found(store, REF).offset == 2 * MIB
    force(store, plan)
    assert REF not in {status.ref for status in store.statuses()}

    pulls.link.stalled.clear()
    said = pull.communicate()[1].decode()
    assert pull.returncode != 0
    assert "rename" in said
    assert "no such file or directory" in said

    again = pulls.begin()
    assert_succeeds(again)
    assert b" complete (" in pulls.node.output("images", "check")


def test_a_probe_reports_that_a_live_pull_holds_it(store: Store, pulls: Pulls) -> None:
    stalled_at(pulls, MIB)
    shown = found(store, REF)
    probe = store.probe(REF, if_match=shown)
    assert probe.liveness is Liveness.HELD
    assert probe.digest is None
    assert probe.holder
    age_s = (probe.status.updated_ns - probe.holder.since_ns) / 1e9
    assert abs(age_s) < 15
    assert (probe.status.offset, probe.status.total) == (MIB, SIZE)


def test_truncating_under_a_live_pull_is_refused(store: Store, pulls: Pulls) -> None:
    pull = stalled_at(pulls, MIB)
    with pytest.raises(Locked) as caught:
        store.truncate(REF, if_match=found(store, REF))
    assert "locked" in caught.value.message or "holds" in caught.value.message
    pulls.link.stalled.clear()
    assert_succeeds(pull)


def test_a_pull_that_was_killed_goes_on_where_it_was(store: Store, pulls: Pulls) -> None:
    pull = stalled_at(pulls, 3 * MIB)
    pull.kill()
    pull.communicate()
    await_true(lambda: store.probe(REF, if_match=found(store, REF)).liveness is Liveness.FREE)
    probe = store.probe(REF, if_match=found(store, REF))
    assert probe.digest == Digest.of(IMAGE.layers[1][: 3 * MIB])
    assert probe.status.refused is None
    pulls.link.stalled.clear()
    again = pulls.begin()
    assert_succeeds(again)
    assert store.info(LAYER).size == SIZE


def test_wrong_bytes_fail_every_retry_until_they_are_aborted(store: Store, pulls: Pulls) -> None:
    wrong = b"\0" * SIZE
    argv = pulls.node.ctr(
        "content", "ingest", "--expected-size", str(SIZE), "--expected-digest", LAYER, REF
    )
    done = subprocess.run(argv, input=wrong, capture_output=True, check=False)
    assert b"unexpected commit digest" in done.stderr
    for _ in range(2):
        failed = pulls.begin()
        assert b"unexpected commit digest" in failed.communicate()[1]
        assert failed.returncode != 0
    await_true(lambda: store.probe(REF, if_match=found(store, REF)).liveness is Liveness.FREE)
    shown = found(store, REF)
    assert (shown.offset, shown.total) == (SIZE, SIZE)
    probe = store.probe(REF, if_match=shown)
    assert probe.digest == Digest.of(wrong)
    assert probe.status.refused == Digest.of(wrong)
    monitor = Monitor(store)
    row = row_of(monitor)
    assert row
    assert row.state is IngestState.POISONED
    force(store, abort_plan(store, row.status))
    healed = pulls.begin()
    assert_succeeds(healed)
