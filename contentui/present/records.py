"""Every JSON object that a verb prints, with stable names that carry their units.

docs/json.md describes each field; a test compares it with these functions. Times are RFC 3339 in
UTC, null when unknown. Steps of plans and findings of a check, which also go into the journal, are
in `contentui.actions.records`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from contentui.actions.records import exact_text, holder_to_json
from contentui.content.model import Liveness, id_text
from contentui.text import escaped, rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from contentui.content.digest import Digest
    from contentui.content.model import (
        Descriptor,
        Holder,
        Image,
        Info,
        IngestId,
        Lease,
        Probe,
        Status,
    )
    from contentui.index.image_sizes import Sizes
    from contentui.monitor.model import BlobRow, Health, IngestRow, StoreView
    from contentui.remotes.credentials import Place
    from contentui.transfers.model import Part, Transfer

_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


def json_line(record: dict[str, Any]) -> str:
    """A record as one line of ASCII: safe on a terminal, whatever names are in it."""
    return _encode(record)


def info_record(info: Info) -> dict[str, Any]:
    """A blob. ``labels`` null: unknown; ``namespaces`` empty: the store has none."""
    return {
        "digest": info.digest,
        "size_bytes": info.size,
        "committed_at": rfc3339(info.committed_ns),
        "updated_at": rfc3339(info.updated_ns),
        "labels": None if info.labels is None else dict(info.labels),
        "namespaces": [escaped(name) for name in info.namespaces],
    }


def written_record(info: Info, outcome: str, resumed_from: int) -> dict[str, Any]:
    """A blob that ``ingest`` wrote; ``resumed_from`` in bytes."""
    return info_record(info) | {"outcome": outcome, "resumed_from_bytes": resumed_from}


def blob_record(row: BlobRow) -> dict[str, Any]:
    """A blob of a view. ``kind`` null: not looked at yet; ``needed_by`` null: unknown, not none."""
    by = row.referrers
    return {
        **info_record(row.info),
        "kind": row.kind and str(row.kind),
        "needed_by": None
        if by is None
        else [{"by": each.by, "name": escaped(each.name), "digest": each.digest} for each in by],
    }


def status_record(status: Status) -> dict[str, Any]:
    """An ingest without its holder.

    ``ref`` null: it isn't valid UTF-8, and ``ref_b64`` has its bytes; ``total_bytes`` null:
    undeclared; ``refused``: poisoned, the digest of these bytes; ``namespace`` null: the store has
    none.
    """
    return {
        "ref": None,
        **exact_text("ref", status.ref),
        "id": id_text(status.id),
        "namespace": escaped(status.namespace) or None,
        "offset_bytes": status.offset,
        "total_bytes": status.total or None,
        "started_at": rfc3339(status.started_ns),
        "updated_at": rfc3339(status.updated_ns),
        "expected": status.expected,
        "damage": escaped(status.damage) or None,
        "refused": status.refused,
    }


def held_record(status: Status, holders: Mapping[IngestId, Holder] | None) -> dict[str, Any]:
    """An ingest and its holder. ``held`` null: it can't be known."""
    holder = None if holders is None else holders.get(status.id)
    held = None if holders is None else holder is not None
    return status_record(status) | {"held": held, "holder": holder_to_json(holder)}


def ingest_record(row: IngestRow) -> dict[str, Any]:
    """An ingest of a view, with its state and rate."""
    return {
        **status_record(row.status),
        "held": {Liveness.HELD: True, Liveness.FREE: False}.get(row.liveness),
        "holder": holder_to_json(row.holder),
        "last_byte_at": rfc3339(row.last_byte_ns),
        "verdict": str(row.state),
        "reason": row.reason,
        "rate_bytes_per_s": None if row.rate is None else round(row.rate),
        "eta_s": None if row.eta_s is None else round(row.eta_s, 1),
    }


def change_record(
    change: str, row: IngestRow, now_ns: int, info: Info | None = None
) -> dict[str, Any]:
    """An ingest that ``appeared``, ``changed``, was ``committed`` or is ``gone``.

    ``info``: the blob it was committed as. ``now_ns``: when it was seen.
    """
    record = {"at": rfc3339(now_ns), "change": change, **ingest_record(row)}
    if info is not None:
        record |= {"digest": info.digest, "size_bytes": info.size}
    return record


def probe_record(probe: Probe, finding: str) -> dict[str, Any]:
    """An ingest as it was when its lock was asked for, and what was found.

    ``digest``: of the bytes so far, null while held.
    """
    return {
        **status_record(probe.status),
        "held": probe.liveness is Liveness.HELD,
        "holder": holder_to_json(probe.holder),
        "digest": probe.digest,
        "finding": finding,
    }


def store_view_record(view: StoreView, *, blobs: bool = False) -> dict[str, Any]:
    """A whole view; ``blobs``: with every blob."""
    from contentui.present.events import event_text

    usage = view.usage
    record = {
        "seq": view.seq,
        "taken_at": rfc3339(view.taken_ns),
        "source": escaped(view.source),
        "read_only_reason": view.read_only_reason or None,
        "health": health_record(view.health, view.taken_ns),
        "counts": {str(state): count for state, count in view.counts.items()},
        "ingest_count": len(view.ingests),
        "blob_count": len(view.blobs),
        "blob_bytes": view.blob_bytes,
        "loading": view.is_loading,
        "free_bytes": usage.free if usage else None,
        "disk_bytes": usage.total if usage else None,
        "rate_bytes_per_s": None if view.rate is None else round(view.rate),
        "ingests": [ingest_record(row) for row in view.ingests],
        "events": list(map(event_text, view.events)),
        "notices": list(view.notices),
    }
    if blobs:
        record["blobs"] = [blob_record(row) for row in view.blobs]
    return record


def health_record(health: Health, taken_ns: int) -> dict[str, Any]:
    """How fresh a view is."""
    stale = health.freshness == "stale"
    return {
        "view": str(health.freshness),
        "reason": health.reason or None,
        "last_good_at": rfc3339(health.since_ns),
        "stale_s": round(max(taken_ns - health.since_ns, 0) / 1e9, 1)
        if stale and health.since_ns
        else 0,
    }


def verified_record(info: Info, ok: bool | None, problem: str) -> dict[str, Any]:
    """A blob that was read; ``ok`` None: it could not be read."""
    return {
        "digest": info.digest,
        "size_bytes": info.size,
        "ok": ok,
        "problem": problem or None,
    }


def path_record(digest: Digest, path: str) -> dict[str, Any]:
    """The file that has a blob's bytes."""
    return {"digest": digest, "path": path}


def image_record(image: Image, sizes: Sizes) -> dict[str, Any]:
    """An image's name and what it keeps."""
    return {
        "name": escaped(image.name),
        "namespace": image.namespace or None,
        "digest": image.target.digest,
        "media_type": escaped(image.target.media_type),
        "size_bytes": sizes.total,
        "own_bytes": sizes.own,
        "shared_bytes": sizes.shared,
        "missing": sizes.missing,
        "created_at": rfc3339(image.created_ns),
        "updated_at": rfc3339(image.updated_ns),
    }


def lease_record(lease: Lease) -> dict[str, Any]:
    """A lease of a daemon and what it keeps."""
    return {
        "lease": escaped(lease.id),
        "namespace": escaped(lease.namespace) or None,
        "created_at": rfc3339(lease.created_ns),
        "expires_at": rfc3339(lease.expires_ns),
        "labels": {escaped(key): escaped(value) for key, value in lease.labels.items()},
        "blobs": [str(digest) for digest in lease.blobs],
        "ingests": [escaped(ref) for ref in lease.ingests],
        "others": lease.others,
    }


def transferred_record(image: str, root: Descriptor) -> dict[str, Any]:
    """An image that was pulled, fetched or imported; ``image`` empty: it has no name."""
    return {
        "image": escaped(image) or None,
        "digest": root.digest,
        "media_type": escaped(root.media_type),
    }


def imported_record(image: str, root: Descriptor, replaced: Digest | None) -> dict[str, Any]:
    """An image of an archive; ``replaced``: what the name referred to before."""
    return transferred_record(image, root) | {"replaced": replaced}


def pushed_record(image: str, root: Descriptor) -> dict[str, Any]:
    """An image that a registry has now."""
    return {"image": escaped(image), "digest": root.digest}


def login_record(host: str, username: str, place: Place, *, tried: bool) -> dict[str, Any]:
    """Credentials that were stored; never the password."""
    return {
        "host": escaped(host),
        "username": escaped(username),
        **_place_record(place),
        "tried": tried,
    }


def logout_record(
    host: str, removed: Sequence[Place], remaining: Sequence[Place]
) -> dict[str, Any]:
    """From where credentials were removed, and where others of the host remain."""
    return {
        "host": escaped(host),
        "removed": [_place_record(place) for place in removed],
        "remaining": [_place_record(place) for place in remaining],
    }


def _place_record(place: Place) -> dict[str, Any]:
    return {
        "file": escaped(place.file),
        "key": escaped(place.key),
        "helper": escaped(place.helper) if place.helper else None,
    }


def part_record(transfer: Transfer, part: Part, rate: float) -> dict[str, Any]:
    """One blob of a running pull or push; ``rate`` in bytes per second."""
    return {
        "image": escaped(transfer.image),
        "ref": escaped(part.ref),
        "digest": part.descriptor.digest,
        "phase": str(part.phase),
        "words": escaped(part.message) or None,
        "offset_bytes": part.offset,
        "total_bytes": part.descriptor.size,
        "resumed_from_bytes": part.resumed,
        "rate_bytes_per_s": round(rate),
        "host": escaped(part.host) or None,
    }


def transfer_record(transfer: Transfer) -> dict[str, Any]:
    """What happens to a whole pull or push."""
    return {
        "image": escaped(transfer.image),
        "words": escaped(transfer.error or transfer.message),
        "failed": bool(transfer.error),
    }


def progress_record(
    label: str, offset: int, total: int, rate: float, eta_s: float | None
) -> dict[str, Any]:
    """How far long work is: bytes, bytes per second, seconds; ``total`` 0: unknown."""
    return {
        "progress": label,
        "offset_bytes": offset,
        "total_bytes": total or None,
        "rate_bytes_per_s": round(rate),
        "eta_s": None if eta_s is None else round(eta_s, 1),
    }


def ready_record(
    addresses: Sequence[str], *, store: str, read_only: bool, root: str, uuid: str, pid: int
) -> dict[str, Any]:
    """A service that accepts connections; ``root``: of the containerd it serves, or empty."""
    return {
        "ready": True,
        "listen": list(addresses),
        "store": store.encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
        "read_only": read_only,
        "for_containerd": root or None,
        "uuid": uuid,
        "pid": pid,
    }
