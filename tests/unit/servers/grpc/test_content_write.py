"""The Write session, rule by rule (docs/internals/content-service.md)."""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING

import grpc
import pytest

from contentui.content.digest import EMPTY, Digest
from contentui.content.errors import Locked
from contentui.protocol import content_pb2 as pb
from contentui.servers.grpc.write import SMALL_BLOB
from contentui.stores.local.store import LocalStore
from tests.unit.servers.grpc.served import (
    ABSENT,
    COMMIT,
    HELLO,
    HELLO_DIGEST,
    STAT,
    WRITE,
    refused,
    served,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from contentui.content.model import Info
    from contentui.content.store import Store
    from tests.unit.servers.grpc.served import Client, Serving

Code = grpc.StatusCode


@pytest.fixture
def client(serving: Serving) -> Client:
    return serving.client()


def soon(holds: Callable[[], bool], limit_s: float = 5) -> bool:
    """Whether something comes true."""
    deadline = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def is_free(store: Store, ref: str) -> bool:
    try:
        store.writer(ref).close()
    except Locked:
        return False
    return True


def test_a_whole_session(client: Client, store: Store) -> None:
    with client.write() as stream:
        first = stream.send(STAT, ref="r", total=5)
        assert (first.action, first.offset, first.total, first.digest) == (STAT, 0, 5, EMPTY)
        assert first.started_at.seconds
        assert first.updated_at.seconds
        second = stream.send(WRITE, data=b"hel", ref="ignored")
        assert (second.action, second.offset, second.digest) == (WRITE, 3, Digest.of(b"hel"))
        last = stream.send(COMMIT, offset=3, data=b"lo", expected=HELLO_DIGEST, labels={"k": "v"})
        assert (last.action, last.offset, last.digest) == (COMMIT, 5, HELLO_DIGEST)
        assert list(stream.call) == [last]  # sent twice
        assert stream.call.code() is Code.OK
    assert store.info(HELLO_DIGEST).labels == {"k": "v"}
    assert store.statuses() == []


def test_everything_in_the_first_message(client: Client, store: Store) -> None:
    with client.write() as stream:
        assert stream.send(COMMIT, ref="r", data=HELLO).digest == HELLO_DIGEST
    assert store.info(HELLO_DIGEST).size == 5
    assert client.put(b"", ref="nothing") == EMPTY


def test_times_and_total_linger_from_a_stat(client: Client) -> None:
    with client.write() as stream:
        bare = stream.send(WRITE, ref="r", data=b"1", total=9)
        assert not bare.HasField("started_at")
        assert bare.total == 0
        shown = stream.send(STAT)
        assert shown.total == 9
        after = stream.send(WRITE, offset=1, data=b"2")
        assert after.started_at == shown.started_at
        assert after.total == 9


def test_reopening_reports_the_total_of_the_stream(client: Client, store: Store) -> None:
    with client.write() as stream:
        stream.send(WRITE, ref="r", total=20, data=b"12")
    with client.write() as stream:
        answer = stream.send(STAT, ref="r")
        assert (answer.offset, answer.total, answer.digest) == (2, 0, Digest.of(b"12"))
    assert store.status("r").total == 20


def test_half_close_repeats_the_last_response_and_keeps_the_ingest(
    client: Client, store: Store
) -> None:
    stream = client.write()
    last = stream.send(WRITE, ref="r", data=HELLO)
    assert stream.half_close() == [last]
    assert stream.call.code() is Code.OK
    assert store.status("r").offset == 5
    assert list(store.walk()) == []
    assert is_free(store, "r")


def test_a_stream_without_a_message(client: Client) -> None:
    stream = client.write()
    stream._requests.put(None)
    assert refused(stream) == (Code.INVALID_ARGUMENT, "first message must have a reference")


OFFSETS = [
    (9, b"x", (Code.OUT_OF_RANGE, "write @9 must occur at current offset 2"), 2),
    (2, b"x", b"12x", 3),
    (-1, b"x", b"12x", 3),
    (0, b"x", b"x", 1),
    (0, b"", b"", 0),
    (2, b"", b"12", 2),
]


@pytest.mark.parametrize("action", [WRITE, COMMIT])
@pytest.mark.parametrize(("offset", "data", "result", "length"), OFFSETS)
def test_offsets(
    client: Client,
    store: Store,
    action: int,
    offset: int,
    data: bytes,
    result: object,
    length: int,
) -> None:
    with client.write() as stream:
        stream.send(WRITE, ref="r", data=b"12")
        if isinstance(result, tuple):
            assert refused(lambda: stream.send(action, offset=offset, data=data)) == result
        else:
            assert isinstance(result, bytes)
            answer = stream.send(action, offset=offset, data=data)
            assert (answer.offset, answer.digest) == (length, Digest.of(result))
    if action == COMMIT and isinstance(result, bytes):
        assert store.info(Digest.of(result)).size == length
    else:
        assert soon(lambda: is_free(store, "r"))
        assert store.status("r").offset == length


def test_unknown_actions_do_nothing(client: Client) -> None:
    with client.write() as stream:
        stream.send(WRITE, ref="r", data=b"12")
        answer = stream.send(7, data=b"ignored")
        assert (answer.action, answer.offset) == (7, 2)


def test_the_latest_total_and_expected_count(client: Client, store: Store) -> None:
    with client.write() as stream:
        stream.send(STAT, ref="r", total=99, expected=ABSENT)
        stream.send(WRITE, data=HELLO, total=7)
        answer = stream.send(COMMIT, offset=5, total=5, expected=HELLO_DIGEST)
        assert answer.digest == HELLO_DIGEST
    assert store.info(HELLO_DIGEST).size == 5


def test_commit_of_the_wrong_size(client: Client, store: Store) -> None:
    with client.write() as stream:
        stream.send(WRITE, ref="r", data=HELLO)
        code, text = refused(lambda: stream.send(COMMIT, offset=5, total=6))
    assert code is Code.FAILED_PRECONDITION
    assert text == '"r" failed size validation: 5 != 6: failed precondition'
    assert soon(lambda: is_free(store, "r"))
    assert store.status("r").offset == 5


def test_commit_of_the_wrong_bytes(client: Client, store: Store) -> None:
    with client.write() as stream:
        stream.send(WRITE, ref="r", data=HELLO)
        code, text = refused(lambda: stream.send(COMMIT, offset=5, expected=ABSENT))
    assert code is Code.FAILED_PRECONDITION
    wanted = f"unexpected commit digest {HELLO_DIGEST}, expected {ABSENT}: failed precondition"
    assert text == wanted
    assert soon(lambda: is_free(store, "r"))
    assert store.status("r").offset == 5


def test_commit_of_what_exists(client: Client, store: Store) -> None:
    store.put(HELLO)
    with client.write() as stream:
        stream.send(WRITE, ref="r", data=HELLO)
        code, text = refused(lambda: stream.send(COMMIT, offset=5))
    assert (code, text) == (Code.ALREADY_EXISTS, f"content {HELLO_DIGEST}: already exists")
    assert store.statuses() == []


def test_whole_content_waits_for_the_writer_of_an_aborted_ingest(
    client: Client, store: Store
) -> None:
    with client.write() as stream:
        stream.send(WRITE, ref="r", data=b"123")
        store.abort("r", force=True)
        second = client.write()
        code, text = refused(lambda: second.send(COMMIT, ref="r", data=HELLO))
        assert code is Code.UNAVAILABLE
        assert "ref r locked for" in text
    assert list(store.walk()) == []


def test_opening_for_what_exists_keeps_the_ingest(client: Client, store: Store) -> None:
    store.put(HELLO)
    with store.writer("r") as writer:
        writer.write(b"123")
    stream = client.write()
    code, text = refused(lambda: stream.send(STAT, ref="r", expected=HELLO_DIGEST))
    assert (code, text) == (Code.ALREADY_EXISTS, f"content {HELLO_DIGEST}: already exists")
    assert store.status("r").offset == 3


@pytest.mark.parametrize("action", [STAT, WRITE, COMMIT])
def test_expecting_what_exists_later_aborts_the_ingest(
    client: Client, store: Store, action: int
) -> None:
    store.put(HELLO)
    with client.write() as stream:
        stream.send(WRITE, ref="r", data=b"123")
        code, text = refused(lambda: stream.send(action, offset=3, expected=HELLO_DIGEST))
    assert code is Code.ALREADY_EXISTS
    assert text == f"blob with expected digest {HELLO_DIGEST} exists"
    assert soon(lambda: store.statuses() == [])


@pytest.mark.parametrize(
    ("fields", "code", "wanted"),
    [
        ({}, Code.INVALID_ARGUMENT, "first message must have a reference"),
        ({"ref": "r", "expected": "sha256:0"}, Code.INVALID_ARGUMENT, '"sha256:0" failed valid'),
        ({"ref": "x" * 70000}, Code.INVALID_ARGUMENT, "64 KiB|65536"),
        (
            {"ref": "r", "action": COMMIT, "labels": {"k": "v" * 5000}},
            Code.INVALID_ARGUMENT,
            "label",
        ),
    ],
)
def test_refused_sessions(
    client: Client, store: Store, fields: dict[str, object], code: Code, wanted: str
) -> None:
    stream = client.write()
    found, text = refused(lambda: stream.raw(pb.WriteContentRequest(**fields).SerializeToString()))
    assert found is code
    assert re.search(wanted, text)
    assert list(store.walk()) == []
    assert soon(lambda: is_free(store, "r"))


def test_malformed_messages_end_the_stream_and_keep_the_ingest(
    client: Client, store: Store
) -> None:
    with client.write() as stream:
        stream.send(WRITE, ref="r", data=b"123")
        code, text = refused(lambda: stream.raw(b"\x32\xff\xff\xff\xff\x07"))
    assert code is Code.INVALID_ARGUMENT
    assert text.startswith("malformed message")
    assert soon(lambda: is_free(store, "r"))
    assert store.status("r").offset == 3


def test_a_locked_ref(serving: Serving, store: Store) -> None:
    first, second = serving.client().write(), serving.client().write()
    first.send(WRITE, ref="layer/1", data=b"1")
    code, text = refused(lambda: second.send(STAT, ref="layer/1"))
    assert code is Code.UNAVAILABLE
    assert re.fullmatch(
        r"ref layer/1 locked for [0-9.]+(ms|s)"
        r" \(since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? \+0000 UTC\): unavailable",
        text,
    )
    assert first.send(WRITE, offset=1, data=b"2").offset == 2
    first.half_close()
    assert soon(lambda: is_free(store, "layer/1"))


def test_a_cancelled_client_never_commits(client: Client, store: Store) -> None:
    stream = client.write()
    stream.send(WRITE, ref="r", data=HELLO)
    stream.call.cancel()
    assert soon(lambda: is_free(store, "r"))
    assert store.status("r").offset == 5
    assert list(store.walk()) == []


@pytest.mark.parametrize("data", [HELLO, bytes(SMALL_BLOB + 1)], ids=["small", "large"])
def test_a_commit_that_is_overtaken_by_its_cancellation_never_happens(
    tmp_path: Path, data: bytes
) -> None:
    working, go_on = threading.Event(), threading.Event()

    class Slow(LocalStore):
        def writer(self, *args: object, **kwargs: object) -> object:
            working.set()
            assert go_on.wait(10)
            return super().writer(*args, **kwargs)  # type: ignore[arg-type]

        def info(self, digest: Digest) -> Info:
            working.set()
            assert go_on.wait(10)
            return super().info(digest)

    store = Slow(str(tmp_path))
    with served(store) as serving:
        stream = serving.client().write()
        stream.say(COMMIT, ref="r", data=data)
        assert working.wait(10)
        stream.call.cancel()
        time.sleep(0.1)  # until the server has heard of it; nothing announces that
        go_on.set()
        assert soon(lambda: not store.holders([s.id for s in store.statuses()]))
        assert soon(lambda: len(store.statuses()) == (data is not HELLO))
    assert list(store.walk()) == []
    store.close()


def test_small_content_that_comes_whole_needs_no_ingest(store: Store, client: Client) -> None:
    with client.write() as stream:
        answer = stream.send(COMMIT, ref="r", data=HELLO, labels={"k": "v"})
    assert (answer.action, answer.offset, answer.digest) == (COMMIT, 5, HELLO_DIGEST)
    assert store.info(HELLO_DIGEST).labels == {"k": "v"}
    assert store.statuses() == []


def test_small_content_for_a_held_ref_is_refused_as_any_other(client: Client) -> None:
    holder = client.write()
    holder.send(WRITE, ref="r", data=b"x")
    other = client.write()
    code, text = refused(lambda: other.send(COMMIT, ref="r", data=HELLO))
    assert code is Code.UNAVAILABLE
    assert "locked for" in text
    holder.half_close()


def test_refs_that_are_no_text(client: Client, store: Store) -> None:
    ref = b"\xff/\n"
    with client.write() as stream:
        stream.raw(b"\x08\x01\x12" + bytes((len(ref),)) + ref + b"\x32\x02ab")
    assert store.status("\udcff/\n").offset == 2


def test_other_algorithms(client: Client, store: Store) -> None:
    wanted = Digest.of(HELLO, "sha512")
    with client.write() as stream:
        stream.send(WRITE, ref="r", data=HELLO)
        assert stream.send(COMMIT, offset=5, expected=wanted).digest == wanted
    assert store.info(wanted).size == 5
