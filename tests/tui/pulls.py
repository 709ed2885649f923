"""Pulls as other processes would tell of them, for prepared pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from frozen import INGESTS, MB, NOW, SECOND, digest, ingest, layer, store_view

from contentui.content.model import Descriptor
from contentui.monitor.transfers import TransferTracker
from contentui.transfers.model import Part, Phase, Transfer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contentui.monitor.model import IngestRow, StoreView

LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
RETRY = "retrying in 4s (3/6): connection reset by 127.0.0.1:5000"


def part(
    name: str, phase: Phase, offset: int = 0, total: int = 0, words: str = "", host: str = ""
) -> Part:
    descriptor = Descriptor(LAYER_TYPE, digest(name), total or offset)
    return Part(descriptor, layer(name), phase, offset, 0, words, host)


PULL = Transfer(
    "pull",
    "registry.example.org/acme/billing:1.4",
    2231,
    NOW - 12 * SECOND,
    (
        part("config", Phase.DONE, 7_000),
        part("base", Phase.EXISTS, 30 * MB),
        part("a", Phase.DOWNLOADING, 31_200_000, 34_300_000, host="registry.example.org"),
        part("b", Phase.RETRYING, 27_700_000, 50_300_000, RETRY, "127.0.0.1:5000"),
        part("later", Phase.WAITING, 0, 12 * MB, "waiting for a free connection"),
    ),
)
OTHER = Transfer(
    "pull", "redis:7.4", 312, NOW - 5 * SECOND,
    (part("a", Phase.WAITING, 31_200_000, 34_300_000, "waiting for pid 2231"),),
)  # fmt: skip
RESOLVING = Transfer("push", "ghcr.io/acme/web:9", 99, NOW - SECOND, (), "resolving")


def silent(rows: Sequence[IngestRow]) -> tuple[IngestRow, ...]:
    """The second one has no rate: it is between two attempts."""
    first, second, *others = rows
    return (first, second._replace(rate=0.0, eta_s=None), *others)


def picture(*transfers: Transfer, rows: Sequence[IngestRow] | None = None) -> StoreView:
    """As the monitor would have made it, two seconds after it saw the transfers first."""
    seen = tuple(silent(INGESTS) if rows is None else rows)
    told = list(transfers)
    watch = TransferTracker(lambda: told)
    for seconds in (2, 1, 0):
        rows_then = [
            row._replace(status=row.status._replace(offset=row.status.offset - seconds * 9 * MB))
            if row.key == ingest(layer("a")).key
            else row
            for row in seen
        ]
        then = seen if seconds == 0 else tuple(rows_then)
        made, groups = watch.update(then, (3 - seconds) * SECOND)
    return replace(store_view(made), groups=groups)
