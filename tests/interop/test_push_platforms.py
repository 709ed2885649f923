"""Pushing an index of which not all platforms are here, to a real registry."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from registries import DockerRegistry

from contentui.cli.exits import Exit
from contentui.cli.main import main
from contentui.content.digest import Digest
from contentui.content.helpers import put_blob
from contentui.content.model import Descriptor
from contentui.demo.unpackable import MANIFEST, make_unpackable
from contentui.oci.media_types import OCI_INDEX
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from contentui.demo.unpackable import Unpackable

AMD, ARM, S390 = (make_unpackable(seed, [40_000]) for seed in (1, 2, 3))
ATTESTATION = make_unpackable(4, [3000])
NAMES = {"amd64": AMD, "arm64": ARM, "s390x": S390}


def entry(image: Unpackable, os: str, architecture: str) -> dict[str, object]:
    return {
        "mediaType": MANIFEST,
        "digest": image.digest,
        "size": len(image.manifest),
        "platform": {"os": os, "architecture": architecture},
    }


def index_of(*architectures: str, attested: bool = False) -> bytes:
    manifests = [entry(NAMES[each], "linux", each) for each in architectures]
    if attested:
        manifests.append(entry(ATTESTATION, "unknown", "unknown"))
    made = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
    return json.dumps(made).encode()


INDEX = index_of("amd64", "arm64", "s390x")


class Machine:
    """A store, a registry, and the command line."""

    def __init__(self, root: str, registry: DockerRegistry) -> None:
        self.root, self.registry = root, registry

    def have(self, index: bytes, *images: Unpackable, name: str = "example.lan/app:v1") -> None:
        with LocalStore(self.root) as store:
            for image in images:
                for data in (*image.blobs.values(), image.manifest):
                    put_blob(store, data)
            put_blob(store, index)
            store.images.put(name, Descriptor(OCI_INDEX, Digest.of(index), len(index)))

    def push(self, tag: str, *options: str) -> int:
        target = f"{self.registry.host}/app:{tag}"
        return main(["--store", self.root, "push", "-q", *options, target, "example.lan/app:v1"])

    def tagged(self, tag: str) -> str | None:
        return self.registry.digest_of("app", tag)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with DockerRegistry(tmp_path / "registry") as registry:
        yield Machine(str(tmp_path / "store"), registry)


def test_all_platforms_are_pushed_with_their_index(machine: Machine) -> None:
    machine.have(INDEX, AMD, ARM, S390)
    assert machine.push("v1") == 0
    assert machine.tagged("v1") == Digest.of(INDEX)
    for image in (AMD, ARM, S390):
        assert machine.tagged(image.digest) == image.digest


def test_the_only_one_is_pushed_and_named(
    machine: Machine, capfd: pytest.CaptureFixture[str]
) -> None:
    machine.have(INDEX, ARM)
    assert machine.push("v1") == 0
    out, err = capfd.readouterr()
    assert out == f"{ARM.digest}\n"
    assert "only linux/arm64 is here, without linux/amd64, linux/s390x" in err
    assert str(ARM.digest) in err
    assert machine.tagged("v1") == ARM.digest


def test_one_of_several_must_be_named(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    machine.have(INDEX, AMD, ARM)
    assert machine.push("v1") == Exit.USAGE
    assert "linux/amd64, linux/arm64 are here, without linux/s390x" in capfd.readouterr().err
    assert machine.tagged("v1") is None
    assert machine.push("v1", "--platform", "linux/arm64") == 0
    assert machine.tagged("v1") == ARM.digest
    assert machine.push("v2", "--platform", "s390x") == Exit.NOT_FOUND
    assert "not here with all its parts" in capfd.readouterr().err
    assert machine.push("v2", "--platform", "windows/amd64") == Exit.NOT_FOUND
    assert "it has linux/amd64, linux/arm64, linux/s390x" in capfd.readouterr().err


def test_what_the_registry_has_need_not_be_here(machine: Machine) -> None:
    machine.have(INDEX, AMD, ARM, S390)
    assert machine.push("v1") == 0
    with LocalStore(machine.root) as store:
        store.delete(Digest.of(ARM.layers[0]))  # its manifest stays, without its layer
        store.delete(S390.digest)
    assert machine.push("v2") == 0
    assert machine.tagged("v2") == Digest.of(INDEX)


def test_a_manifest_does_not_replace_an_index(
    machine: Machine, capfd: pytest.CaptureFixture[str]
) -> None:
    machine.have(INDEX, AMD, ARM, S390)
    assert machine.push("v1") == 0
    newer = make_unpackable(9, [30_000])
    machine.have(
        json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": OCI_INDEX,
                "manifests": [
                    entry(newer, "linux", "amd64"),
                    entry(make_unpackable(10, [1]), "linux", "riscv64"),
                ],
            }
        ).encode(),
        newer,
    )
    assert machine.push("v1") == Exit.FAILED
    err = capfd.readouterr().err
    assert "would lose linux/arm64, linux/s390x" in err
    assert "--platform replaces" in err
    assert machine.tagged("v1") == Digest.of(INDEX)
    assert machine.push("v1", "--platform", "amd64") == 0
    assert machine.tagged("v1") == newer.digest


@pytest.mark.parametrize("here", [True, False])
def test_attestations_travel_along_and_are_not_required(
    here: bool, machine: Machine, capfd: pytest.CaptureFixture[str]
) -> None:
    machine.have(index_of("amd64", "arm64", attested=True), AMD, *([ATTESTATION] * here))
    assert machine.push("v1") == 0
    assert machine.tagged("v1") == AMD.digest
    machine.have(index_of("amd64", attested=True), AMD, *([ATTESTATION] * here))
    code = machine.push("v2")
    err = capfd.readouterr().err
    if here:
        assert code == 0
        assert machine.tagged(ATTESTATION.digest) == ATTESTATION.digest
    else:  # this registry wants all that an index lists
        assert code != 0
        assert "attestation" in err
        assert machine.push("v2", "--platform", "amd64") == 0


def test_an_index_that_lists_one_thing_over_and_over(machine: Machine) -> None:
    """Levels of 60 times the same would be 60 to the third manifests."""
    nested = index_of("amd64")
    documents = []
    for _ in range(3):
        each = {"mediaType": OCI_INDEX, "digest": Digest.of(nested), "size": len(nested)}
        documents.append(nested)
        made = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [each] * 60}
        nested = json.dumps(made).encode()
    with LocalStore(machine.root) as store:
        for data in documents:
            put_blob(store, data)
    machine.have(nested, AMD)
    began = time.monotonic()
    assert machine.push("v1") == 0
    assert time.monotonic() - began < 10
    assert machine.tagged("v1") == Digest.of(nested)


def test_a_destination_by_digest(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    machine.have(INDEX, ARM)
    target = f"{machine.registry.host}/app@{Digest.of(INDEX)}"
    assert (
        main(["--store", machine.root, "push", "-q", target, "example.lan/app:v1"]) == Exit.FAILED
    )
    assert "the destination names the digest" in capfd.readouterr().err
