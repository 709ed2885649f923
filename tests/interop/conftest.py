"""A real containerd and containerd's own local store, for the tests here."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from interop_live import MIB, Live, Peer, unavailable

from bench.peers import Missing, debian_go

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.interop)


@pytest.fixture(scope="session")
def short_tmp() -> Iterator[Path]:
    """A directory whose path is short enough for a socket in it."""
    path = Path(tempfile.mkdtemp(prefix="cui-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def peer() -> Peer:
    """containerd's own content/local: ``peer(root, verb, ...)`` returns its JSON lines."""
    try:
        program = debian_go()
    except Missing as missing:
        unavailable(str(missing))

    def run(root: Path, *arguments: object) -> list[dict[str, Any]]:
        argv = [program, root, *map(str, arguments)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, umask=0o022)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


@pytest.fixture(scope="session")
def containerd(short_tmp: Path) -> Iterator[Live]:
    """A containerd with a few blobs, and ``half``: an ingest whose client died after 3 MiB."""
    try:
        with Live(short_tmp / "ctd", collect=False) as daemon:
            for size in (0, 1, 5 * MIB):
                daemon.output("content", "ingest", f"blob-{size}", given=b"b" * size)
            client = daemon.begin("half", b"h" * (3 * MIB))
            client.kill()
            client.communicate()
            yield daemon
    except Missing as missing:
        unavailable(str(missing))
