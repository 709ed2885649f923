"""A server with many clients, slow readers, and while it stops: bounded, never committing."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from contentui.content.errors import FailedPrecondition, InvalidArgument, NotFound
from contentui.protocol import content_pb2 as pb
from contentui.servers.grpc.server import Server
from contentui.stores.local.store import LocalStore
from contentui.stores.memory import MemoryStore
from tests.unit.servers.grpc.served import (
    COMMIT,
    HELLO,
    HELLO_DIGEST,
    STAT,
    WRITE,
    Client,
    refused,
    served,
)
from tests.unit.servers.grpc.test_content_write import is_free, soon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contentui.content.digest import Digest

Code = grpc.StatusCode
MIB = 1 << 20


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """A folder whose path is short enough for a socket in it."""
    import shutil
    import tempfile

    folder = tempfile.mkdtemp(prefix="cu")
    yield Path(folder)
    shutil.rmtree(folder)


def test_a_message_over_the_limit_ends_the_stream_and_keeps_the_ingest() -> None:
    store = MemoryStore()
    with served(store) as serving:
        client = serving.client()
        stream = client.write()
        stream.send(WRITE, ref="r", data=b"x" * (16 * MIB - 200))
        code, text = refused(lambda: stream.send(WRITE, offset=-1, data=b"x" * (16 * MIB)))
        assert code is Code.RESOURCE_EXHAUSTED
        assert "larger than max" in text
        assert soon(lambda: is_free(store, "r"))
        assert store.status("r").offset == 16 * MIB - 200
        assert client.put(HELLO) == HELLO_DIGEST


def test_others_are_served_beside_200_idle_streams() -> None:
    store = MemoryStore()
    with served(store) as serving:
        crowd = serving.client()
        streams = [crowd.write() for _ in range(200)]
        for number, stream in enumerate(streams):
            stream.send(STAT, ref=f"idle-{number}")
        other = serving.client()
        assert other.put(HELLO, ref="busy") == HELLO_DIGEST
        assert len(other.call("ListStatuses").statuses) == 200
        assert [piece.data for piece in read(other)] == [HELLO]
        for stream in streams:
            stream.call.cancel()
        assert soon(lambda: store.holders([s.id for s in store.statuses()]) == {})


def read(client: Client, digest: str = HELLO_DIGEST) -> Any:
    return client.stream("Read", pb.ReadContentRequest(digest=digest))


def test_more_writers_than_allowed() -> None:
    store = MemoryStore()
    with served(store, writers=2) as serving:
        client = serving.client()
        first, second = client.write(), client.write()
        first.send(STAT, ref="1")
        second.send(STAT, ref="2")
        code, text = refused(client.write())
        assert code is Code.RESOURCE_EXHAUSTED
        assert text == "the limit of 2 open Write streams is reached: try again later"
        assert client.call("ListStatuses").statuses
        first.half_close()
        assert client.put(HELLO) == HELLO_DIGEST


class Counting(MemoryStore):
    """Counts the bytes that its readers hand out."""

    def __init__(self) -> None:
        super().__init__()
        self.handed_out = 0
        self.open = 0

    def reader(self, digest: Digest) -> Any:
        inner, store = super().reader(digest), self

        class Reader:
            size = inner.size

            def read_at(self, size: int, offset: int) -> bytes:
                store.handed_out += size
                return inner.read_at(size, offset)

            def __enter__(self) -> Reader:
                store.open += 1
                return self

            def __exit__(self, *exc: object) -> None:
                store.open -= 1

        return Reader()


def test_a_slow_reader_holds_little_and_frees_its_place() -> None:
    store = Counting()
    digest = store.put(b"x" * (64 * MIB)).digest
    with served(store, readers=1) as serving:
        client = serving.client()
        slow = read(client, digest)
        assert len(next(slow).data) == MIB
        time.sleep(0.3)  # nothing announces that the service has stopped to send
        assert store.handed_out <= 12 * MIB
        code, text = refused(read(serving.client(), digest))
        assert code is Code.RESOURCE_EXHAUSTED
        assert text == "the limit of 1 open Read and List calls is reached: try again later"
        slow.cancel()
        assert soon(lambda: store.open == 0)
        assert soon(lambda: succeeds(lambda: list(read(serving.client(), digest))))
        assert store.handed_out <= 12 * MIB + 64 * MIB


def succeeds(call: Any) -> bool:
    try:
        call()
    except grpc.RpcError:
        return False
    return True


def test_clients_that_die_half_way_free_their_refs(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path))
    with served(store) as serving:
        for number in range(20):
            client = serving.client()
            client.write().send(WRITE, ref=f"r{number % 5}-{number}", data=b"123")
            client.close()
        assert soon(lambda: store.holders([s.id for s in store.statuses()]) == {})
        assert len(store.statuses()) == 20
    assert list(store.walk()) == []
    store.close()


def test_draining_lets_a_writer_end() -> None:
    store = MemoryStore()
    with served(store) as serving:
        client = serving.client()
        stream = client.write()
        stream.send(WRITE, ref="r", data=b"hel")
        stopping = threading.Thread(target=serving.service.stop, args=(20,))
        stopping.start()
        assert soon(lambda: not serving.path.exists())
        assert soon(lambda: not succeeds(lambda: client.call("ListStatuses", timeout=1)))
        assert stream.send(COMMIT, offset=3, data=b"lo").digest == HELLO_DIGEST
        stream.half_close()
        stopping.join(10)
        assert not stopping.is_alive()
        assert serving.service.wait(0)
    assert store.info(HELLO_DIGEST).size == 5


def test_draining_cuts_off_who_does_not_end(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path))
    with served(store) as serving:
        stream = serving.client().write()
        stream.send(WRITE, ref="r", data=HELLO)
        serving.service.stop(0.1)
        assert is_free(store, "r")
        assert store.status("r").offset == 5
        assert refused(stream)[0] in (Code.CANCELLED, Code.UNAVAILABLE)
    assert list(store.walk()) == []
    store.close()


def test_a_socket_has_its_mode_and_goes_with_the_service(short_tmp: Path) -> None:
    path = short_tmp / "s"
    for mode in (0o600, 0o660):
        with Server(MemoryStore()) as service:
            service.listen_unix(str(path), mode, os.getgid())
            assert not path.exists()
            service.start()
            found = path.stat()
            assert stat.S_ISSOCK(found.st_mode)
            assert stat.S_IMODE(found.st_mode) == mode
            assert [name.name for name in short_tmp.iterdir()] == ["s"]
        assert list(short_tmp.iterdir()) == []


def test_sockets_in_the_way(short_tmp: Path) -> None:
    path = short_tmp / "s"
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as left_behind:
        left_behind.bind(str(path))
    with Server(MemoryStore()) as service:
        service.listen_unix(str(path))
        service.start()
        with (
            Server(MemoryStore()) as second,
            pytest.raises(FailedPrecondition, match="another server listens"),
        ):
            second.listen_unix(str(path))
        client = Client(f"unix:{path}")
        client.call("ListStatuses")
        client.close()
    path.write_text("precious")
    with Server(MemoryStore()) as service:
        with pytest.raises(FailedPrecondition, match="is not a socket"):
            service.listen_unix(str(path))
        with pytest.raises(InvalidArgument, match="107"):
            service.listen_unix("/tmp/" + "x" * 103)
        with pytest.raises(InvalidArgument, match="no group"):
            service.listen_unix(str(path) + "2", 0o600, "no-such-group-here")
        with pytest.raises(NotFound):
            service.listen_unix(str(short_tmp / "missing" / "s"))
    assert path.read_text() == "precious"
    assert [name.name for name in short_tmp.iterdir()] == ["s"]


def test_tcp() -> None:
    with Server(MemoryStore()) as service:
        port = service.listen_tcp("127.0.0.1", 0)
        service.start()
        client = Client(f"127.0.0.1:{port}")
        assert client.put(HELLO) == HELLO_DIGEST
        client.close()
