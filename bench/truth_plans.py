"""Bytes that plans announce, next to the bytes that are gone from the disk afterwards."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from bench.truth_row import Row
from contentui.actions.model import Concern, Result
from contentui.actions.planner import Planner
from contentui.actions.run import run
from contentui.content.digest import Digest
from contentui.content.errors import AlreadyExists
from contentui.content.helpers import image_names
from contentui.stores.open import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.peers import Containerd
    from contentui.actions.model import Plan
    from contentui.content.model import Lease
    from contentui.content.store import Store

_OCI = "application/vnd.oci.image"


def bytes_on_disk(daemon: Containerd) -> int:
    """Bytes of all blob files, and of the data files of ingests."""
    files = [*daemon.content.glob("blobs/sha256/*"), *daemon.content.glob("ingest/*/data")]
    return sum(file.stat().st_size for file in files)


def lost_rows(daemon: Containerd, store: Store) -> Iterator[Row]:
    """One row for deleting a layer, a manifest, an index, an image's name and a lease."""
    wanted: dict[str, Callable[[Planner, _Image], Plan]] = {
        "a layer": lambda planner, made: planner.delete([store.info(made.layer)]),
        "a manifest": lambda planner, made: planner.delete([store.info(made.manifest)]),
        "an index": lambda planner, made: planner.delete([store.info(made.index)]),
        "an image's name": lambda planner, made: planner.untag([image_names(store).get(made.name)]),
        "a lease": lambda planner, made: planner.release([_only_leased(daemon, store, made)]),
    }
    for number, (what, plan_of) in enumerate(wanted.items()):
        made = _Image(daemon, number)
        planner = Planner(store)
        _collected(daemon)  # ctr has left the archive's index.json
        plan = plan_of(planner, made)
        before = bytes_on_disk(daemon)
        refresher = planner.referrer_refresher()
        (outcome,) = run(
            store,
            plan,
            allow=frozenset(Concern),
            referrers=refresher,
            unreferenced=refresher.unreferenced,
        )
        lost = before - _collected(daemon)
        right = outcome.result is Result.DONE and lost == plan.lost_bytes
        shown = f"{plan.bound} {plan.lost_bytes} bytes".strip()
        yield Row(
            f"lost by deleting {what}", shown, f"{lost} bytes",
            "size of the files of blobs and ingests before and after the collector ran", right,
        )  # fmt: skip
        names = image_names(store)
        for image in names.list():
            names.delete(image.name, if_match=image)
        _collected(daemon)


def _only_leased(daemon: Containerd, store: Store, made: _Image) -> Lease:
    """A lease instead of the image's name, which keeps an unfinished ingest as well."""
    with closing(open_store(f"unix://{daemon.socket}?namespace=default")) as other:
        with suppress(AlreadyExists):  # with that the blob is in the store's lease
            other.writer("truth", expected=made.index)
        with other.writer("truth-unfinished", total=300_000) as writer:
            writer.write(bytes(200_000))
        names = image_names(store)
        names.delete(made.name, if_match=names.get(made.name))
    role = store.roles.leasing
    assert role is not None
    (lease,) = role.list_leases()
    return lease


def _collected(daemon: Containerd) -> int:
    """The bytes on disk after a run of the garbage collector, which this asks for and awaits."""
    for words in (("leases", "create", "--id", "collect"), ("leases", "rm", "--sync", "collect")):
        subprocess.run(daemon.ctr(*words), check=True, capture_output=True)
    return bytes_on_disk(daemon)


class _Image:
    """An index of two manifests that share a layer, imported by ``ctr`` under an image's name."""

    def __init__(self, daemon: Containerd, number: int) -> None:
        self._files: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
        self.name = f"example.org/truth:{number}"
        shared = self._add("layer.v1.tar", _layer(number, 2, 400_000))
        manifests = []
        for place, architecture in enumerate(("amd64", "arm64")):
            own = self._add("layer.v1.tar", _layer(number, place, 200_000))
            facts = {"architecture": architecture, "os": "linux", "rootfs": {"type": "layers"}}
            config = self._add("config.v1+json", json.dumps({**facts, "n": number}).encode())
            document = {"schemaVersion": 2, "mediaType": f"{_OCI}.manifest.v1+json"}
            body = json.dumps({**document, "config": config, "layers": [shared, own]}).encode()
            platform = {"architecture": architecture, "os": "linux"}
            manifests.append({**self._add("manifest.v1+json", body), "platform": platform})
            self.layer = Digest(own["digest"])
        self.manifest = Digest(manifests[0]["digest"])
        media_type = f"{_OCI}.index.v1+json"
        body = json.dumps(
            {"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}
        ).encode()
        index = self._add("index.v1+json", body)
        self.index = Digest(index["digest"])
        index["annotations"] = {"io.containerd.image.name": self.name}
        self._files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [index]}).encode()
        argv = daemon.ctr("images", "import", "--all-platforms", "--no-unpack", "-")
        subprocess.run(argv, input=self._archive(), check=True, capture_output=True)

    def _add(self, kind: str, data: bytes) -> dict[str, Any]:
        """Put a blob into the archive; returns its descriptor."""
        encoded = hashlib.sha256(data).hexdigest()
        self._files[f"blobs/sha256/{encoded}"] = data
        media_type = f"{_OCI}.{kind}"
        return {"mediaType": media_type, "digest": f"sha256:{encoded}", "size": len(data)}

    def _archive(self) -> bytes:
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as archive:
            for path, data in self._files.items():
                member = tarfile.TarInfo(path)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        return made.getvalue()


def _layer(number: int, place: int, size: int) -> bytes:
    """A tar archive with one file of about that size."""
    data = f"{number} {place}".encode() * (size // 4)
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        member = tarfile.TarInfo("file")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return made.getvalue()
