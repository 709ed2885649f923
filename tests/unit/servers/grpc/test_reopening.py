"""A ref whose client has closed its stream can be reopened; one with an active client cannot."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from contentui.servers.grpc import grpcio
from contentui.stores.local.store import LocalStore
from contentui.stores.memory import MemoryStore
from tests.unit.servers.grpc.served import COMMIT, HELLO, HELLO_DIGEST, STAT, WRITE, refused, served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.servers.grpc.served import Client, Serving, Stream

Code = grpc.StatusCode
AT_ONCE_S = 0.4
"""Well below the timeout of a second, and well above 50 ms for a loaded machine."""


@pytest.fixture(params=["known", "unknown"])
def any_grpcio(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """grpcio as it is, and one whose private parts are not as expected."""
    if request.param == "unknown":
        monkeypatch.setitem(grpcio._EXPECTED, "_Context", ("other",))
    grpcio.private_api.cache_clear()
    yield
    grpcio.private_api.cache_clear()


class SlowToClose(MemoryStore):
    """Its writers take a while to be closed, as they do when much is to be brought to the disk."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def writer(self, *args: Any, **kwargs: Any) -> Any:
        writer, close = super().writer(*args, **kwargs), self._closing
        inner = writer.close
        writer.close = lambda: close(inner)  # type: ignore[method-assign]
        return writer

    def _closing(self, inner: Any) -> None:
        time.sleep(self._seconds)
        inner()


def leave(stream: Stream) -> None:
    """Close as containerd's Go client does: without waiting for the end."""
    stream._requests.put(None)


def opened(client: Client, ref: str = "r") -> tuple[Code, float]:
    """With what and how fast an opening is refused."""
    begun = time.monotonic()
    stream = client.write()
    code, text = refused(lambda: stream.send(STAT, ref=ref))
    assert "locked for" in text
    return code, time.monotonic() - begun


@pytest.mark.usefixtures("any_grpcio")
def test_a_closed_stream_s_ref_opens_at_once_again_and_again(serving: Serving) -> None:
    client = serving.client()
    for index in range(100):
        stream = client.write()
        assert stream.send(STAT, ref="r").offset == index
        assert stream.send(WRITE, offset=index or -1, data=b"x").offset == index + 1
        leave(stream)


def test_a_client_that_did_not_read_the_last_response_can_reopen(serving: Serving) -> None:
    client = serving.client()
    for index in range(50):
        stream = client.write()
        stream.send(STAT, ref="r")
        stream.say(WRITE, offset=index or -1, data=b"x")
        leave(stream)
        again = client.write()
        assert again.send(STAT, ref="r").offset == index + 1
        leave(again)


def test_another_connection_may_reopen(serving: Serving) -> None:
    for index in range(20):
        client = serving.client()
        stream = client.write()
        stream.send(WRITE, ref="r", offset=index or -1, data=b"x")
        leave(stream)
        other = serving.client().write()
        assert other.send(STAT, ref="r").offset == index + 1
        other.half_close()
        client.close()


@pytest.mark.usefixtures("any_grpcio")
def test_an_idle_holder_is_reported_at_once(serving: Serving) -> None:
    holder, client = serving.client().write(), serving.client()
    holder.send(WRITE, ref="r", data=b"x")
    for _ in range(10):
        code, took_s = opened(client)
        assert code is Code.UNAVAILABLE
        assert took_s < AT_ONCE_S
    holder.half_close()


def test_a_busy_holder_is_reported_at_once(serving: Serving) -> None:
    holder, client = serving.client().write(), serving.client()
    holder.send(WRITE, ref="r", data=b"x")
    done = threading.Event()

    def writing() -> None:
        offset = 1
        while not done.is_set():
            offset = holder.send(WRITE, offset=offset, data=b"x" * 1000).offset

    writer = threading.Thread(target=writing)
    writer.start()
    try:
        for _ in range(10):
            code, took_s = opened(client)
            assert code is Code.UNAVAILABLE
            assert took_s < AT_ONCE_S
    finally:
        done.set()
        writer.join()
    holder.half_close()


def test_a_holder_whose_request_takes_long_is_reported_at_once() -> None:
    working, go_on = threading.Event(), threading.Event()

    class Slow(MemoryStore):
        def writer(self, *args: Any, **kwargs: Any) -> Any:
            writer = super().writer(*args, **kwargs)
            inner = writer.write

            def write(data: bytes) -> None:
                working.set()
                assert go_on.wait(10)
                inner(data)

            writer.write = write  # type: ignore[method-assign]
            return writer

    with served(Slow()) as serving:
        holder = serving.client().write()
        holder.say(WRITE, ref="r", data=b"x")
        assert working.wait(10)
        try:
            code, took_s = opened(serving.client())
        finally:
            go_on.set()
        assert code is Code.UNAVAILABLE
        assert took_s < AT_ONCE_S
        holder.half_close()


@pytest.mark.parametrize("how", ["closed", "cancelled"])
def test_a_ref_that_is_slow_to_be_free_is_waited_for(how: str) -> None:
    with served(SlowToClose(0.5)) as serving:
        client = serving.client()
        holder = client.write()
        holder.send(WRITE, ref="r", data=b"x")
        if how == "closed":
            leave(holder)
        else:
            holder.call.cancel()
        begun = time.monotonic()
        stream = client.write()
        assert stream.send(STAT, ref="r").offset == 1
        assert time.monotonic() - begun > 0.2
        stream.half_close()


def test_waiting_ends_after_a_second() -> None:
    with served(SlowToClose(3)) as serving:
        client = serving.client()
        holder = client.write()
        holder.send(WRITE, ref="r", data=b"x")
        leave(holder)
        code, took_s = opened(client)
        assert code is Code.UNAVAILABLE
        assert 0.9 < took_s < 2


def test_a_writer_outside_of_the_server_is_reported_at_once(tmp_path: Path) -> None:
    with (
        LocalStore(str(tmp_path)) as store,
        LocalStore(str(tmp_path)) as outside,
        served(store) as serving,
    ):
        client = serving.client()
        mine = client.write()
        mine.send(STAT, ref="r")
        mine.half_close()
        with outside.writer("r"):
            code, took_s = opened(client)
        assert code is Code.UNAVAILABLE
        assert took_s < AT_ONCE_S


def test_one_of_several_that_wait_gets_the_ref() -> None:
    with served(SlowToClose(0.3)) as serving:
        holder = serving.client().write()
        holder.send(WRITE, ref="r", data=b"x")
        leave(holder)
        clients = [serving.client() for _ in range(4)]
        streams = [client.write() for client in clients]
        got: list[int | Code] = []

        def try_to_open(stream: Stream) -> None:
            try:
                got.append(stream.send(STAT, ref="r").offset)
            except grpc.RpcError as error:
                got.append(error.code())

        tries = [threading.Thread(target=try_to_open, args=(stream,)) for stream in streams]
        for one in tries:
            one.start()
        for one in tries:
            one.join()
        assert sorted(got, key=str) == [1, *[Code.UNAVAILABLE] * 3]


def test_a_failed_commit_unlocks_the_ref_before_its_error(serving: Serving) -> None:
    client = serving.client()
    for index in range(20):
        stream = client.write()
        if index == 0:
            stream.send(WRITE, ref="r", data=HELLO)
        else:
            assert stream.send(STAT, ref="r").offset == len(HELLO)
        wrong = {"total": 4} if index % 2 else {"expected": "sha256:" + "0" * 64}
        code, _ = refused(lambda: stream.send(COMMIT, offset=5, **wrong))  # noqa: B023
        assert code is Code.FAILED_PRECONDITION
    stream = client.write()
    stream.send(STAT, ref="r")
    assert stream.send(COMMIT, offset=5).digest == HELLO_DIGEST
    stream.half_close()
