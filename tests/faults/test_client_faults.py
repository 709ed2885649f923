"""Daemons that die, go or are replaced, and connections that delay, swallow and break."""

from __future__ import annotations

import io
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lossy import Lossy, Way
from served import Server, await_true, child, serving, short_place

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.peers import Containerd, Missing
from contentui.content.digest import Digest
from contentui.content.errors import ContentError, Locked, NotFound, Unavailable
from contentui.content.helpers import write_blob
from contentui.content.model import Liveness
from contentui.monitor.model import Freshness
from contentui.monitor.monitor import Monitor
from contentui.stores.containerd.store import ContainerdStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1 << 20
DATA = random.Random(3).randbytes(24 * MIB)
WANTED = Digest.of(DATA)


class Ours:
    """Our service as a daemon that can be killed and started again."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.socket = server.socket

    @property
    def pid(self) -> int:
        return self.server.child.pid

    def kill(self) -> None:
        self.server.child.end(signal.SIGKILL)

    def start(self) -> None:
        self.server.start()

    def blobs(self) -> set[str]:
        return set(self.server.is_committed())


class Real:
    """A containerd likewise."""

    def __init__(self, daemon: Containerd) -> None:
        self.daemon = daemon
        self.socket = daemon.socket

    @property
    def pid(self) -> int:
        assert self.daemon.process
        return self.daemon.process.pid

    def kill(self) -> None:
        assert self.daemon.process
        self.daemon.process.kill()
        self.daemon.process.wait()

    def start(self) -> None:
        self.daemon.start()

    def blobs(self) -> set[str]:
        found = self.daemon.content / "blobs/sha256"
        return set(os.listdir(found)) if found.is_dir() else set()


Daemon = Ours | Real


@pytest.fixture(params=["ours", pytest.param("containerd", marks=pytest.mark.interop)])
def daemon(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    if request.param == "ours":
        with serving() as server:
            yield Ours(server)
        return
    with short_place() as place:
        try:
            with Containerd(place, collect=False) as real:
                yield Real(real)
        except Missing as missing:
            if os.environ.get("CONTENTUI_REQUIRE_INTEROP") == "1":
                pytest.fail(str(missing))
            pytest.skip(str(missing))


@pytest.fixture
def store(daemon: Daemon) -> Iterator[ContainerdStore]:
    opened = connect(daemon.socket)
    yield opened
    opened.close()


def connect(socket: Path, timeout_s: float = 2) -> ContainerdStore:
    return ContainerdStore(str(socket), namespaces=["default"], timeout_s=timeout_s)


def begun(store: ContainerdStore, ref: str, data: bytes = b"x" * MIB) -> None:
    """An ingest that lies there."""
    with store.writer(ref) as writer:
        writer.write(data)


def fails(deed: Callable[[], Any], kind: type[ContentError], limit_s: float = 4) -> ContentError:
    """The error that ends a deed, in words and in time."""
    start = time.monotonic()
    with pytest.raises(kind) as caught:
        deed()
    assert time.monotonic() - start < limit_s
    assert caught.value.message
    assert "Traceback" not in caught.value.message
    assert "RpcError" not in caught.value.message
    return caught.value


class Slow(io.BytesIO):
    """A source that tells how far it was read, and can be made to wait there."""

    def __init__(self, data: bytes, stop_at: int) -> None:
        super().__init__(data)
        self.stop_at = stop_at
        self.there = threading.Event()
        self.go_on = threading.Event()

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() >= self.stop_at and not self.go_on.is_set():
            self.there.set()
            assert self.go_on.wait(20)
        return super().read(min(size if size and size > 0 else MIB, MIB))


def in_background(deed: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Run it; the list gets its result, or its error."""
    out: list[Any] = []

    def run() -> None:
        try:
            out.append(deed())
        except Exception as error:
            out.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, out


def frozen(daemon: Daemon, deed: Callable[[], Any]) -> Any:
    """What comes out of a deed in the middle of which the daemon is killed."""
    os.kill(daemon.pid, signal.SIGSTOP)
    thread, out = in_background(deed)
    time.sleep(0.1)  # the request is on its way, or in the daemon's hands
    assert thread.is_alive()
    start = time.monotonic()
    daemon.kill()
    thread.join(10)
    assert out, "the call never ended"
    assert time.monotonic() - start < 3
    return out[0]


def test_killed_between_and_during_polls(daemon, store):
    begun(store, "r")
    monitor = Monitor(store)
    assert [row.status.ref for row in monitor.tick().ingests] == ["r"]

    def look_until_stale() -> Any:
        while (found := monitor.tick()).health.freshness is not Freshness.STALE:
            time.sleep(0.01)
        return found

    view = frozen(daemon, look_until_stale)
    assert view.health.freshness is Freshness.STALE
    assert view.health.reason
    for _ in range(3):
        start = time.monotonic()
        view = monitor.tick()
        assert time.monotonic() - start < 1
        assert view.health.freshness is Freshness.STALE
        assert [row.status.ref for row in view.ingests] == ["r"]
    daemon.start()
    await_true(lambda: monitor.tick().health.freshness is not Freshness.STALE, 5, "recovering")
    view = monitor.tick()
    assert [(row.status.ref, row.status.offset) for row in view.ingests] == [("r", MIB)]
    assert not store.notifications()  # the same daemon as before


def test_killed_during_an_abort(daemon, store):
    begun(store, "r")
    seen = store.status("r")
    error = frozen(daemon, lambda: store.abort("r", if_match=seen))
    assert isinstance(error, Unavailable), error
    assert error.message
    daemon.start()
    await_true(lambda: isinstance(quietly(store.statuses), list), 5, "answering again")
    left = store.statuses()
    if left:
        assert (left[0].ref, left[0].offset) == ("r", MIB)
        store.abort("r", if_match=left[0])
    assert not store.statuses()
    fails(lambda: store.abort("r"), NotFound)


def quietly(deed: Callable[[], Any]) -> Any:
    try:
        return deed()
    except ContentError as error:
        return error


def test_killed_during_an_upload_and_resumed(daemon, store):
    source = Slow(DATA, 10 * MIB)
    thread, out = in_background(
        lambda: write_blob(store, "up", source, size=len(DATA), expected=WANTED)
    )
    assert source.there.wait(20)
    daemon.kill()
    source.go_on.set()
    thread.join(10)
    assert isinstance(out[0], Unavailable), out
    assert not daemon.blobs()
    daemon.start()
    await_true(lambda: isinstance(quietly(store.statuses), list), 5, "answering again")
    assert [status.ref for status in store.statuses()] == ["up"]
    done = write_blob(store, "up", io.BytesIO(DATA), size=len(DATA), expected=WANTED, wait_s=2)
    assert done.info.digest == WANTED
    assert done.outcome == "resumed"
    assert 0 < done.resumed_from <= 10 * MIB
    assert daemon.blobs() == {WANTED.encoded}
    with store.reader(WANTED) as reader:
        assert reader.read_at(100, 15 * MIB) == DATA[15 * MIB : 15 * MIB + 100]


def test_killed_during_a_commit(daemon, store):
    """Either it is there, whole, or it isn't and the next try makes it."""
    writer = store.writer("c", total=4, expected=Digest.of(b"data"))
    writer.write(b"data")
    error = frozen(daemon, writer.commit)
    assert isinstance(error, Unavailable), error
    writer.close()
    daemon.start()
    await_true(lambda: isinstance(quietly(store.statuses), list), 5, "answering again")
    done = write_blob(store, "c", io.BytesIO(b"data"), expected=Digest.of(b"data"), wait_s=2)
    assert done.info.size == 4
    assert daemon.blobs() == {Digest.of(b"data").encoded}


def test_socket_removed(daemon, store):
    begun(store, "r")
    away = daemon.socket.with_name("away")
    daemon.socket.rename(away)
    error = fails(store.statuses, Unavailable)
    assert "no socket" in error.message
    assert error.advice
    away.rename(daemon.socket)
    assert [status.ref for status in store.statuses()] == ["r"]


def test_another_daemon_on_the_socket():
    with serving() as first, serving() as second:
        store = connect(first.socket)
        begun(store, "r")
        assert not store.notifications()
        first.child.end(signal.SIGTERM)
        fails(store.statuses, Unavailable)
        second.socket.rename(first.socket)
        await_true(lambda: quietly(store.statuses) == [], 5, "seeing the other one")
        news = store.notifications()
        assert len(news) == 1
        assert str(first.socket) in news[0]
        assert not store.notifications()
        store.close()
        first.socket.rename(second.socket)


def test_the_same_daemon_started_again_is_no_news():
    with serving() as server:
        store = connect(server.socket)
        begun(store, "r")
        server.child.end(signal.SIGTERM)
        fails(store.statuses, Unavailable)
        server.start()
        await_true(lambda: isinstance(quietly(store.statuses), list), 5, "answering again")
        assert store.statuses()[0].ref == "r"
        assert not store.notifications()
        store.close()


@pytest.fixture
def proxied(daemon: Daemon) -> Iterator[tuple[Lossy, ContainerdStore]]:
    with short_place() as place, Lossy(place / "p", daemon.socket) as proxy:
        store = connect(place / "p", 1)
        yield proxy, store
        store.close()


def test_delays_only_delay(proxied):
    proxy, store = proxied
    proxy.way, proxy.delay_s = Way.DELAY, 0.1
    done = write_blob(store, "r", io.BytesIO(b"late"), expected=Digest.of(b"late"))
    assert done.info.size == 4
    assert not store.statuses()


def test_swallowed_calls_end_in_words(proxied):
    proxy, store = proxied
    begun(store, "r")
    seen = store.status("r")
    for way in (Way.SWALLOW, Way.SWALLOW_ANSWERS):
        proxy.way = way
        for deed in (
            store.statuses,
            lambda: store.status("r"),
            lambda: store.info(WANTED),
            lambda: store.abort("r", if_match=seen),
            lambda: store.update(WANTED, {"a": "b"}, ["labels.a"]),
        ):
            fails(deed, Unavailable, 9)
        proxy.way = Way.PASS
        proxy.cut()
        await_true(lambda: isinstance(quietly(store.statuses), list), 5, "answering again")


def test_locked_is_not_lost(daemon, proxied):
    proxy, store = proxied
    direct = connect(daemon.socket)
    with direct.writer("r") as holder:
        holder.write(b"mine")
        error = fails(lambda: store.writer("r"), Locked)
        assert not isinstance(error, Unavailable)
        probe = store.probe("r", if_match=store.status("r"))
        assert probe.liveness is Liveness.HELD
        proxy.way = Way.REFUSE
        proxy.cut()
        error = fails(lambda: store.writer("r"), Unavailable)
        assert not isinstance(error, Locked)
        fails(lambda: store.probe("r", if_match=direct.status("r")), Unavailable)
        proxy.way = Way.PASS
        await_true(lambda: isinstance(quietly(lambda: store.writer("r")), Locked), 5, "telling")
        assert holder.commit().size == 4
    direct.close()


def test_an_upload_over_a_line_that_breaks(daemon, proxied):
    """Cut at random places until it is through: each try goes on where the last one broke."""
    proxy, store = proxied
    chance = random.Random(7)
    resumed = []
    for _ in range(30):
        proxy.passed, proxy.cut_after = 0, chance.randrange(MIB, 8 * MIB)
        try:
            done = write_blob(
                store, "up", io.BytesIO(DATA), size=len(DATA), expected=WANTED, wait_s=3
            )
        except Unavailable as error:
            assert error.message  # noqa: PT017 - whether it fails is chance
            assert not daemon.blobs()
            continue
        resumed.append(done.resumed_from)
        break
    assert resumed, "it never got through"
    assert resumed[0] > 0
    assert done.info.digest == WANTED
    assert daemon.blobs() == {WANTED.encoded}


def test_reading_over_a_line_that_breaks(daemon, proxied):
    proxy, store = proxied
    write_blob(store, "r", io.BytesIO(DATA), expected=WANTED)
    with store.reader(WANTED) as reader:
        assert reader.read_at(10, 0) == DATA[:10]
        proxy.cut()
        got = quietly(lambda: reader.read_at(10, 20 * MIB))
        assert got == DATA[20 * MIB : 20 * MIB + 10] or isinstance(got, Unavailable), got
        await_true(lambda: quietly(lambda: reader.read_at(5, 3)) == DATA[3:8], 5, "reading again")


def test_a_killed_client_never_commits(daemon):
    """Whole or half, what its owner didn't commit isn't a blob; its ref is free at once."""
    store = connect(daemon.socket)
    with child("hold", daemon.socket, "r") as client:
        fails(lambda: store.writer("r"), Locked)
        client.end(signal.SIGKILL)

        def is_free() -> bool:
            try:
                store.writer("r").close()
            except Locked:
                return False
            return True

        await_true(is_free, 1.5, "letting go")
    assert store.status("r").offset == len(b"half of it")
    assert not daemon.blobs()
    store.close()
