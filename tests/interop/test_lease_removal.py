"""Leases of a real containerd: listed, planned, deleted, and what goes with them."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from interop_live import MIB, Live, await_true, unavailable

from bench.peers import Missing
from contentui.actions.model import Concern, Result
from contentui.actions.planner import Planner
from contentui.actions.run import run
from contentui.cli.exits import Exit
from contentui.cli.main import main
from contentui.content.errors import NotFound
from contentui.content.helpers import put_blob
from contentui.stores.open import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from contentui.actions.model import Outcome, Plan
    from contentui.content.model import Lease
    from contentui.content.store import Store


@pytest.fixture(scope="module")
def node(short_tmp: Path) -> Iterator[Live]:
    try:
        with Live(short_tmp / "leases") as daemon:
            yield daemon
    except Missing as missing:
        unavailable(str(missing))


@pytest.fixture
def source(node: Live) -> str:
    return f"unix://{node.socket}?namespace=default"


@pytest.fixture
def store(node: Live, source: str) -> Iterator[Store]:
    opened = open_store(source)
    yield opened
    for status in opened.statuses():
        with suppress(NotFound):  # the collector was faster
            opened.abort(status.ref, force=True)
    opened.close()
    for lease in node.output("leases", "ls", "-q").decode().split():
        node.output("leases", "rm", "--sync", lease)


def leave(source: str, ref: str, size: int) -> None:
    """An unfinished ingest under a lease, by a client that has gone.

    Each ``ref`` once: containerd may resume the data of a collected ingest under the same one.
    """
    other = open_store(source)
    with other.writer(ref, total=2 * size) as writer:
        writer.write(bytes(size))
    other.close()


def only(store: Store) -> Lease:
    assert store.roles.leasing is not None
    (lease,) = store.roles.leasing.list_leases()
    return lease


def test_what_only_a_lease_keeps_is_counted_and_goes(node: Live, store: Store, source: str) -> None:
    leave(source, "left-1", 3 * MIB)
    lease = only(store)
    assert lease.ingests == ("left-1",)
    assert lease.expires_ns > lease.created_ns
    planner = Planner(store)
    plan = planner.release([lease])
    assert plan.lost_bytes == 3 * MIB
    assert plan.concerns == {Concern.HOLDER_UNKNOWN, Concern.COLLECTED}
    (outcome,) = run(store, plan)
    assert outcome.result is Result.REFUSED
    refresher = planner.referrer_refresher()
    (outcome,) = run(
        store,
        plan,
        allow=frozenset(Concern),
        referrers=refresher,
        unreferenced=refresher.unreferenced,
    )
    assert outcome.result is Result.DONE
    node.output("leases", "create", "--id", "collect")
    node.output("leases", "rm", "--sync", "collect")
    assert store.statuses() == []


def test_a_lease_that_keeps_more_than_was_shown_stays(store: Store, source: str) -> None:
    leave(source, "left-2", MIB)
    lease = only(store)
    planner = Planner(store)
    plan = planner.release([lease._replace(ingests=())])
    (outcome,) = run(store, plan, allow=frozenset(Concern))
    assert outcome.result is Result.SKIPPED
    assert "keeps more than was shown" in outcome.reason
    assert only(store).id == lease.id


def only_outcome(store: Store, plan: Plan) -> Outcome:
    (outcome,) = run(store, plan, allow=frozenset(Concern))
    return outcome


def test_an_ingest_that_changed_since_it_was_shown_stays(store: Store, source: str) -> None:
    leave(source, "grows", MIB)
    plan = Planner(store).release([only(store)])
    leave(source, "grows", MIB)  # resumed by another client, under a lease of its own
    first = plan.steps[0].target
    assert store.roles.leasing is not None
    (second,) = [each for each in store.roles.leasing.list_leases() if each.id != first.id]
    store.roles.leasing.delete_lease(second)
    outcome = only_outcome(store, plan)
    assert outcome.result is Result.SKIPPED
    assert "its ingest 'grows' has changed: it received bytes" in outcome.reason
    assert store.status("grows").offset == 2 * MIB


def test_an_ingest_of_which_it_has_become_the_last_lease_stays(store: Store, source: str) -> None:
    leave(source, "shared", MIB)
    first = only(store)
    leave(source, "shared", MIB)
    plan = Planner(store).release([first])
    assert plan.lost_bytes == 0
    assert store.roles.leasing is not None
    (second,) = [each for each in store.roles.leasing.list_leases() if each.id != first.id]
    both = Planner(store).release([first, second])
    assert both.lost_bytes == 2 * MIB  # once
    store.roles.leasing.delete_lease(second)
    outcome = only_outcome(store, plan)
    assert outcome.result is Result.SKIPPED
    assert "it has become all that keeps 'shared'" in outcome.reason


def test_leases_that_share_an_ingest_go_together(store: Store, source: str) -> None:
    leave(source, "together", MIB)
    leave(source, "together", MIB)
    assert store.roles.leasing is not None
    plan = Planner(store).release(store.roles.leasing.list_leases())
    outcomes = run(store, plan, allow=frozenset(Concern))
    assert [outcome.result for outcome in outcomes] == [Result.DONE] * 2
    assert store.roles.leasing.list_leases() == []


def test_one_that_is_gone_is_named(node: Live, store: Store, source: str) -> None:
    leave(source, "left-3", MIB)
    plan = Planner(store).release([only(store)])
    node.output("leases", "rm", "--sync", only(store).id)
    (outcome,) = run(store, plan, allow=frozenset(Concern))
    assert outcome.result is Result.SKIPPED
    assert outcome.reason == "it is gone: deleted or expired since it was shown"


def test_a_live_writer_is_seen(store: Store, source: str) -> None:
    other = open_store(source)
    with other.writer("live", total=2 * MIB) as writer:
        writer.write(bytes(MIB))
        await_true(lambda: store.status("live").offset > 0)
        plan = Planner(store).release([only(store)])
        assert Concern.LIVE_WRITER in plan.concerns
    other.close()


def test_the_verb(
    node: Live,
    store: Store,
    source: str,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    put_blob(store, b"kept by its label")
    leave(source, "left-4", MIB)
    (lease,) = [each for each in listed(source, capfd) if each["ingests"]]
    verb = ["--store", source, "leases"]
    assert main([*verb, "-q"]) == 0
    assert lease["lease"] in capfd.readouterr().out.split()
    assert main(verb) == 0
    assert "LEASE" in capfd.readouterr().out
    remove = [*verb, "--remove", str(lease["lease"])]
    assert main([*remove, "--dry-run"]) == 0
    shown = capfd.readouterr().out
    assert "1.05 MB lost" in shown
    assert "Nothing else keeps 1 ingest (1.05 MB)" in shown
    assert main([*remove, "--yes"]) == Exit.FAILED  # without --force
    assert "--force" in capfd.readouterr().err
    assert main([*remove, "--force", "--yes", "--json"]) == 0
    (done,) = map(json.loads, capfd.readouterr().out.splitlines())
    assert (done["verb"], done["result"], done["lost_bytes"]) == ("release", "done", MIB)
    assert (done["ingests_total"], done["ingests_bytes"]) == (1, MIB)
    assert main([*remove, "--force", "--yes"]) == Exit.NOT_FOUND
    capfd.readouterr()
    assert main(["--store", source, "journal", "--json"]) == 0
    assert '"verb":"release"' in capfd.readouterr().out


def listed(source: str, capfd: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    assert main(["--store", source, "leases", "--json"]) == 0
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_a_directory_has_none(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--store", str(tmp_path / "new"), "init"]) == 0
    assert main(["--store", str(tmp_path / "new"), "leases"]) == Exit.USAGE
    assert "nothing there collects garbage" in capfd.readouterr().err
