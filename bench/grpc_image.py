"""An image into a containerd whose content our service keeps, and into one that keeps its own."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from typing import TYPE_CHECKING

from bench.grpc_servers import OURS, PEAKS, Serving, peak_kib, succeed
from bench.measure import Judged, Row, Skipped, Subject, timed
from bench.peers import Containerd, Missing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.measure import Bench
    from bench.work import Work

NAME = "example.invalid/bench/image:1"
LAYERS = 8
OCI = "application/vnd.oci.image."


def measure(bench: Bench, work: Work) -> Iterator[Row | Skipped]:
    """All rows of this theme."""
    size = bench.scaled(64 << 20, 4 << 20)
    image = make_image(work.runs / "image.tar", size)
    try:
        yield from importing(bench, work, image, size)
    except Missing as missing:
        yield Skipped("importing an image", str(missing))


def importing(bench: Bench, work: Work, image: Path, size: int) -> Iterator[Row]:
    place = work.fresh("ctd-on-ours")
    keeper = Serving(work.fresh("cui"), work.short() / "s", "--for-containerd", str(place / "root"))
    own = Containerd(work.fresh("ctd"))
    with keeper, own, Containerd(place, content_socket=keeper.socket) as on_ours:
        assert keeper.process
        assert own.process
        assert on_ours.process
        pids = [server.pid for server in (keeper.process, own.process, on_ours.process)]
        with bench.serving(pids):
            for words, options in (
                ("", ["--no-unpack"]),
                (" and unpacking it", ["--snapshotter", "native"]),
            ):
                yield from compare(bench, f"importing {LAYERS} × {size >> 20} MiB{words}",
                                   on_ours, own, options, image)  # fmt: skip
        PEAKS[OURS] = max(PEAKS[OURS], peak_kib(keeper.process.pid))


def compare(
    bench: Bench, label: str, on_ours: Containerd, own: Containerd, options: list[str], image: Path
) -> Iterator[Row]:
    def once(daemon: Containerd) -> float:
        seconds = timed(daemon.ctr("images", "import", *options, str(image)))
        succeed(daemon.ctr("images", "rm", "--sync", NAME))
        return seconds

    subjects = {
        "on our service": Subject(lambda: once(on_ours)),
        "on its own store": Subject(lambda: once(own)),
    }
    yield from bench.compare(subjects, [Judged(label, "on our service", "on its own store", 1.5)])


def make_image(path: Path, size: int) -> Path:
    """An OCI archive with layers of one incompressible file each."""
    with tarfile.open(path, "w") as archive:
        layers = [add_blob(archive, layer(index, size)) for index in range(LAYERS)]
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest for digest, _ in layers]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI + "manifest.v1+json",
            "config": described("config.v1+json", add_blob(archive, to_json(config))),
            "layers": [described("layer.v1.tar", one) for one in layers],
        }
        top = described("manifest.v1+json", add_blob(archive, to_json(manifest)))
        top["annotations"] = {"io.containerd.image.name": NAME}
        add(archive, "index.json", to_json({"schemaVersion": 2, "manifests": [top]}))
        add(archive, "oci-layout", to_json({"imageLayoutVersion": "1.0.0"}))
    return path


def layer(index: int, size: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        add(archive, f"file-{index}", os.urandom(size))
    return out.getvalue()


def described(kind: str, blob: tuple[str, int]) -> dict[str, object]:
    return {"mediaType": OCI + kind, "digest": blob[0], "size": blob[1]}


def add_blob(archive: tarfile.TarFile, data: bytes) -> tuple[str, int]:
    encoded = hashlib.sha256(data).hexdigest()
    add(archive, f"blobs/sha256/{encoded}", data)
    return f"sha256:{encoded}", len(data)


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def to_json(document: object) -> bytes:
    return json.dumps(document).encode()
