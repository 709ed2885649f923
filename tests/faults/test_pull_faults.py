"""Pulls through every fault that networks and registries make: real sockets, a real store."""

from __future__ import annotations

import gzip
import time
import tracemalloc
import zlib
from typing import TYPE_CHECKING

import pytest

import bench.faulty as faults
from bench.faulty import FaultyRegistry, cut, refuse
from contentui.content.digest import Digest
from contentui.content.errors import ContentError, NotFound
from contentui.content.helpers import verified_chunks
from contentui.demo.unpackable import make_unpackable
from contentui.oci.references import parse_reference
from contentui.remotes import retry
from contentui.remotes.registry import Registry
from contentui.remotes.settings import Settings, Timeouts
from contentui.stores.local.store import LocalStore
from contentui.transfers.model import Phase
from contentui.transfers.pull import Pull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from contentui.demo.registry import Connection, Request
    from contentui.transfers.model import Part, Transfer

IMAGE = make_unpackable(7, [3 << 20])
LAYER = Digest.of(IMAGE.layers[0])
SIZE = len(IMAGE.layers[0])
REF = f"layer-{LAYER}"
MIB = 1 << 20
TIMEOUTS = Timeouts(connect_s=2, head_s=0.8, stall_s=0.4)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_S", 0.01)
    monkeypatch.setattr(retry, "LONGEST_S", 0.02)


@pytest.fixture
def registry() -> Iterator[FaultyRegistry]:
    with FaultyRegistry() as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    opened = LocalStore(tmp_path / "store")
    yield opened
    opened.close()


class Pulled:
    """One pull and what it reported."""

    def __init__(self, store: LocalStore, registry: FaultyRegistry) -> None:
        self.store = store
        self.name = registry.add(IMAGE)
        self.parts: list[Part] = []
        self.messages: set[str] = set()

    def report(self, transfer: Transfer) -> None:
        self.messages.add(transfer.message)
        self.parts += [part for part in transfer.parts if part.descriptor.digest == LAYER]

    def run(self) -> None:
        with Registry(parse_reference(self.name), Settings(timeouts=TIMEOUTS)) as remote:
            Pull(self.store, remote, reports=[self.report]).run()

    def shown(self) -> str:
        return " | ".join({part.message for part in self.parts if part.message} | self.messages)

    def check(self) -> None:
        """Everything is there, byte for byte."""
        assert b"".join(verified_chunks(self.store, LAYER)) == IMAGE.layers[0]
        assert self.store.images.get(self.name).target.digest == IMAGE.digest
        assert self.store.statuses() == []


@pytest.fixture
def pull(store: LocalStore, registry: FaultyRegistry) -> Pulled:
    return Pulled(store, registry)


SURVIVED = {
    "end": ([cut(MIB)], "): ended after 1048576 of"),
    "reset": ([cut(MIB, reset=True)], "): connection reset, 127.0.0.1"),
    "stall": ([cut(MIB, stall=True)], "): almost no data for 0.4s, 127.0.0.1"),
    "many ends": ([cut(300_000)] * 8, "retrying in 1s (2/6)"),
    "500": ([refuse(500)], "500 Internal Server Error, 127.0.0.1"),
    "503": ([refuse(503)] * 3, "(4/6)"),
    "429 seconds": ([refuse(429, "Retry-After: 0")], "429 Too Many Requests, 127.0.0.1"),
    "429 date": ([refuse(429, "Retry-After: Sat, 21 Nov 2015 07:28:00 GMT")], "429"),
    "ignores ranges": (
        [cut(MIB), faults.whole],
        "the server ignores ranges: reading 1.05 MB again",
    ),
    "206 without range": ([cut(MIB), faults.silent_206], "reading 1.05 MB again"),
    "206 without anything": ([cut(MIB), faults.unsaid_206, faults.whole], "ignores ranges"),
    "always 206": (
        [cut(MIB), faults.unsaid_206, faults.unsaid_206],
        "without a valid Content-Range",
    ),
    "206 from before": ([cut(MIB), faults.shifted_206(-7)], "reading 7 B again"),
    "206 from beyond": ([cut(MIB), faults.shifted_206(7), faults.whole], "ignores ranges"),
    "206 from the middle": ([faults.shifted_206(7)], "without a valid Content-Range"),
    "416 in the middle": ([cut(MIB), faults.lying_416, faults.whole], "ignores ranges"),
    "no length": ([cut(MIB), faults.unannounced], ""),
    "chunked": ([faults.chunked], ""),
    "chunked, resumed": ([cut(MIB), faults.chunked], ""),
    "named as encoded": ([faults.encoded], ""),
    "named as encoded, resumed": ([cut(MIB), faults.encoded], ""),
    "compressed": ([faults.compressed], ""),
    "compressed, without a length": ([faults.compressed_chunked] * 2, ""),
    "compressed, resumed": ([cut(MIB), faults.compressed], "ignores ranges"),
    "parts of a MiB": ([faults.part(MIB)] * 3, ""),
    "parts with another total": ([cut(MIB), faults.part(MIB, total="99")], ""),
    "not HTTP": ([lambda link, *_: link.send(b"SSH-2.0-hello\r\n")], "not valid HTTP"),
    "nothing, which a kept connection may do": ([lambda *_: None], ""),
    "100 without end": ([faults.endless_100], "is too long"),
    "head without end": ([faults.endless_head], "more than 100 headers"),
}


@pytest.mark.parametrize("case", SURVIVED)
def test_a_pull_survives(case: str, pull: Pulled, registry: FaultyRegistry) -> None:
    queue, words = SURVIVED[case]
    registry.faults[str(LAYER)] = list(queue)
    pull.run()
    pull.check()
    assert words in pull.shown()
    assert registry.faults[str(LAYER)] == []


def test_every_byte_that_came_is_kept(pull: Pulled, registry: FaultyRegistry) -> None:
    registry.faults[str(LAYER)] = [cut(MIB + 5), cut(MIB - 17, reset=True), cut(7, stall=True)]
    pull.run()
    starts = [each.start for each in registry.gets(str(LAYER))]
    assert starts == [0, MIB + 5, 2 * MIB - 12, 2 * MIB - 5]


@pytest.mark.parametrize(
    "fault",
    [
        [cut(60_000)] * 50,
        [faults.cut_somewhere(1, 20_000, 60_000)],
        [faults.part(MIB)],
        [faults.part(20_000)],
    ],
)
def test_poor_links_get_there_without_waste(
    fault: list[Callable[..., object]], pull: Pulled, registry: FaultyRegistry
) -> None:
    registry.faults[str(LAYER)] = list(fault)
    registry.for_ever = True
    pull.run()
    pull.check()
    assert registry.sent <= 1.2 * sum(map(len, IMAGE.blobs.values()))


@pytest.mark.parametrize("part", ["/manifests/v1", "/manifests/sha256:"])
@pytest.mark.parametrize("fault", [faults.compressed, faults.encoded])
def test_manifests_that_come_encoded(
    part: str, fault: Callable[..., object], pull: Pulled, registry: FaultyRegistry
) -> None:
    registry.faults[part] = [fault]
    pull.run()
    pull.check()


def test_a_small_body_that_grows_without_end_costs_little(
    pull: Pulled, registry: FaultyRegistry
) -> None:
    """A gigabyte of zeros, compressed a thousandfold."""

    def bomb(link: Connection, request: Request, data: bytes) -> None:
        del request, data
        made = gzip.compress(bytes(1 << 24), 9)
        link.head(200, "Content-Encoding: gzip", "Connection: close")
        link.send(made * 64)

    registry.faults["/manifests/sha256:"] = [bomb]
    registry.faults[str(LAYER)] = [bomb, bomb]
    registry.for_ever = True
    tracemalloc.start()
    try:
        with pytest.raises(ContentError):
            pull.run()
        registry.faults["/manifests/sha256:"] = []
        with pytest.raises(ContentError):
            pull.run()
        assert tracemalloc.get_traced_memory()[1] < 64 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("status", [102, 103])
def test_interim_responses_are_skipped(status: int, pull: Pulled, registry: FaultyRegistry) -> None:
    def early(link: Connection, request: Request, data: bytes) -> None:
        link.send(b"HTTP/1.1 %d Wait\r\nLink: </x>\r\n\r\n" % status * 3)
        link.head(200, f"Content-Length: {len(data)}")
        link.send(data)

    registry.faults[str(LAYER)] = [early]
    pull.run()
    pull.check()
    assert "retrying" not in pull.shown()


def test_encoded_content_that_is_nothing_ends(pull: Pulled, registry: FaultyRegistry) -> None:
    def nothing(link: Connection, request: Request, data: bytes) -> None:
        compressor = zlib.compressobj(wbits=31)
        link.head(200, "Content-Encoding: gzip", "Content-Length: 999999999")
        link.send(compressor.compress(b"") + compressor.flush(zlib.Z_FULL_FLUSH))
        while not link.closed.is_set():
            link.send(b"\x00\x00\x00\xff\xff" * 10_000)

    registry.faults[str(LAYER)] = [nothing]
    registry.for_ever = True
    began = time.monotonic()
    with pytest.raises(ContentError, match="decodes to nothing"):
        pull.run()
    assert time.monotonic() - began < 10


def test_the_rest_of_an_unread_body_is_not_waited_for(
    pull: Pulled, registry: FaultyRegistry
) -> None:
    def drip(link: Connection, request: Request, data: bytes) -> None:
        link.head(404, "Content-Length: 16000")
        for _ in range(400):
            link.send(b"x")
            if link.closed.wait(0.2):
                return

    registry.faults[str(LAYER)] = [drip]
    began = time.monotonic()
    with pytest.raises(ContentError, match="does not have"):
        pull.run()
    assert time.monotonic() - began < 12


def test_a_head_that_takes_long(pull: Pulled, registry: FaultyRegistry) -> None:
    """Longer than silence in a body may last."""
    registry.faults[str(LAYER)] = [faults.late(TIMEOUTS.head_s * 0.8)]
    pull.run()
    pull.check()
    assert "retrying" not in pull.shown()


@pytest.mark.parametrize("part", ["/manifests/v1", "/manifests/sha256:"])
@pytest.mark.parametrize("fault", [refuse(503), cut(10), cut(0, stall=True), cut(10, reset=True)])
def test_manifests_are_tried_again_too(
    part: str, fault: Callable[..., None], pull: Pulled, registry: FaultyRegistry
) -> None:
    registry.faults[part] = [fault]
    pull.run()
    pull.check()


REFUSED = {
    "404": (refuse(404), "does not have sha256:"),
    "403": (refuse(403, body=b'{"errors":[{"code":"DENIED","message":"no"}]}'), "DENIED no"),
    "400": (refuse(400), "answered 400"),
    "shorter": (faults.announced(-1), "but the manifest has"),
    "longer": (faults.announced(1), "but the manifest has"),
    "more": (faults.too_many, "sends more bytes than the size in the manifest"),
    "wants an hour": (refuse(429, "Retry-After: 3600"), "429"),
    "down for good": (refuse(502), "answered 502"),
    "one byte each": (cut(1), "ended its response after 1 of"),
    "a byte now and then": (faults.drip, "timed out"),
    "circle": (faults.redirect("/v2/demo/app/blobs/" + LAYER), "more than 10 times"),
    "to a file": (faults.redirect("file:///etc/passwd"), "not a valid http"),
    "to nonsense": (faults.redirect("http://[bad/?sig=secret"), "not a valid http"),
    "to a huge port": (faults.redirect("http://h:99999/?sig=secret"), "not a valid http"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_pull_fails_in_words(case: str, pull: Pulled, registry: FaultyRegistry) -> None:
    fault, words = REFUSED[case]
    registry.faults[str(LAYER)] = [fault]
    registry.for_ever = True
    began = time.monotonic()
    with pytest.raises(ContentError) as caught:
        pull.run()
    assert time.monotonic() - began < 15
    assert words in caught.value.message
    assert "127.0.0.1" in caught.value.message
    assert "secret" not in f"{caught.value.message}{caught.value.advice}{pull.shown()}"
    assert pull.parts[-1].phase is Phase.FAILED
    with pytest.raises(NotFound):
        pull.store.images.get(pull.name)
    assert len(registry.gets(str(LAYER))) <= 12
    registry.faults.clear()
    pull.run()  # whatever it was, the next attempt gets through
    pull.check()


def test_giving_up_says_what_to_do(pull: Pulled, registry: FaultyRegistry) -> None:
    registry.faults[str(LAYER)] = [cut(MIB), refuse(503)]
    registry.for_ever = True
    with pytest.raises(ContentError) as caught:
        pull.run()
    assert "6 attempts without progress" in caught.value.advice
    assert "run the same command again" in caught.value.advice
    assert pull.store.status(REF).offset == MIB


def test_wrong_bytes_are_marked_and_never_built_upon(
    pull: Pulled, registry: FaultyRegistry
) -> None:
    registry.faults[str(LAYER)] = [faults.other_bytes]
    with pytest.raises(ContentError, match=r"unexpected commit digest .*127\.0\.0\.1") as caught:
        pull.run()
    assert "starts over" in caught.value.advice
    status = pull.store.status(REF)
    assert status.refused is not None
    assert status.offset == SIZE
    pull.run()
    pull.check()
    assert [each.start for each in registry.gets(str(LAYER))] == [0, 0]


def test_wrong_bytes_of_a_small_blob_are_not_kept(pull: Pulled, registry: FaultyRegistry) -> None:
    digest = str(Digest.of(IMAGE.config))
    registry.faults[digest] = [faults.other_bytes]
    with pytest.raises(ContentError, match=r"127\.0\.0\.1"):
        pull.run()
    pull.run()
    pull.check()


def test_nobody_there(store: LocalStore) -> None:
    with FaultyRegistry() as gone:
        pulled = Pulled(store, gone)
    with pytest.raises(ContentError, match=r"connection refused by 127\.0\.0\.1"):
        pulled.run()
    assert "(6/6)" in pulled.shown()


def test_bombs_cost_little(pull: Pulled, registry: FaultyRegistry) -> None:
    registry.faults["/manifests/sha256:"] = [faults.endless_body]
    with pytest.raises(ContentError, match="exceeds 4194304 bytes"):
        pull.run()
    registry.faults[str(LAYER)] = [faults.endless_trailer]
    registry.for_ever = True
    pull.run()  # all that is needed stands before it
    pull.check()


def test_stop_does_not_wait_for_a_silent_host(store: LocalStore, registry: FaultyRegistry) -> None:
    import threading

    from contentui.remotes.retry import Stopped

    name = registry.add(IMAGE)
    registry.faults[str(LAYER)] = [cut(MIB, stall=True)]
    with Registry(parse_reference(name), Settings()) as remote:  # waits 30 s
        pull = Pull(store, remote)
        timer = threading.Thread(
            target=lambda: (registry.await_gets(str(LAYER), 1), pull.stop()), daemon=True
        )
        timer.start()
        began = time.monotonic()
        with pytest.raises(Stopped):
            pull.run()
    assert time.monotonic() - began < 5
