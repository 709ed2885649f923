"""A directory that is dedicated to a containerd: which one, and what is rejected there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from interop_live import MIB, Live, unavailable
from on_ours import OnOurs, Serving, contentui

from bench.peers import Missing
from contentui.content.digest import Digest
from contentui.content.errors import ReadOnly
from contentui.stores.local.store import LocalStore
from contentui.stores.open import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DELETES = "its garbage collector deletes every blob that it doesn't know"


@pytest.fixture
def place(short_tmp: Path, request: pytest.FixtureRequest) -> Path:
    made = short_tmp / f"f{abs(hash(request.node.name)) % 10_000}"
    made.mkdir()
    return made


def refusal(store: Path, place: Path, root: Path) -> str:
    """What serving ``store`` for the containerd at ``root`` is refused with."""
    listen = f"unix://{place / 's'}"
    done = contentui("--store", store, "serve", "--listen", listen, "--for-containerd", root)
    assert done.returncode not in (0, 2), done
    assert not (place / "s").exists()
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_store_with_content_is_refused(place: Path) -> None:
    store = LocalStore(str(place / "store"), create=True)
    digest = store.put(b"precious").digest
    said = refusal(place / "store", place, place / "root")
    assert "has content already" in said
    assert DELETES in said
    assert "name a new directory" in said
    assert not store.traits.read_only_reason
    assert store.info(digest).size == 8
    store.close()


def test_so_is_one_with_an_ingest_alone(place: Path) -> None:
    with LocalStore(str(place / "store"), create=True).writer("half") as writer:
        writer.write(b"h")
    assert DELETES in refusal(place / "store", place, place / "root")


def test_so_is_one_of_another_containerd(place: Path) -> None:
    with Serving(place / "store", place / "s", "--for-containerd", place / "one"):
        pass
    said = refusal(place / "store", place, place / "two")
    assert str(place / "one") in said
    assert str(place / "two") in said
    assert DELETES in said


def test_so_is_one_that_is_served_already(place: Path) -> None:
    root = place / "root"
    with Serving(place / "store", place / "first", "--for-containerd", root):
        said = refusal(place / "store", place, root)
    assert "another contentui service has" in said
    assert str(place / "first") in said


@pytest.fixture
def daemon(place: Path) -> Iterator[OnOurs]:
    made = OnOurs(place, collect=False)
    try:
        with made:
            made.output("content", "ingest", "one", given=b"one")
            yield made
    except Missing as missing:
        unavailable(str(missing))
    finally:
        made.service.stop()


def test_it_is_served_again_with_its_content(daemon: OnOurs) -> None:
    daemon.stop()
    daemon.service.stop()
    daemon.start()
    assert daemon.output("content", "get", Digest.of(b"one")) == b"one"


def test_without_its_daemon_it_is_not_served_to_others(daemon: OnOurs, place: Path) -> None:
    daemon.stop()
    daemon.service.stop()
    done = contentui("--store", daemon.store, "serve", "--listen", f"unix://{place / 'plain'}")
    assert done.returncode not in (0, 2), done
    assert str(daemon.root) in done.stderr


def test_only_its_daemon_changes_it(daemon: OnOurs) -> None:
    for stop in (lambda: None, daemon.stop, daemon.service.stop):  # not even when all is quiet
        stop()
        done = contentui("--store", daemon.store, "delete", "--force", Digest.of(b"one"))
        assert done.returncode != 0
        assert str(daemon.root) in done.stderr + done.stdout
        with pytest.raises(ReadOnly) as caught:
            LocalStore(str(daemon.store)).put(b"two")
        assert str(daemon.root) in caught.value.advice
        assert daemon.stamps().keys() == {Digest.of(b"one")}


def test_it_is_read_by_everybody(daemon: OnOurs) -> None:
    for source in (str(daemon.store), f"unix://{daemon.service.socket}", f"unix://{daemon.socket}"):
        store = open_store(source)
        assert [info.digest for info in store.walk()] == [Digest.of(b"one")]
        with store.reader(Digest.of(b"one")) as reader:
            assert reader.read_at(10, 0) == b"one"
        store.close()


def test_our_own_client_does_not_write_behind_the_daemons_back(daemon: OnOurs) -> None:
    """Over the service's socket: what the daemon doesn't know, its collector would delete."""
    store = open_store(f"unix://{daemon.service.socket}")
    assert store.traits.read_only_reason
    assert str(daemon.root) in store.traits.read_only_reason
    with pytest.raises(ReadOnly):
        store.delete(Digest.of(b"one"))
    store.close()


def test_when_the_daemon_is_gone_for_good_it_is_adopted(daemon: OnOurs) -> None:
    refused = contentui("adopt", daemon.store)
    assert refused.returncode != 0
    assert "in use" in refused.stderr
    daemon.stop()
    daemon.service.stop()
    done = contentui("adopt", daemon.store)
    assert done.returncode == 0, done.stderr
    store = LocalStore(str(daemon.store))
    store.delete(Digest.of(b"one"))
    assert list(store.walk()) == []
    store.close()


def test_the_daemon_takes_the_directory_back_as_its_own(daemon: OnOurs) -> None:
    client = daemon.begin("half", b"h" * MIB)
    client.kill()
    client.communicate()
    daemon.stop()
    daemon.service.stop()
    own = daemon.root / "io.containerd.content.v1.content"
    daemon.store.rename(own)
    with Live(daemon.place, collect=False) as alone:
        assert alone.output("content", "get", Digest.of(b"one")) == b"one"
        assert alone.output("content", "active").startswith(b"REF")
        assert b"half" in alone.output("content", "active")
        whole = b"h" * (2 * MIB)
        alone.output("content", "ingest", "half", given=whole)
        assert (own / "blobs/sha256" / Digest.of(whole).encoded).read_bytes() == whole
