"""Who is writing into a real containerd, found from its open files in /proc."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from interop_live import MIB, Live, await_true

from contentui.content.errors import ReadOnly
from contentui.content.helpers import lock_holders
from contentui.content.model import backend_ref, ingest_id
from contentui.stores.daemon import OpenIngests, peer_pid
from contentui.stores.local.store import LocalStore
from contentui.stores.open import open_store
from contentui.stores.procfs import pid_with_lock
from contentui.text import holder_text

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from contentui.content.model import Holder

STALLED = ingest_id(backend_ref("default", "stalled"))
HALF = ingest_id(backend_ref("default", "half"))


@pytest.fixture
def stalled(containerd: Live) -> Iterator[subprocess.Popen[bytes]]:
    """A client that has delivered 1 MiB and hangs, with the ref locked."""
    client = containerd.begin("stalled", b"s" * MIB)
    yield client
    client.kill()
    client.communicate()
    containerd.output("content", "ingest", "stalled", given=b"s" * MIB)


def pid_of(containerd: Live) -> int:
    assert containerd.process
    return containerd.process.pid


def test_socket_and_database_lead_to_the_daemon(containerd: Live) -> None:
    assert peer_pid(str(containerd.socket)) == pid_of(containerd)
    assert pid_with_lock(str(containerd.database)) == pid_of(containerd)


def test_held_while_its_client_lives_and_free_after(
    containerd: Live, stalled: subprocess.Popen[bytes]
) -> None:
    ingests = OpenIngests(peer_pid(str(containerd.socket)))
    assert ingests.held() == {STALLED}
    stalled.kill()
    await_true(lambda: ingests.held() == frozenset())


def test_the_directory_names_the_daemon_as_holder(
    containerd: Live, stalled: subprocess.Popen[bytes]
) -> None:
    with LocalStore(str(containerd.content)) as store:
        assert store.holders([]) is not None
        ids = [status.id for status in store.statuses()]
        assert {STALLED, HALF} <= set(ids)
        held = store.holders(ids)
        assert held is not None
        assert set(held) == {STALLED}
        holder = held[STALLED]
        assert (holder.pid, holder.command, holder.clients) == (0, "", ())  # the client's
        assert holder.daemon == (pid_of(containerd), "containerd")
        stalled.kill()
        await_true(lambda: store.holders(ids) == {})


def test_a_probe_needs_write_access(containerd: Live) -> None:
    with LocalStore(str(containerd.content)) as store, pytest.raises(ReadOnly):
        store.probe("half", if_match=store.status("half"))


def test_a_daemon_that_went_away_leaves_holders_unknown(short_tmp_daemon: Live) -> None:
    client = short_tmp_daemon.begin("stalled", b"s" * MIB)
    try:
        with LocalStore(str(short_tmp_daemon.content)) as store:
            assert set(store.holders([STALLED]) or ()) == {STALLED}
            short_tmp_daemon.stop()
            assert store.holders([STALLED]) is None
            await_true(lambda: store.holders([]) is None)
            short_tmp_daemon.start()
            await_true(lambda: store.holders([STALLED]) == {})
    finally:
        client.kill()
        client.communicate()


@pytest.fixture
def short_tmp_daemon(containerd: Live) -> Iterator[Live]:
    """A containerd of its own, to be stopped."""
    with Live(containerd.place.with_name("gone"), collect=False) as daemon:
        yield daemon


def test_the_socket_names_the_clients_that_are_connected(
    containerd: Live, stalled: subprocess.Popen[bytes]
) -> None:
    """Never the daemon, nor this process."""
    with closing(open_store(f"unix://{containerd.socket}")) as store:
        ident = store.status("stalled").id

        def holder() -> Holder:
            return (lock_holders(store, [ident]) or {})[ident]

        assert holder().pid == 0
        assert holder().daemon == (pid_of(containerd), "containerd")
        assert holder().clients == ((stalled.pid, "ctr"),)
        assert holder_text(holder()).startswith(f"ctr[{stalled.pid}] through containerd (pid ")
        other = containerd.begin("other", b"o" * MIB)
        try:
            assert {client.pid for client in holder().clients} == {stalled.pid, other.pid}
            assert holder_text(holder()).startswith("one of ctr[")
        finally:
            other.kill()
            other.communicate()
        await_true(lambda: holder().clients == ((stalled.pid, "ctr"),))
