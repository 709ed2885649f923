"""The JSON of views: stable names, nothing hostile, nothing lost."""

from __future__ import annotations

import json

from monitor_bench import Bench

from contentui.present.records import store_view_record

FIELDS = {
    "seq", "taken_at", "source", "read_only_reason", "health", "counts", "ingest_count",
    "blob_count", "blob_bytes", "loading", "free_bytes", "disk_bytes", "rate_bytes_per_s",
    "ingests", "events", "notices",
}  # fmt: skip
INGEST = {
    "ref", "id", "namespace", "offset_bytes", "total_bytes", "started_at", "updated_at",
    "last_byte_at", "expected", "damage", "refused", "verdict", "reason", "rate_bytes_per_s",
    "eta_s", "held", "holder",
}  # fmt: skip


def test_all_fields_are_there() -> None:
    bench = Bench()
    bench.tick()
    bench.store.put(b"blob")
    writer = bench.store.writer("text\n\x1b[0m", total=100)
    writer.write(b"x" * 50)
    bench.store.writer("bad-\udcff")
    record = json.loads(json.dumps(store_view_record(bench.tick(), blobs=True)))
    assert set(record) == FIELDS | {"blobs"}
    rows = {row["id"]: row for row in record["ingests"]}
    text = next(row for row in rows.values() if row["ref"])
    undecodable = next(row for row in rows.values() if not row["ref"])
    assert set(text) == INGEST
    assert set(undecodable) == INGEST | {"ref_b64"}
    assert undecodable["ref_b64"] == "YmFkLf8="
    assert undecodable["total_bytes"] is None
    assert text["offset_bytes"] == 50
    assert text["held"] is True
    assert set(text["holder"]) == {
        "pid",
        "command",
        "started_at",
        "since",
        "foreign",
        "daemon",
        "clients",
    }
    assert text["started_at"].startswith("2023-11-14T22:13:20.25")
    assert text["verdict"] == "moving"
    assert record["health"]["view"] == "polling"
    assert record["health"]["stale_s"] == 0
    assert record["blobs"][0]["needed_by"] is None
    assert all(event.isprintable() for event in record["events"])


def test_age_of_a_stale_picture() -> None:
    bench = Bench()
    bench.tick()
    bench.store.error = OSError(5, "Input/output error")
    record = store_view_record(bench.run(4))
    assert record["health"]["view"] == "stale"
    assert record["health"]["stale_s"] == 4
    assert "Input/output error" in record["health"]["reason"]
