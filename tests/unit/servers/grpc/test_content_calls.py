"""Each call of the content service: its responses, and the codes and texts of its errors."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import grpc
import pytest

from contentui.content.errors import NotFound
from contentui.protocol import content_pb2 as pb
from contentui.stores.local.store import LocalStore
from contentui.stores.memory import MemoryStore
from tests.unit.servers.grpc.served import (
    ABSENT,
    HELLO,
    HELLO_DIGEST,
    WRITE,
    infos,
    refused,
    served,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from contentui.content.digest import Digest
    from contentui.content.store import Store
    from tests.unit.servers.grpc.served import Client

Code = grpc.StatusCode


@pytest.fixture
def client(store: Store) -> Iterator[Client]:
    with served(store) as serving:
        yield serving.client()


def test_info_has_all_fields(client: Client, store: Store) -> None:
    before = time.time()
    store.put(HELLO, labels={"a/b.c": "é", "k": "v"})
    info = client.call("Info", pb.InfoRequest(digest=HELLO_DIGEST)).info
    assert (info.digest, info.size) == (HELLO_DIGEST, 5)
    assert dict(info.labels) == {"a/b.c": "é", "k": "v"}
    assert abs(info.created_at.seconds - before) < 10
    assert abs(info.updated_at.seconds - before) < 10


ERRORS = [
    ("Info", pb.InfoRequest(digest="x"), Code.INVALID_ARGUMENT, '"x" failed validation'),
    ("Info", pb.InfoRequest(), Code.INVALID_ARGUMENT, '"" failed validation'),
    ("Info", b"\xff", Code.INVALID_ARGUMENT, "malformed message"),
    ("Info", pb.InfoRequest(digest=ABSENT), Code.NOT_FOUND, f"content {ABSENT}: not found"),
    ("Delete", pb.InfoRequest(digest="sha256:A"), Code.INVALID_ARGUMENT, "failed validation"),
    ("Delete", pb.InfoRequest(digest=ABSENT), Code.NOT_FOUND, f"content {ABSENT}: not found"),
    (
        "Update",
        pb.UpdateRequest(info=pb.Info(digest=ABSENT, labels={"a": "b"})),
        Code.NOT_FOUND,
        f"content {ABSENT}: not found",
    ),
    ("Update", b"\x0a\x02\x0a\x05", Code.INVALID_ARGUMENT, "malformed message"),
    ("Update", pb.UpdateRequest(), Code.INVALID_ARGUMENT, '"" failed validation'),
    (
        "Status",
        pb.StatusRequest(ref="r"),
        Code.NOT_FOUND,
        'could not get status for ref "r": reference r: not found',
    ),
    ("Abort", pb.AbortRequest(ref="r"), Code.NOT_FOUND, "reference r: not found"),
    (
        "ListStatuses",
        pb.ListStatusesRequest(filters=["^x"]),
        Code.INVALID_ARGUMENT,
        "filters: parse error",
    ),
]


@pytest.mark.parametrize(("name", "request_", "code", "text"), ERRORS)
def test_errors(client: Client, name: str, request_: object, code: Code, text: str) -> None:
    found, details = refused(lambda: client.call(name, request_))
    assert found is code
    assert text in details


STREAM_ERRORS = [
    ("List", pb.ListContentRequest(filters=["^x"]), Code.INVALID_ARGUMENT, "filters: parse error"),
    ("List", b"\x0a", Code.INVALID_ARGUMENT, "malformed message"),
    ("Read", pb.ReadContentRequest(digest="y"), Code.INVALID_ARGUMENT, '"y" failed validation'),
    ("Read", b"\x0b", Code.INVALID_ARGUMENT, "malformed message"),
    ("Read", pb.ReadContentRequest(digest=ABSENT), Code.NOT_FOUND, f"content {ABSENT}: not found"),
    (
        "Read",
        pb.ReadContentRequest(digest=HELLO_DIGEST, offset=6),
        Code.OUT_OF_RANGE,
        "read past object length 5 bytes",
    ),
]


@pytest.mark.parametrize(("name", "request_", "code", "text"), STREAM_ERRORS)
def test_stream_errors(
    client: Client, store: Store, name: str, request_: object, code: Code, text: str
) -> None:
    store.put(HELLO)
    found, details = refused(client.stream(name, request_))
    assert found is code
    assert text in details


@pytest.mark.parametrize(
    ("offset", "size", "expected"),
    [(0, 0, b"hello"), (1, 2, b"el"), (-3, -1, b"hello"), (3, 99, b"lo"), (4, 0, b"o")],
)
def test_read_ranges(client: Client, store: Store, offset: int, size: int, expected: bytes) -> None:
    store.put(HELLO)
    request = pb.ReadContentRequest(digest=HELLO_DIGEST, offset=offset, size=size)
    [piece] = client.stream("Read", request)
    assert (piece.offset, piece.data) == (0, expected)


def test_read_of_nothing_has_no_message(client: Client, store: Store) -> None:
    store.put(HELLO)
    empty = store.put(b"").digest
    assert list(client.stream("Read", pb.ReadContentRequest(digest=empty))) == []
    request = pb.ReadContentRequest(digest=HELLO_DIGEST, offset=5)
    call = client.stream("Read", request)
    assert list(call) == []
    assert call.code() is Code.OK


def test_read_offsets_count_from_the_start_of_the_response(client: Client, store: Store) -> None:
    mib = 1 << 20
    data = bytes(range(256)) * (3 * mib // 256) + b"end"
    digest = store.put(data).digest
    pieces = list(client.stream("Read", pb.ReadContentRequest(digest=digest, offset=1)))
    assert [piece.offset for piece in pieces] == [0, mib, 2 * mib, 3 * mib]
    assert [len(piece.data) for piece in pieces] == [mib, mib, mib, 2]
    assert b"".join(piece.data for piece in pieces) == data[1:]


def test_list_is_sorted_and_in_hundreds(client: Client, store: Store) -> None:
    assert list(client.stream("List")) == []
    stored = {store.put(b"%d" % number).digest for number in range(205)}
    pieces = list(client.stream("List"))
    assert [len(piece.info) for piece in pieces] == [100, 100, 5]
    assert [info.digest for info in infos(pieces)] == sorted(stored)
    assert all(info.created_at.seconds and info.updated_at.seconds for info in infos(pieces))


def test_labels_never_make_a_listing_too_long(client: Client, store: Store) -> None:
    """A containerd in front lists everything before it collects: it must be able to."""
    many = {f"label-{number}": "v" * 4000 for number in range(1000)}
    digests = sorted(store.put(b"%d" % number, labels=many).digest for number in range(5))
    assert [info.digest for info in infos(client.stream("List"))] == digests
    more = {f"more-{number}": "v" * 4000 for number in range(1000)}
    request = pb.UpdateRequest(info=pb.Info(digest=digests[0], labels=more))
    request.update_mask.paths.extend(f"labels.{key}" for key in more)
    code, text = refused(lambda: client.call("Update", request))
    assert (code, "all labels together" in text) == (Code.INVALID_ARGUMENT, True)
    assert store.info(digests[0]).labels == many
    assert [info.digest for info in infos(client.stream("List"))] == digests


def test_list_filters(client: Client, store: Store) -> None:
    store.put(b"a", labels={"k": "1"})
    store.put(b"b", labels={"k": "2"})
    store.put(b"c")

    def listed(*filters: str) -> list[str]:
        found = infos(client.stream("List", pb.ListContentRequest(filters=filters)))
        return [info.labels.get("k", "") for info in found]

    assert listed("labels.k==1") == ["1"]
    assert sorted(listed("labels.k==1", "labels.k==2")) == ["1", "2"]
    assert sorted(listed("labels.k==1", "")) == ["", "1", "2"]
    assert list(client.stream("List", pb.ListContentRequest(filters=["labels.k==3"]))) == []


def test_list_has_changed_labels(client: Client, store: Store) -> None:
    store.put(HELLO)
    assert not infos(client.stream("List"))[0].labels
    store.update(HELLO_DIGEST, {"new": "label"})
    assert dict(infos(client.stream("List"))[0].labels) == {"new": "label"}
    store.delete(HELLO_DIGEST)
    assert list(client.stream("List")) == []


def update(client: Client, labels: dict[str, str], *paths: str) -> dict[str, str]:
    request = pb.UpdateRequest(info=pb.Info(digest=HELLO_DIGEST, labels=labels))
    request.update_mask.paths.extend(paths)
    return dict(client.call("Update", request).info.labels)


def test_update_by_mask(client: Client, store: Store) -> None:
    store.put(HELLO, labels={"a": "1", "x/y.z": "2"})
    assert update(client, {"b": "3"}, "labels.b") == {"a": "1", "x/y.z": "2", "b": "3"}
    assert update(client, {"x/y.z": "4"}, "labels.x/y.z", "labels.a") == {"x/y.z": "4", "b": "3"}
    assert update(client, {"b": ""}, "labels.b") == {"x/y.z": "4"}
    assert update(client, {"c": "5", "d": ""}, "labels") == {"c": "5"}
    assert update(client, {}) == {}


def test_update_of_another_field_changes_nothing(client: Client, store: Store) -> None:
    store.put(HELLO, labels={"a": "1"})
    for path in ("size", "digest", "Labels", "created_at"):
        code, text = refused(lambda path=path: update(client, {"a": "2"}, "labels.a", path))
        assert code is Code.INVALID_ARGUMENT
        wanted = f'cannot update "{path}" field on content info "{HELLO_DIGEST}": invalid argument'
        assert text == wanted
    assert store.info(HELLO_DIGEST).labels == {"a": "1"}
    assert refused(lambda: update(client, {"k": "x" * 5000}))[0] is Code.INVALID_ARGUMENT


def test_delete(client: Client, store: Store) -> None:
    store.put(HELLO)
    client.call("Delete", pb.DeleteContentRequest(digest=HELLO_DIGEST))
    with pytest.raises(NotFound):
        store.info(HELLO_DIGEST)


def test_status(client: Client, store: Store) -> None:
    with store.writer("r", total=10, expected=ABSENT) as writer:
        writer.write(b"1234")
        status = client.call("Status", pb.StatusRequest(ref="r")).status
        assert (status.ref, status.offset, status.total) == ("r", 4, 10)
        assert status.expected == ABSENT
        assert abs(status.started_at.seconds - time.time()) < 10
        assert abs(status.updated_at.seconds - time.time()) < 10


def listed(client: Client, *filters: str) -> dict[str, int]:
    answer = client.call("ListStatuses", pb.ListStatusesRequest(filters=filters))
    return {status.ref: status.offset for status in answer.statuses}


def test_list_statuses_is_always_current(client: Client, store: Store) -> None:
    assert listed(client) == {}
    for number in range(20):
        with store.writer(f"layer-{number}") as writer:
            assert listed(client)[f"layer-{number}"] == 0
            writer.write(b"x" * number)
        assert listed(client)[f"layer-{number}"] == number
    assert len(listed(client)) == 20
    assert listed(client, "ref~=-1$") == {"layer-1": 1}
    assert len(listed(client, "ref==nothing", "")) == 20
    store.abort("layer-3")
    assert "layer-3" not in listed(client)


def test_a_settled_list_is_refreshed(store: Store, client: Client) -> None:
    with store.writer("slow") as writer:
        for size in range(8):
            assert listed(client) == {"slow": size}
            writer.write(b"x")
            time.sleep(0.02)  # the version must have stood for a while to be trusted
    with store.writer("another"):
        assert listed(client) == {"slow": 8, "another": 0}


def test_abort_also_under_a_writer(client: Client, store: Store) -> None:
    with client.write() as stream:
        stream.send(WRITE, ref="r", data=b"12")
        client.call("Abort", pb.AbortRequest(ref="r"))
        assert store.statuses() == []
        assert stream.send(WRITE, data=b"3", offset=2).offset == 3
        code, _ = refused(lambda: stream.send(pb.COMMIT, offset=3))
        assert code in (Code.UNKNOWN, Code.DATA_LOSS)
    assert list(store.walk()) == []


def test_refs_that_are_no_text(client: Client, store: Store) -> None:
    ref = b"\xff\xfe/\n\0x"
    field = b"\x0a" + bytes((len(ref),)) + ref
    with store.writer(ref.decode("utf-8", "surrogateescape")) as writer:
        writer.write(b"123")
    stub = client.channel.unary_unary("/containerd.services.content.v1.Content/ListStatuses")
    assert ref in stub(b"")
    stub = client.channel.unary_unary("/containerd.services.content.v1.Content/Status")
    assert ref in stub(field)
    stub = client.channel.unary_unary("/containerd.services.content.v1.Content/Abort")
    stub(field)
    assert store.statuses() == []
    code, text = refused(lambda: client.call("Abort", field))
    assert code is Code.NOT_FOUND
    assert text == "reference \\xff\\xfe/\\n\\x00x: not found"


def test_long_names_do_not_break_the_trailers(client: Client) -> None:
    name = "ÿ" * 30000
    code, text = refused(lambda: client.call("Status", pb.StatusRequest(ref=name)))
    assert code is Code.NOT_FOUND
    assert text.endswith(": not found")


def test_read_only_store(tmp_path: Path) -> None:
    with LocalStore(str(tmp_path)) as store:
        store.put(HELLO)
    with LocalStore(str(tmp_path), read_only=True) as store, served(store) as serving:
        client = serving.client()
        request = pb.DeleteContentRequest(digest=HELLO_DIGEST)
        code, text = refused(lambda: client.call("Delete", request))
    assert code is Code.FAILED_PRECONDITION
    assert "it was opened read-only" in text
    assert text.endswith(": failed precondition")


def test_namespaces_are_accepted_and_ignored(client: Client, store: Store) -> None:
    store.put(HELLO)
    stub = client.channel.unary_unary(
        "/containerd.services.content.v1.Content/Info",
        pb.InfoRequest.SerializeToString,
        pb.InfoResponse.FromString,
    )
    for namespace in ("default", "k8s.io", "?? not one"):
        metadata = (("containerd-namespace", namespace), ("containerd-lease", "x"))
        assert stub(pb.InfoRequest(digest=HELLO_DIGEST), metadata=metadata).info.size == 5


def test_an_unexpected_exception_is_reported_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(MemoryStore):
        def info(self, digest: Digest) -> object:
            raise ZeroDivisionError("why")

    with served(Broken()) as serving:
        code, text = refused(
            lambda: serving.client().call("Info", pb.InfoRequest(digest=HELLO_DIGEST))
        )
    assert code is Code.UNKNOWN
    assert text == "ZeroDivisionError: why"
    assert re.search("a call failed", caplog.text)
