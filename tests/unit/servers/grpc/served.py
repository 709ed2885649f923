"""A service on a real socket with a real client, for the tests of the content service."""

from __future__ import annotations

import contextlib
import queue
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from contentui.content.digest import Digest
from contentui.protocol import content_pb2 as pb
from contentui.protocol.names import CONTENT, method
from contentui.servers.grpc.limits import Limits
from contentui.servers.grpc.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from contentui.content.store import Store

OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
]
ANSWERS = {
    "Info": pb.InfoResponse,
    "Update": pb.UpdateResponse,
    "Status": pb.StatusResponse,
    "ListStatuses": pb.ListStatusesResponse,
    "List": pb.ListContentResponse,
    "Read": pb.ReadContentResponse,
    "Write": pb.WriteContentResponse,
}
STAT, WRITE, COMMIT = pb.STAT, pb.WRITE, pb.COMMIT
HELLO = b"hello"
HELLO_DIGEST = Digest.of(HELLO)
ABSENT = Digest.of(b"absent")


def _bytes(message: Any) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()


class Client:
    """Calls of the content service by name; raw bytes are sent as they are."""

    def __init__(self, target: str) -> None:
        self.channel = grpc.insecure_channel(target, options=OPTIONS)

    def call(self, name: str, request: Any = b"", timeout: float = 20) -> Any:
        """One unary call."""
        stub = self.channel.unary_unary(
            method(CONTENT, name), _bytes, ANSWERS.get(name, pb.InfoRequest).FromString
        )
        return stub(request, timeout=timeout)

    def stream(self, name: str, request: Any = b"", timeout: float = 20) -> Any:
        """One call with a streamed answer."""
        stub = self.channel.unary_stream(method(CONTENT, name), _bytes, ANSWERS[name].FromString)
        return stub(request, timeout=timeout)

    def write(self) -> Stream:
        """A Write stream."""
        return Stream(self)

    def put(self, data: bytes, ref: str = "put", **fields: Any) -> str:
        """Store a blob in one stream; its digest."""
        with self.write() as stream:
            stream.send(WRITE, ref=ref, data=data)
            return stream.send(COMMIT, offset=len(data), **fields).digest

    def close(self) -> None:
        self.channel.close()


class Stream:
    """A Write stream, message by message."""

    def __init__(self, client: Client) -> None:
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        stub = client.channel.stream_stream(
            method(CONTENT, "Write"), _bytes, pb.WriteContentResponse.FromString
        )
        self.call = stub(iter(self._requests.get, None), timeout=30)

    def say(self, action: int, **fields: Any) -> None:
        self._requests.put(pb.WriteContentRequest(action=action, **fields))

    def raw(self, message: bytes) -> pb.WriteContentResponse:
        self._requests.put(message)
        return next(self.call)

    def send(self, action: int, **fields: Any) -> pb.WriteContentResponse:
        """One request, its answer."""
        self.say(action, **fields)
        return next(self.call)

    def half_close(self) -> list[pb.WriteContentResponse]:
        """What comes after the last request."""
        self._requests.put(None)
        return list(self.call)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exc: object) -> None:
        self._requests.put(None)
        if exc[0] is not None:
            self.call.cancel()
            return
        with contextlib.suppress(grpc.RpcError):  # it has been looked at before
            list(self.call)


@contextlib.contextmanager
def served(store: Store, **limits: Any) -> Iterator[Serving]:
    """A service of ``store``, stopped at the end."""
    folder = tempfile.mkdtemp(prefix="cu")
    path = Path(folder) / "s"
    service = Server(store, limits=Limits(**limits))
    serving = Serving(service, path)
    try:
        service.listen_unix(str(path))
        service.start()
        yield serving
    finally:
        for client in serving.clients:
            client.close()
        service.stop(0)
        shutil.rmtree(folder)


class Serving:
    """A running service."""

    def __init__(self, service: Server, path: Path) -> None:
        self.service = service
        self.path = path
        self.clients: list[Client] = []

    def client(self) -> Client:
        """A new client with a connection of its own."""
        self.clients.append(Client(f"unix:{self.path}"))
        return self.clients[-1]


def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    """The code and the text with which a call ends."""
    try:
        if isinstance(call, Stream):
            for _ in call.call:
                pass
        elif hasattr(call, "__iter__"):
            list(call)
        else:
            call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    raise AssertionError("it was not refused")


def infos(pieces: Iterable[pb.ListContentResponse]) -> list[pb.Info]:
    return [info for piece in pieces for info in piece.info]
