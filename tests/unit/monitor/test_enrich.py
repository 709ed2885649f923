"""Kinds and referrers are filled in from the index, what is in focus first."""

from __future__ import annotations

import json
import subprocess
import sys

from monitor_bench import Bench

from contentui.index.content_index import ContentIndex
from contentui.monitor.monitor import Monitor
from contentui.oci.kinds import Kind


def test_kinds_and_needs_arrive() -> None:
    bench = Bench()
    layer = bench.store.put(b"\x1f\x8b\x08" + bytes(100))
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": layer.digest,
            "size": layer.size,
        },
        "layers": [],
    }
    root = bench.store.put(json.dumps(manifest).encode())
    bench.monitor = Monitor(bench.store, index=ContentIndex(bench.store), clock=bench.clock)
    bench.monitor.focus([layer.digest, "nobody"])
    rows = {row.info.digest: row for row in bench.run(3).blobs}
    assert rows[layer.digest].kind is Kind.LAYER_GZIP
    assert rows[root.digest].kind is Kind.MANIFEST
    assert [referrer.digest for referrer in rows[layer.digest].referrers or ()] == [root.digest]
    assert rows[root.digest].referrers == ()
    before = bench.run(6)
    assert bench.tick().blobs is before.blobs
    bench.store.delete(root.digest)
    rows = {row.info.digest: row for row in bench.run(6).blobs}
    assert rows[layer.digest].referrers == ()


def test_many_blobs_are_listed_bit_by_bit_and_completely() -> None:
    bench = Bench()
    for number in range(3000):
        bench.store.put(b"%d" % number)
    view = bench.run(1)
    assert len(view.blobs) == 3000
    assert view.blob_bytes == sum(row.info.size for row in view.blobs)
    assert view.events == ()


def test_a_monitor_without_directories_never_loads_watchfiles() -> None:
    code = """
import sys
from contentui.monitor.monitor import Monitor
from contentui.monitor.feed import Feed
from contentui.stores.memory import MemoryStore
Monitor(MemoryStore()).tick()
assert not {"watchfiles", "textual", "rich", "anyio"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
