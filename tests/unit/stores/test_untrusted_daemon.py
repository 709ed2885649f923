"""Our client on a daemon that lies, swamps or keeps quiet: bounded, never sure without cause."""

from __future__ import annotations

import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from contentui.content.digest import Digest
from contentui.content.errors import Changed, ContentError, NotFound, ResourceExhausted
from contentui.index.content_index import ContentIndex
from contentui.protocol import (
    content_pb2,
    images_pb2,
    introspection_pb2,
    leases_pb2,
    names,
    namespaces_pb2,
)
from contentui.stores.containerd import blobs, images
from contentui.stores.containerd import leases as containerd_leases
from contentui.stores.containerd.store import ContainerdStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DATA = b"wanted"
DIGEST = Digest.of(DATA)


class Daemon(grpc.GenericRpcHandler):
    """Responds as a containerd with one blob; a test can replace the response of each method."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.answers: dict[str, Callable[[Any, grpc.ServicerContext], Any]] = {
            "Server": lambda *_: introspection_pb2.ServerResponse(uuid="u"),
            "Plugins": lambda *_: introspection_pb2.PluginsResponse(
                plugins=[introspection_pb2.Plugin(type="io.containerd.metadata.v1", id="bolt")]
            ),
            f"{names.NAMESPACES}/List": lambda *_: namespaces_pb2.ListNamespacesResponse(
                namespaces=[namespaces_pb2.Namespace(name="default")]
            ),
            f"{names.IMAGES}/List": lambda *_: images_pb2.ListImagesResponse(),
            f"{names.LEASES}/List": lambda *_: leases_pb2.ListResponse(),
            f"{names.CONTENT}/List": lambda *_: iter([listed(DIGEST)]),
            "Info": lambda *_: content_pb2.InfoResponse(info=info(DIGEST)),
            "Read": lambda *_: iter([content_pb2.ReadContentResponse(data=DATA)]),
        }

    def service(self, details: Any) -> grpc.RpcMethodHandler[Any, Any] | None:
        path = details.method.strip("/")
        behaviour = self.answers.get(path) or self.answers.get(path.rpartition("/")[2])
        if behaviour is None:
            return None
        self.calls.append(path.rpartition("/")[2])
        if path in {f"{names.CONTENT}/List", f"{names.CONTENT}/Read"}:
            return grpc.unary_stream_rpc_method_handler(behaviour, None, serialized)
        if path == f"{names.CONTENT}/Write":
            return grpc.stream_stream_rpc_method_handler(behaviour, None, serialized)
        return grpc.unary_unary_rpc_method_handler(behaviour, None, serialized)


def serialized(message: Any) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()


def info(digest: str, size: int = len(DATA)) -> content_pb2.Info:
    made = content_pb2.Info(digest=digest, size=size)
    made.created_at.seconds = 1_700_000_000
    return made


def listed(*digests: str) -> content_pb2.ListContentResponse:
    return content_pb2.ListContentResponse(info=map(info, digests))


def refuses(code: grpc.StatusCode, text: str) -> Callable[[Any, grpc.ServicerContext], Any]:
    return lambda _, context: context.abort(code, text)


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    place = Path(tempfile.mkdtemp(prefix="cui-"))
    made = Daemon()
    server = grpc.server(ThreadPoolExecutor(4), handlers=[made])
    server.add_insecure_port(f"unix:{place}/s")
    server.start()
    made.socket = f"{place}/s"  # type: ignore[attr-defined]  # only this fixture knows it
    yield made
    server.stop(0).wait()
    shutil.rmtree(place)


@pytest.fixture
def store(daemon: Daemon) -> Iterator[ContainerdStore]:
    opened = ContainerdStore(daemon.socket, timeout_s=5)  # type: ignore[attr-defined]
    yield opened
    opened.close()


def needs(store: ContainerdStore) -> object:
    index = ContentIndex(store)
    assert index.refresh(5)
    return index.referrers(DIGEST)


def test_a_blob_is_unreferenced_only_after_a_complete_response(daemon, store):
    assert needs(store) == ()
    for service in (names.IMAGES, names.LEASES):
        method = f"{service}/List"
        well = daemon.answers[method]
        for code in grpc.StatusCode:
            if code is not grpc.StatusCode.OK:
                daemon.answers[method] = refuses(code, "no")
                assert needs(store) is None, (method, code)
        daemon.answers[method] = lambda *_: b"\xff\xff"
        assert needs(store) is None
        daemon.answers[method] = well
    assert needs(store) == ()


def test_more_leases_than_are_looked_at_make_it_unknown(daemon, store, monkeypatch):
    daemon.answers[f"{names.LEASES}/List"] = lambda *_: leases_pb2.ListResponse(
        leases=[leases_pb2.Lease(id=f"lease-{number}") for number in range(5)]
    )
    resource = leases_pb2.Resource(id=DIGEST, type="content")
    daemon.answers["ListResources"] = lambda data, _: leases_pb2.ListResourcesResponse(
        resources=[resource] * (b"lease-4" in data)
    )
    assert [need.name for need in needs(store)] == ["lease-4"]
    monkeypatch.setattr(containerd_leases, "MAX_LEASES", 4)
    assert needs(store) is None
    monkeypatch.undo()
    monkeypatch.setattr(images, "MAX_IMAGES", 0)
    monkeypatch.setattr(images, "MAX_LEASED", 0)
    assert needs(store) is None


@pytest.mark.parametrize("message", [b"", listed(DIGEST).SerializeToString()])
def test_a_listing_without_an_end_ends(daemon, store, monkeypatch, message):
    def forever(*_: object) -> Iterator[bytes]:
        while True:
            yield message

    daemon.answers[f"{names.CONTENT}/List"] = forever
    monkeypatch.setattr(blobs, "MAX_BLOBS", 500)
    with pytest.raises(ResourceExhausted):
        list(store.walk())
    monkeypatch.undo()
    if message:
        monkeypatch.setattr(blobs, "MAX_LISTED", 10_000)
        with pytest.raises(ResourceExhausted):
            list(store.walk())


def test_reading_ends_whatever_comes(daemon, store):
    def empty(*_: object) -> Iterator[bytes]:
        while True:
            yield b""

    daemon.answers["Read"] = empty
    began = time.monotonic()
    with pytest.raises(ContentError), store.reader(DIGEST) as reader:
        reader.read_at(10, 0)
    assert time.monotonic() - began < 30

    def too_much(*_: object) -> Iterator[content_pb2.ReadContentResponse]:
        while True:
            yield content_pb2.ReadContentResponse(offset=-5, data=DATA)

    daemon.answers["Read"] = too_much
    with store.reader(DIGEST) as reader:
        assert len(reader.read_at(1 << 30, 0)) <= 1 << 20


def status(ref: str, offset: int, started: int) -> content_pb2.Status:
    made = content_pb2.Status(ref=ref, offset=offset)
    made.started_at.seconds = started
    made.updated_at.seconds = started
    return made


def begun_anew(daemon: Daemon, offset: int) -> None:
    """List an ingest, and open a later one of the same ref."""
    shown = status("r", offset, 1_700_000_000)
    daemon.answers["Status"] = lambda *_: content_pb2.StatusResponse(status=shown)
    daemon.answers["ListStatuses"] = lambda *_: content_pb2.ListStatusesResponse(statuses=[shown])
    daemon.answers["Abort"] = lambda *_: b""

    def write(requests: Iterator[bytes], _: object) -> Iterator[content_pb2.WriteContentResponse]:
        for _request in requests:
            answer = content_pb2.WriteContentResponse(offset=offset)
            answer.started_at.seconds = 1_700_000_999
            yield answer
        daemon.calls.append("end of Write")

    daemon.answers["Write"] = write


def test_what_a_probe_made_goes_before_another_writer_can_have_it(daemon, store):
    begun_anew(daemon, 0)
    (seen,) = store.statuses()
    with pytest.raises(NotFound):
        store.probe("r", if_match=seen)
    assert daemon.calls[-3:] == ["Write", "Abort", "end of Write"]


def test_an_ingest_begun_anew_with_as_many_bytes_is_not_truncated(daemon, store):
    begun_anew(daemon, 7)
    (seen,) = store.statuses()
    assert seen.offset == 7
    with pytest.raises(Changed):
        store.truncate("r", if_match=seen)
    assert "Abort" not in daemon.calls


def test_numbers_that_cannot_be_are_none(daemon, store):
    wrong = content_pb2.Status(ref="r\x1b[2J", offset=-1, total=-9, expected="sha256:nonsense")
    wrong.updated_at.seconds = -(1 << 60)
    daemon.answers["ListStatuses"] = lambda *_: content_pb2.ListStatusesResponse(
        statuses=[wrong, wrong]
    )
    for found in store.statuses():
        assert (found.offset, found.total, found.updated_ns, found.expected) == (0, 0, 0, None)
    daemon.answers[f"{names.CONTENT}/List"] = lambda *_: iter([listed("../etc", DIGEST, DIGEST)])
    assert {each.digest for each in store.walk()} == {DIGEST}
