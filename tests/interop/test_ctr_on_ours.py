"""Every ``ctr content`` command, and those around it, against our server without an error."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import urllib.request
from typing import TYPE_CHECKING, NamedTuple

import pytest
from interop_live import await_true, unavailable
from on_ours import Serving
from registries import DockerRegistry, all_blobs

from contentui.demo.unpackable import make_unpackable
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IMAGE = make_unpackable(7, [50_000, 200_000])


class Ctr(NamedTuple):
    """``ctr`` on a service of ours."""

    place: Path

    @property
    def store(self) -> LocalStore:
        return LocalStore(os.fspath(self.place / "store"), read_only=True)

    def argv(self, *arguments: str) -> list[str]:
        return ["ctr", "-a", os.fspath(self.place / "s"), *arguments]

    def run(self, *arguments: str, given: bytes = b"", **env: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.argv(*arguments),
            input=given,
            capture_output=True,
            check=False,
            timeout=60,
            env=os.environ | env,
        )

    def output(self, *arguments: str, given: bytes = b"", **env: str) -> str:
        """What it prints; it must succeed."""
        done = self.run(*arguments, given=given, **env)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    def ingest(self, data: bytes) -> str:
        digest = digest_of(data)
        self.output("content", "ingest", f"ref-{digest}", given=data)
        return digest

    def digests(self) -> set[str]:
        return set(self.output("content", "ls", "-q").split())


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def ctr(short_tmp: Path) -> Iterator[Ctr]:
    if shutil.which("ctr") is None:
        unavailable("ctr is not installed (apt install containerd)")
    place = short_tmp / "c"
    place.mkdir()
    with Serving(place / "store", place / "s"):
        yield Ctr(place)


@pytest.fixture(scope="module")
def registry(short_tmp: Path) -> Iterator[DockerRegistry]:
    with DockerRegistry(short_tmp / "reg") as running:
        yield running


def test_what_is_ingested_is_listed_read_labelled_and_removed(ctr):
    digest = ctr.ingest(b"some content\n")
    assert digest in ctr.digests()
    (line,) = [line for line in ctr.output("content", "ls").splitlines() if digest in line]
    assert line.split()[1] == "13B"
    assert "years" not in line
    assert ctr.output("content", "get", digest) == "some content\n"
    labelled = ctr.output("content", "label", digest, "a=b", "c/d=e")
    assert sorted(labelled.strip().split(",")) == ["a=b", "c/d=e"]  # ctr sorts nothing
    listed = ctr.output("content", "ls", "labels.a==b").split()
    assert sorted(listed[-1].split(",")) == ["a=b", "c/d=e"]
    assert ctr.output("content", "label", digest, "a=") == "c/d=e\n"
    assert ctr.output("content", "rm", digest) == f"{digest}\n"
    assert digest not in ctr.digests()
    assert ctr.output("content", "rm", digest) == ""  # ctr says so to what isn't there


def test_content_that_should_be_something_else_is_refused(ctr):
    wanted = digest_of(b"that")
    done = ctr.run("content", "ingest", "--expected-digest", wanted, "wrong", given=b"this")
    assert done.returncode == 1
    assert b"unexpected commit digest" in done.stderr
    assert wanted not in ctr.digests()
    assert "wrong" in ctr.output("content", "active")


def test_a_running_ingest_is_active(ctr):
    client = subprocess.Popen(ctr.argv("content", "ingest", "slow"), stdin=subprocess.PIPE)
    try:
        assert client.stdin
        client.stdin.write(b"0" * (1 << 20))
        client.stdin.flush()
        await_true(lambda: "slow" in ctr.output("content", "active"))
    finally:
        client.kill()
        client.communicate()
    (line,) = [s for s in ctr.output("content", "active").splitlines() if s.startswith("slow")]
    assert "years" not in line


def test_edit(ctr):
    digest = ctr.ingest(b"before\n")
    editor = ctr.place / "editor"
    editor.write_text('#!/bin/sh\nprintf "after\\n" > "$1"\n')
    editor.chmod(0o755)
    made = ctr.output("content", "edit", digest, EDITOR=os.fspath(editor)).strip()
    assert made == digest_of(b"after\n")
    assert ctr.output("content", "get", made) == "after\n"


def test_fetch_brings_a_whole_image_with_its_name(ctr, registry):
    name = registry.push("fetched", IMAGE)
    ctr.output("content", "fetch", "--plain-http", "--all-platforms", name)
    for digest, data in all_blobs(IMAGE).items():
        assert digest in ctr.digests()
        assert (ctr.place / "store/blobs/sha256" / digest[7:]).read_bytes() == data
    assert name in ctr.output("images", "ls", "-q").split()
    with ctr.store as store:
        assert store.images.get(name).target.digest == IMAGE.digest
    ctr.output("content", "fetch", "--plain-http", "--all-platforms", name)  # updates the name
    assert "containerd.io/gc.ref.content" in ctr.output("content", "ls")
    assert ctr.output("leases", "ls", "-q") == ""
    assert name in ctr.output("images", "ls", f"name=={name}")


def test_fetch_object(ctr, registry):
    name = registry.push("object", IMAGE)
    assert ctr.output("content", "fetch-object", "--plain-http", name).encode() == IMAGE.manifest


def test_push_object(ctr, registry):
    digest = ctr.ingest(b"pushed object")
    kind = "application/octet-stream"
    name = f"{registry.host}/pushed:latest"
    ctr.output("content", "push-object", "--plain-http", name, digest, kind)
    with urllib.request.urlopen(f"http://{registry.host}/v2/pushed/blobs/{digest}") as answer:
        assert answer.read() == b"pushed object"


def test_prune_references(ctr):
    layer, config = ctr.ingest(b"layer"), ctr.ingest(b"config")
    index = ctr.ingest(b"index")
    for number, digest in enumerate((layer, config)):
        ctr.output("content", "label", index, f"containerd.io/gc.ref.content.l.{number}={digest}")
    ctr.output("content", "prune", "references")
    left = ctr.output("content", "label", index)
    assert "gc.ref.content.l." not in left
    assert {layer, config, index} <= ctr.digests()
    assert ctr.output("leases", "ls", "-q") == ""


def test_what_is_around_the_content(ctr):
    assert "flat store" in ctr.output("version")
    assert ctr.output("namespaces", "ls", "-q").split() == ["default"]
    assert "io.containerd.content.v1" in ctr.output("plugins", "ls")
    assert "REF" in ctr.output("images", "ls")
    assert ctr.output("leases", "create", "--id", "mine").strip() == "mine"
    assert "mine" in ctr.output("leases", "ls")
    done = ctr.run("leases", "create", "--id", "mine")
    assert b'lease "mine": already exists' in done.stderr
    ctr.output("leases", "rm", "--sync", "mine")
    assert ctr.output("leases", "ls", "-q") == ""


def test_images_are_tagged_labelled_and_removed(ctr, registry):
    name = registry.push("tagged", IMAGE)
    ctr.output("content", "fetch", "--plain-http", "--all-platforms", name)
    ctr.output("images", "tag", name, "other:1")
    assert ctr.output("images", "label", "other:1", "a=b") == "a=b\n"
    done = ctr.run("images", "tag", name, "other:1")
    assert b'image "other:1": already exists' in done.stderr
    ctr.output("images", "tag", "--force", name, "other:1")
    assert ctr.output("images", "rm", "other:1") == "other:1\n"
    with ctr.store as store:
        assert [image.name for image in store.images.list() if image.name == name] == [name]
        assert "other:1" not in {image.name for image in store.images.list()}


def test_namespaces_are_ignored(ctr):
    digest = ctr.ingest(b"everywhere")
    assert digest in ctr.output("-n", "other", "content", "ls", "-q")


def test_errors_have_containerds_texts(ctr):
    done = ctr.run("events")
    assert b"unknown service containerd.services.events.v1.Events" in done.stderr
    done = ctr.run("namespaces", "create", "other")
    assert b"this store is flat" in done.stderr
