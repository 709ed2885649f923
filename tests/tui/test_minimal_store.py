"""A store without any optional role works under every verb about content, and on the screen."""

from __future__ import annotations

import io
import json
import tarfile
from types import SimpleNamespace

import pytest
from minimal_store import MANDATORY, STORES, MinimalStore
from running import running

from contentui.cli.main import main
from contentui.content import helpers
from contentui.content.digest import Digest
from contentui.content.errors import FailedPrecondition, NotFound
from contentui.content.model import Descriptor
from contentui.content.store import Ingester, IngestManager, Manager, Provider
from contentui.stores import open as opening
from contentui.stores.memory import MemoryStore
from contentui.stores.source import parse
from contentui.tui.session import Session

SOURCE = "minimal://store"


@pytest.fixture(autouse=True)
def _registered(monkeypatch, tmp_path):
    monkeypatch.setitem(opening.OPENERS, "minimal", "minimal_store")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def content():
    """What is in the store."""
    STORES.clear()
    made = STORES[parse(SOURCE).path] = MemoryStore()
    made.put(b"blob", labels={"k": "v"})
    with made.writer("left", total=10) as writer:
        writer.write(b"12345")
    return made


@pytest.fixture
def store(content):
    return MinimalStore(SOURCE, content)


@pytest.fixture
def run(content, capfdbinary, monkeypatch):
    def run(*args, code=0, stdin=b""):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(stdin)))
        assert main(["--store", SOURCE, *args]) == code, capfdbinary.readouterr()
        return capfdbinary.readouterr().out

    return run


BLOB = Digest.of(b"blob")


def test_it_has_the_mandatory_methods_and_no_other():
    roles = (Provider, Ingester, IngestManager, Manager)
    wanted = {name for role in roles for name in vars(role) if not name.startswith("_")}
    assert wanted == set(MANDATORY)


def test_the_verbs_that_look(run):
    assert run("list", "-q").decode() == f"{BLOB}\n"
    assert json.loads(run("list", "--json"))["labels"] == {"k": "v"}
    assert json.loads(run("info", "--json", BLOB))["size_bytes"] == 4
    assert run("get", BLOB) == b"blob"
    assert run("verify")
    assert json.loads(run("status", "--json", "left"))["offset_bytes"] == 5
    for words in (["active"], ["active", "--verdict"], ["active", "--json"]):
        assert b"left" in run(*words)
    assert run("images", "-q") == b""
    run("path", BLOB, code=1)


def test_the_verbs_that_change(run, content, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"new")
    run("ingest", "new", "--from", str(file))
    assert content.info(Digest.of(b"new")).size == 3
    run("label", BLOB, "k2=v2")
    assert content.info(BLOB).labels == {"k": "v", "k2": "v2"}
    run("truncate", "left", code=1)  # whether a writer is live is unknown
    run("truncate", "left", "--force")
    assert content.status("left").offset == 0
    run("abort", "left", "--force")
    assert content.statuses() == []
    run("delete", BLOB)
    assert [info.digest for info in content.walk()] == [Digest.of(b"new")]


def test_an_archive_comes_in_without_a_name(run, content, tmp_path):
    config = b"{}"
    manifest = json.dumps({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": Digest.of(config), "size": len(config),
        },
        "layers": [],
    }).encode()  # fmt: skip
    index = json.dumps({
        "schemaVersion": 2,
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": Digest.of(manifest), "size": len(manifest),
            "annotations": {"io.containerd.image.name": "docker.io/library/a:1"},
        }],
    }).encode()  # fmt: skip
    files = {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": index,
        f"blobs/sha256/{Digest.of(manifest).encoded}": manifest,
        f"blobs/sha256/{Digest.of(config).encoded}": config,
    }
    path = tmp_path / "image.tar"
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    run("import", str(path))
    assert {Digest.of(manifest), Digest.of(config)} <= {info.digest for info in content.walk()}
    out = tmp_path / "out.tar"
    run("export", "-o", str(out), Digest.of(manifest))
    assert out.stat().st_size


def test_what_stands_in_for_the_roles(store, content):
    info = helpers.put_blob(store, b"put", labels={"a": "b"})
    assert (info.labels, content.statuses()) == ({"a": "b"}, [content.status("left")])
    assert helpers.put_blob(store, b"put", labels={"c": "d"}).labels == {"a": "b"}
    with pytest.raises(FailedPrecondition):
        helpers.put_blob(store, b"x", expected=Digest.of(b"y"))
    assert [each.size for each in helpers.put_blobs(store, [b"1", b"22"])] == [1, 2]
    assert set(helpers.list_digests(store)) == set(content.digests())
    [left] = store.statuses()
    gone = left._replace(id="0" * 64)
    assert helpers.refresh_statuses(store, [gone, left]) == [None, left]
    assert helpers.lock_holders(store, [left.id]) is None
    assert helpers.list_roots(store) == []
    assert helpers.disk_usage(store) is None
    with pytest.raises(FailedPrecondition):
        helpers.probe_ingest(store, "left", if_match=left)
    images = helpers.image_names(store)
    assert images.list() == []
    for call in (images.get, images.delete):
        with pytest.raises(NotFound, match="no image names"):
            call("a")
    with pytest.raises(FailedPrecondition):
        images.put("a", Descriptor("", BLOB, 4))


async def test_the_screen(content):
    async with running(Session(parse(SOURCE))) as ui:
        await ui.shown()
        await ui.until(lambda: "left" in ui.text())
        await ui.until(lambda: {row.key for row in ui.dashboard.blobs.shown} != set())
        with content.writer("mine", total=10) as writer:
            writer.write(b"12345")
            await ui.until(lambda: "mine" in ui.text())
            writer.write(b"67890")
            digest = writer.commit().digest
        await ui.until(lambda: str(digest) in str([row.key for row in ui.dashboard.blobs.shown]))
