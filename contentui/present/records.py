"""Views as JSON objects with stable names that carry their units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contentui.records import holder_record, info_record, status_record
from contentui.text import rfc3339, visible

if TYPE_CHECKING:
    from contentui.monitor.model import BlobRow, Health, IngestRow, StoreView


def store_view_record(view: StoreView, *, blobs: bool = False) -> dict[str, Any]:
    """A whole view.

    ====================  ======================================================================
    ``seq``               number of the view, growing
    ``taken_at``          RFC 3339 in UTC, as all times; null when unknown
    ``source``            the store's name
    ``read_only_reason``  why it can't be changed from here; null when it can
    ``health``            ``view`` (live, polling, stale), ``reason`` or null, ``last_good_at``,
                          ``stale_s`` (seconds since then; 0 unless stale)
    ``counts``            ingests by state; states that don't occur are left out
    ``ingest_count``      all ingests
    ``blob_count``        blobs
    ``blob_bytes``        bytes in them
    ``free_bytes``        on the store's disk; null when that means nothing
    ``disk_bytes``        the disk's size, or null
    ``rate_bytes_per_s``  of all ingests together
    ``ingests``           objects as in `ingest_record`
    ``events``            sentences: what happened since the view before
    ``notices``           sentences that a person must hear once: another daemon answers now
    ``blobs``             objects as in `blob_record`; only when asked for
    ====================  ======================================================================
    """
    usage = view.usage
    record = {
        "seq": view.seq,
        "taken_at": rfc3339(view.taken_ns),
        "source": visible(view.source),
        "read_only_reason": view.read_only_reason or None,
        "health": health_record(view.health, view.taken_ns),
        "counts": {str(state): count for state, count in view.counts.items()},
        "ingest_count": len(view.ingests),
        "blob_count": len(view.blobs),
        "blob_bytes": view.blob_bytes,
        "free_bytes": usage.free if usage else None,
        "disk_bytes": usage.total if usage else None,
        "rate_bytes_per_s": round(view.rate),
        "ingests": [ingest_record(row) for row in view.ingests],
        "events": list(view.events),
        "notices": list(view.notices),
    }
    if blobs:
        record["blobs"] = [blob_record(row) for row in view.blobs]
    return record


def ingest_record(row: IngestRow) -> dict[str, Any]:
    """An ingest.

    ``ref`` is null where it is not valid UTF-8, and ``ref_b64`` has its bytes then;
    ``total_bytes`` null: undeclared; ``held``: true, false, or null when it can't be known;
    ``holder``: ``pid``, ``command``, ``since``, ``foreign``, or null.
    """
    return {
        **status_record(row.status),
        "last_byte_at": rfc3339(row.last_byte_ns),
        "verdict": str(row.state),
        "reason": row.reason,
        "rate_bytes_per_s": round(row.rate),
        "eta_s": None if row.eta_s is None else round(row.eta_s, 1),
        "held": {"held": True, "free": False}.get(row.liveness),
        "holder": row.holder and holder_record(row.holder),
    }


def blob_record(row: BlobRow) -> dict[str, Any]:
    """A blob. ``kind`` null: not looked at yet; ``needed_by`` null: unknown, which isn't nobody."""
    needs = row.referrers
    return {
        **info_record(row.info),
        "kind": row.kind and str(row.kind),
        "needed_by": None
        if needs is None
        else [{"by": need.by, "name": visible(need.name), "digest": need.digest} for need in needs],
    }


def health_record(health: Health, taken_ns: int) -> dict[str, Any]:
    """How much the picture can be trusted."""
    stale = health.freshness == "stale"
    return {
        "view": str(health.freshness),
        "reason": health.reason or None,
        "last_good_at": rfc3339(health.since_ns),
        "stale_s": round(max(taken_ns - health.since_ns, 0) / 1e9, 1)
        if stale and health.since_ns
        else 0,
    }
