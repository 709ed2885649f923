"""A directory made here, put under a real containerd's database, is served as its own."""

from __future__ import annotations

import hashlib
import subprocess
from typing import TYPE_CHECKING

import pytest
from interop_live import MIB, Live, Peer, unavailable

from bench.peers import NAMESPACE, Missing, debian_go
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def adopted(short_tmp: Path, peer: Peer) -> Live:
    """A stopped containerd whose blobs and ingests we made; enter it to start it."""
    del peer  # only to skip without it
    daemon = Live(short_tmp / "adopted", collect=False)
    try:
        with daemon:
            pass  # makes the database
    except Missing as missing:
        unavailable(str(missing))
    made = LocalStore(str(daemon.place / "made"))
    made.put_many([b"one", b"two", b"3" * MIB])
    with made.writer(f"{NAMESPACE}/1/half") as writer:
        writer.write(b"h" * MIB)
    made.close()
    for part in ("blobs", "ingest"):
        if (daemon.content / part).exists():
            (daemon.content / part).rmdir()
        (daemon.place / "made" / part).rename(daemon.content / part)
    command = [debian_go(), daemon.content, "adopt", daemon.database, NAMESPACE]
    subprocess.run(command, check=True, capture_output=True)
    return daemon


def test_a_real_containerd_serves_it(adopted: Live) -> None:
    whole = b"h" * (2 * MIB)
    with adopted as daemon:
        listed = daemon.output("content", "ls", "-q").decode().split()
        wanted = [b"one", b"two", b"3" * MIB]
        assert sorted(listed) == sorted(f"sha256:{hashlib.sha256(x).hexdigest()}" for x in wanted)
        got = {daemon.output("content", "get", digest) for digest in listed}
        assert got == set(wanted)
        assert b"half" in daemon.output("content", "active")
        daemon.output("content", "ingest", "half", given=whole)
        digest = f"sha256:{hashlib.sha256(whole).hexdigest()}"
        assert daemon.output("content", "get", digest) == whole
        assert b"half" not in daemon.output("content", "active")
