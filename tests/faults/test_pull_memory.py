"""What a pull costs at most, whatever the registry sends."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from bench.faulty import FaultyRegistry, cut
from contentui.content.digest import Digest
from contentui.demo.unpackable import Unpackable, make_unpackable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from contentui.demo.registry import Connection, Request

MIB = 1 << 20
MOST_KIB = 80 * 1024
SIZE = 300 * MIB

PULL = """
import sys
from contentui.cli.main import main
try:
    code = main(sys.argv[1:])
finally:
    print(open("/proc/self/status").read(), flush=True)
sys.exit(code)
"""


@pytest.fixture
def registry() -> Iterator[FaultyRegistry]:
    with FaultyRegistry() as made:
        yield made


def pull(store: Path, name: str) -> tuple[int, int, str]:
    """Its exit code, the most memory that it used in KiB, and its words."""
    argv = [sys.executable, "-c", PULL, "--store", str(store), "pull", "--progress=json", name]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False)
    peak = re.search(r"VmHWM:\s+(\d+) kB", done.stdout)
    assert peak is not None, done.stderr
    return done.returncode, int(peak[1]), done.stderr


def kept(store: Path) -> int:
    """Bytes on disk."""
    found = 0
    for path in store.rglob("*"):
        with suppress(FileNotFoundError):
            found += path.stat().st_blocks * 512
    return found


def test_a_layer_of_300_mib(tmp_path: Path, registry: FaultyRegistry) -> None:
    small = make_unpackable(9, [1000])
    layer = os.urandom(MIB) * 300
    manifest = small.manifest.decode()
    manifest = manifest.replace(Digest.of(small.layers[0]), Digest.of(layer))
    manifest = manifest.replace(f'"size":{len(small.layers[0])}', f'"size":{SIZE}')
    name = registry.add(Unpackable(manifest.encode(), small.config, (layer,)))
    registry.faults[f"/blobs/{Digest.of(layer)}"] = [cut(200 * MIB)]
    code, peak_kib, words = pull(tmp_path / "s", name)
    assert code == 0, words
    assert peak_kib < MOST_KIB
    assert len(registry.gets(str(Digest.of(layer)))) == 2
    assert (tmp_path / "s/blobs/sha256" / Digest.of(layer).encoded).stat().st_size == SIZE


def endless(link: Connection, request: Request, data: bytes) -> None:
    """A layer that begins as it should and never ends."""
    del request
    link.head(200, "Connection: close")
    link.send(data)
    zeros = bytes(MIB)
    while not link.closed.is_set():
        link.send(zeros)


def promising(link: Connection, request: Request, data: bytes) -> None:
    """The same, with a length that fits no disk."""
    del request
    link.head(200, f"Content-Length: {1 << 62}")
    link.send(data)
    zeros = bytes(MIB)
    while not link.closed.is_set():
        link.send(zeros)


@pytest.mark.parametrize("fault", [endless, promising])
@pytest.mark.parametrize("part", ["config", "layer"])
def test_a_body_without_end_costs_no_more_than_was_declared(
    tmp_path: Path, registry: FaultyRegistry, fault: Callable[..., None], part: str
) -> None:
    image = make_unpackable(10, [4 * MIB])
    name = registry.add(image)
    data = image.config if part == "config" else image.layers[0]
    registry.faults[f"/blobs/{Digest.of(data)}"] = [fault]
    registry.for_ever = True
    code, peak_kib, words = pull(tmp_path / "s", name)
    assert code != 0
    assert "but the manifest has" in words or "more bytes than the size in the manifest" in words
    assert peak_kib < MOST_KIB
    assert kept(tmp_path / "s") < 5 * MIB
    assert registry.sent < 20 * MIB  # what waits in the sockets included
    assert len(registry.gets(str(Digest.of(data)))) == 1


def test_zeros_in_disguise_stay_as_they_came(tmp_path: Path, registry: FaultyRegistry) -> None:
    """A layer that would unpack to far more than memory is stored, not unpacked."""
    bomb = gzip.compress(bytes(64 * MIB), 9)
    small = make_unpackable(11, [1000])
    manifest = small.manifest.decode()
    manifest = manifest.replace(Digest.of(small.layers[0]), Digest.of(bomb))
    manifest = manifest.replace(f'"size":{len(small.layers[0])}', f'"size":{len(bomb)}')
    name = registry.add(Unpackable(manifest.encode(), small.config, (bomb,)))
    code, peak_kib, words = pull(tmp_path / "s", name)
    assert code == 0, words
    assert peak_kib < MOST_KIB
    assert kept(tmp_path / "s") < MIB
