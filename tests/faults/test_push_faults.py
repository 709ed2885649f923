"""Pushes to a registry that refuses, breaks off, forgets, or doesn't answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from upload_registry import UploadRegistry

from contentui.content.errors import ContentError
from contentui.content.helpers import put_blob
from contentui.content.model import Descriptor
from contentui.demo.unpackable import MANIFEST, make_unpackable
from contentui.oci.media_types import OCI_INDEX
from contentui.oci.references import parse_reference
from contentui.remotes import retry
from contentui.remotes.errors import Denied
from contentui.remotes.registry import Registry
from contentui.remotes.settings import Credentials, Settings, Timeouts
from contentui.stores.local.store import LocalStore
from contentui.transfers import push
from contentui.transfers.push import Push

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from upload_registry import Head, Peer

    from contentui.transfers.model import Transfer

MIB = 1 << 20
IMAGE = make_unpackable(7, [6 * MIB])
LAYER = IMAGE.layers[0]
TIMEOUTS = Timeouts(connect_s=10, head_s=10, answer_s=10, stall_s=10)
IMPATIENT = TIMEOUTS._replace(answer_s=2)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_S", 0.01)
    monkeypatch.setattr(retry, "LONGEST_S", 0.02)
    monkeypatch.setattr(push, "_COMMIT_PAUSES_S", (0.05, 0.1, 0.2, 0.4))


@pytest.fixture
def registry() -> Iterator[UploadRegistry]:
    with UploadRegistry() as made:
        yield made


class Pushed:
    """One push and what it reported."""

    def __init__(self, store: LocalStore, registry: UploadRegistry) -> None:
        self.store, self.registry = store, registry
        for data in IMAGE.blobs.values():
            put_blob(store, data)
        self.root = Descriptor(MANIFEST, IMAGE.digest, len(IMAGE.manifest))
        put_blob(store, IMAGE.manifest)
        self.shown: set[str] = set()

    def report(self, transfer: Transfer) -> None:
        self.shown |= {transfer.message, *(part.message for part in transfer.parts)}

    def run(
        self,
        chunk_size: int | None = None,
        credentials: Credentials | None = None,
        timeouts: Timeouts = TIMEOUTS,
    ) -> None:
        name = parse_reference(f"{self.registry.host}/r:v1")
        settings = Settings(timeouts=timeouts, credentials=credentials)
        with Registry(name, settings) as remote:
            made = Push(self.store, remote, self.root, chunk_size=chunk_size, reports=[self.report])
            made.run()

    def check(self) -> None:
        assert set(self.registry.blobs.values()) == set(IMAGE.blobs.values())
        assert self.registry.manifests["v1"] == IMAGE.manifest


@pytest.fixture
def pushing(tmp_path: Path, registry: UploadRegistry) -> Iterator[Pushed]:
    with LocalStore(tmp_path / "store") as store:
        yield Pushed(store, registry)


def large(head: Head) -> bool:
    return head.length > MIB


def answering(
    status: int, *lines: str, body: bytes = b"", reset: bool = True, read: int = 0
) -> object:
    """Answer a large body without reading it all, and end the connection."""

    def fault(peer: Peer, head: Head, registry: UploadRegistry) -> bool:
        if not large(head):
            registry.faults[head.method].insert(0, fault)  # type: ignore[arg-type]
            return False
        if read:
            peer.source.read(read)
        peer.reply(status, *lines, body=body)
        if reset:
            time.sleep(0.05)
        return True

    return fault


QUOTA = b'{"errors":[{"code":"DENIED","message":"storage quota of project exceeded"}]}'
EARLY = {
    "quota": (answering(403, body=QUOTA), "DENIED storage quota of project exceeded", "who runs"),
    "403 of a proxy": (
        answering(403, "Content-Type: text/html", body=b"<html><title>Blocked</title>no</html>"),
        ": Blocked",
        "may not serve this address",
    ),
    "too large": (answering(413, body=b"too big"), "413", "--chunk 5MB"),
    "too large, late": (answering(413, read=3 * MIB), "413", "--chunk 5MB"),
    "400": (answering(400, body=b'{"message":"bad name"}'), ": bad name", ""),
}


@pytest.mark.parametrize("expecting", [True, False])
@pytest.mark.parametrize("case", EARLY)
def test_an_answer_before_the_body_is_read_is_reported(
    case: str,
    expecting: bool,
    pushing: Pushed,
    registry: UploadRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from contentui.remotes import sending

    if not expecting:
        monkeypatch.setattr(sending, "EXPECT_FROM", 1 << 40)
    fault, words, advice = EARLY[case]
    registry.faults["PATCH"] = [fault]  # type: ignore[list-item]
    began = time.monotonic()
    with pytest.raises(ContentError) as caught:
        pushing.run()
    assert words in caught.value.message
    assert advice in caught.value.advice
    assert "reset" not in caught.value.message
    assert sum(large(head) for head in registry.seen if head.method == "PATCH") == 1
    assert time.monotonic() - began < 3
    assert not registry.manifests


def test_a_401_in_the_middle_asks_for_credentials(
    pushing: Pushed, registry: UploadRegistry
) -> None:
    challenge = "WWW-Authenticate: Basic realm=x"
    registry.faults["PATCH"] = [answering(401, challenge)]  # type: ignore[list-item]
    pushing.run(credentials=Credentials("me", "pw"))
    pushing.check()
    authorized = [head for head in registry.seen if "authorization" in head.headers]
    assert any(head.method == "PATCH" for head in authorized)


def test_a_body_is_not_sent_to_who_refuses_it_first(
    pushing: Pushed, registry: UploadRegistry
) -> None:
    registry.faults["PATCH"] = [answering(403, body=QUOTA)]  # type: ignore[list-item]
    with pytest.raises(Denied):
        pushing.run()
    patch = next(head for head in registry.seen if head.method == "PATCH" and large(head))
    assert patch.headers["expect"] == "100-continue"


def test_who_ignores_the_question_is_asked_once(pushing: Pushed, registry: UploadRegistry) -> None:
    def silent(peer: Peer, head: Head, registry: UploadRegistry) -> bool:
        registry.faults["PATCH"].append(silent)
        head.headers.pop("expect", None)
        return False

    registry.faults["PATCH"] = [silent]
    began = time.monotonic()
    pushing.run(chunk_size=2 * MIB)
    assert time.monotonic() - began < 4
    pushing.check()


def test_who_rejects_the_question_is_not_asked_again(
    pushing: Pushed, registry: UploadRegistry
) -> None:
    registry.faults["PATCH"] = [answering(417)]  # type: ignore[list-item]
    pushing.run()
    pushing.check()
    asked = [head for head in registry.seen if "expect" in head.headers]
    assert len(asked) == 1


def test_a_session_that_is_gone_is_started_again(pushing: Pushed, registry: UploadRegistry) -> None:
    def forget(peer: Peer, head: Head, registry: UploadRegistry) -> bool:
        registry.sessions.clear()
        peer.reply(404, body=b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}')
        time.sleep(0.05)
        return True

    registry.faults["PATCH"] = [forget]
    pushing.run()
    pushing.check()


def test_an_upload_is_resumed_where_the_registry_has_it(
    pushing: Pushed, registry: UploadRegistry
) -> None:
    def half(peer: Peer, head: Head, registry: UploadRegistry) -> bool:
        if not large(head):
            registry.faults["PATCH"].insert(0, half)
            return False
        if "expect" in head.headers:
            peer.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        data = peer.source.read(4 * MIB)
        registry.received += len(data)
        registry.sessions[head.path.rpartition("/")[2]] += data
        peer.reset()
        return True

    registry.faults["PATCH"] = [half]
    pushing.run()
    pushing.check()
    assert registry.received <= 1.1 * sum(map(len, IMAGE.blobs.values()))


@pytest.mark.parametrize("status", [416, 202])
def test_the_registrys_offset_counts(
    status: int, pushing: Pushed, registry: UploadRegistry
) -> None:
    """It answers 416, or 202 with a shorter Range: it is asked for its offset."""

    def short(peer: Peer, head: Head, registry: UploadRegistry) -> bool:
        if not large(head):
            registry.faults["PATCH"].insert(0, short)
            return False
        data = registry.body(peer, head)
        name = head.path.rpartition("/")[2]
        registry.sessions[name] += data[: 5 * MIB]
        peer.reply(status, registry.range_of(name))
        return True

    registry.faults["PATCH"] = [short]
    pushing.run()
    pushing.check()
    assert any(head.method == "GET" and "/uploads/" in head.path for head in registry.seen)
    assert registry.received <= 1.3 * sum(map(len, IMAGE.blobs.values()))


@pytest.mark.parametrize("knows", [True, False])
def test_a_range_that_is_wrong_alone_changes_nothing(
    knows: bool, pushing: Pushed, registry: UploadRegistry
) -> None:
    """As one that always answers the range of the first chunk, asked or not."""

    def stuck(peer: Peer, head: Head, registry: UploadRegistry) -> bool:
        registry.faults["PATCH"].append(stuck)
        name = head.path.rpartition("/")[2]
        registry.sessions[name] += registry.body(peer, head)
        peer.reply(202, "Range: 0-99", f"Location: {head.path}", "Connection: close")
        return True

    def unknown(peer: Peer, head: Head, registry: UploadRegistry) -> bool:
        registry.faults["GET"].append(unknown)
        if knows or "/uploads/" not in head.path:
            return False
        peer.reply(404, "Connection: close")
        return True

    registry.faults["PATCH"], registry.faults["GET"] = [stuck], [unknown]
    pushing.run(chunk_size=2 * MIB)
    pushing.check()
    assert registry.received == sum(map(len, IMAGE.blobs.values()))


def test_who_answers_a_byte_now_and_then_is_not_waited_for(
    pushing: Pushed, registry: UploadRegistry
) -> None:
    def drip(peer: Peer, head: Head, registry: UploadRegistry) -> bool:
        if "expect" in head.headers:
            for _ in range(30):
                peer.sock.sendall(b"H")
                time.sleep(0.1)
            peer.reset()
            return True
        registry.faults["PATCH"].insert(0, drip)
        return False

    registry.faults["PATCH"] = [drip]
    began = time.monotonic()
    pushing.run()
    pushing.check()
    assert time.monotonic() - began < 8


def test_an_unanswered_commit_is_not_sent_again(pushing: Pushed, registry: UploadRegistry) -> None:
    """The registry takes longer than the time limit to commit a layer, and does so."""

    def late(peer: Peer, head: Head, registry: UploadRegistry) -> bool:
        time.sleep(IMPATIENT.answer_s + 0.2)
        registry.commit(head)
        return True

    registry.faults["PUT"] = [late]
    pushing.run(timeouts=IMPATIENT)
    pushing.check()
    assert registry.received == sum(map(len, IMAGE.blobs.values()))
    assert any("has not answered" in text for text in pushing.shown)


def test_a_commit_that_was_lost_is_sent_again(pushing: Pushed, registry: UploadRegistry) -> None:
    def lose(peer: Peer, head: Head, registry: UploadRegistry) -> bool:
        registry.sessions.pop(head.path.rpartition("/")[2])
        peer.reset()
        return True

    registry.faults["PUT"] = [lose]
    pushing.run()
    pushing.check()


def test_an_index_that_cannot_be_read_is_not_replaced_unasked(
    pushing: Pushed, registry: UploadRegistry
) -> None:
    def unreadable(peer: Peer, head: Head, registry: UploadRegistry) -> bool:
        peer.reply(200, f"Content-Type: {OCI_INDEX}", body=b'{"manifests": 5}')
        return True

    registry.faults["GET"] = [unreadable]
    with pytest.raises(ContentError, match="which platforms would be lost is unknown"):
        pushing.run()
    assert set(registry.methods()) == {"GET"}


def test_a_redirected_upload_keeps_its_method(pushing: Pushed, registry: UploadRegistry) -> None:
    with UploadRegistry() as other:

        def elsewhere(peer: Peer, head: Head, registry: UploadRegistry) -> bool:
            peer.reply(307, f"Location: http://{other.host}{head.path}")
            return True

        registry.faults["POST"] = [elsewhere] * 2
        pushing.run()
        assert other.methods().count("POST") == 2
        assert set(other.blobs.values()) == set(IMAGE.blobs.values())
        assert not any("authorization" in head.headers for head in other.seen)
