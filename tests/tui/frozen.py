"""A session whose pictures are prepared: the screen without a store behind it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from contentui.actions.facts import IngestFacts
from contentui.actions.model import Concern, Outcome, Plan, Result, Verb
from contentui.actions.plan import plan_delete, plan_ingests
from contentui.content.digest import Digest
from contentui.content.errors import ContentError, NotFound
from contentui.content.holder import Process
from contentui.content.model import (
    Holder,
    Info,
    IngestId,
    Liveness,
    Probe,
    Status,
    Usage,
    backend_ref,
    ingest_id,
)
from contentui.index.model import Referrer
from contentui.monitor.model import BlobRow, Freshness, Health, IngestRow, RowKey, StoreView
from contentui.monitor.states import IngestState
from contentui.oci.kinds import Kind
from contentui.stores.source import of_store
from contentui.tui.probing import ProbeResult
from contentui.tui.session import Session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence

NOW = 1_795_000_000_000_000_000
SECOND = 1_000_000_000
MB = 1_000_000


SOURCE = "/var/lib/store"
SOCKET = "unix:///run/containerd/containerd.sock"


def digest(text: str) -> Digest:
    return Digest.of(text.encode())


def ingest(
    ref: str,
    state: IngestState = IngestState.MOVING,
    *,
    offset: int = 0,
    total: int = 0,
    age: float = 8,
    silent: float = 0,
    rate: float = 0.0,
    held: Liveness = Liveness.HELD,
    reason: str = "",
    damage: str = "",
) -> IngestRow:
    status = Status(
        ref,
        offset,
        total,
        NOW - int(age * SECOND),
        NOW - int(silent * SECOND),
        Digest.found_in(ref),
        ingest_id(ref),
        damage,
    )
    holder = None
    if held is Liveness.HELD:
        holder = Holder(2231, NOW - 3600 * SECOND, "contentui ingest", NOW - int(age * SECOND))
    eta = (total - offset) / rate if rate and total else None
    return IngestRow(
        status, state, reason or f"{state.value.capitalize()}: wait.", held, holder, rate, eta,
        NOW - int(silent * SECOND), source=SOURCE,
    )  # fmt: skip


def blob(name: str, size: int, kind: Kind, age: float, *needs: str) -> BlobRow:
    info = Info(digest(name), size, NOW - int(age * SECOND), NOW - int(age * SECOND), {})
    return BlobRow(
        info, kind, tuple(Referrer("manifest", need, digest(need)) for need in needs), SOURCE
    )


def layer(name: str) -> str:
    return f"layer-{digest(name)}"


INGESTS = (
    ingest(
        layer("a"),
        offset=31_200_000,
        total=34_300_000,
        rate=9_800_000,
        reason="Moving: 9.80 MB/s arrive; nothing to do.",
    ),
    ingest(layer("b"), offset=27_700_000, total=50_300_000, rate=8_100_000),
    ingest(layer("c"), offset=4 * MB, total=19_100_000, rate=3_500_000, age=7),
    ingest("upload-5f0c (registry push)", offset=12_600_000, rate=1_200_000, age=10),
    ingest(
        "sensor/feed",
        IngestState.TRICKLE,
        offset=410_000,
        total=2 * MB,
        rate=1_900,
        age=240,
        reason=("Trickle: 1.90 kB/s over two minutes; its source is slow, wait or abort."),
    ),
    ingest(
        layer("d"),
        IngestState.STALLED,
        offset=1_900_412_928,
        total=3_912_044_032,
        age=2460,
        silent=2280,
        reason=(
            "Stalled: a live writer has not sent a byte for 38 minutes. "
            "Ask its owner, or abort: that discards 1.90 GB."
        ),
    ),
    ingest(
        layer("e"),
        IngestState.ABANDONED,
        offset=201 * MB,
        total=2_300 * MB,
        age=2470,
        silent=2400,
        held=Liveness.FREE,
        reason=(
            "Abandoned: nobody holds it and no byte has come for 40 "
            "minutes. Resume it, or abort to free 201 MB."
        ),
    ),
    ingest(
        "bad\x1b[31m[/nope]\nref",
        IngestState.DAMAGED,
        offset=0,
        age=99_999,
        silent=99_999,
        held=Liveness.FREE,
        damage="startedat is garbled",
        reason=("Damaged: startedat is garbled. Abort removes what is left."),
    ),
)

BLOBS = (
    blob("a1", 34_300_000, Kind.LAYER_GZIP, 3, "docker.io/library/redis:7.4"),
    blob("b1", 7_700, Kind.CONFIG, 7, "docker.io/library/redis:7.4"),
    blob(
        "c1", 2_300, Kind.MANIFEST, 8, "docker.io/library/redis:7.4", "ghcr.io/acme/trainer:cu128"
    ),
    blob("d1", 10_200, Kind.INDEX, 8),
    blob("e1", 52_400_000, Kind.LAYER_ZSTD, 200_000, "ghcr.io/acme/trainer:cu128"),
    blob("f1", 1_100 * MB, Kind.LAYER_GZIP, 210_000, "ghcr.io/acme/trainer:cu128"),
    BlobRow(Info(digest("g1"), 3_400_000, NOW - 800_000 * SECOND, 0, None), None, None, SOURCE),
)


DAEMON_HOLDER = Holder(
    0, 0, "", 0, daemon=Process(812, "containerd"),
    clients=(Process(5310, "ctr"), Process(5320, "ctr")),
)  # fmt: skip


def of_daemon(row: IngestRow, namespace: str) -> IngestRow:
    """The row as a containerd has it: in a namespace, its writer a client of the daemon."""
    status = row.status._replace(
        namespace=namespace, id=ingest_id(backend_ref(namespace, row.status.ref))
    )
    holder = DAEMON_HOLDER if row.holder else None
    return row._replace(status=status, holder=holder, source=SOCKET)


DAEMON_INGESTS = tuple(
    of_daemon(row, namespace)
    for row, namespace in zip(
        INGESTS,
        (
            "k8s.io",
            "k8s.io",
            "default",
            "ci",
            "k8s.io",
            "k8s.io",
            "moby",
            "a-rather-long.name_space",
        ),
        strict=True,
    )
)
DAEMON_BLOBS = tuple(
    row._replace(info=row.info._replace(namespaces=namespaces), source=SOCKET)
    for row, namespaces in zip(
        BLOBS,
        (
            ("default", "k8s.io"), ("k8s.io",), ("k8s.io",), ("default",), ("moby",),
            ("a-rather-long.name_space", "ci", "default", "k8s.io", "moby"), ("ci",),
        ),
        strict=True,
    )
)  # fmt: skip


HISTORY = tuple(float(abs((x * 37) % 101 - 40)) * 300_000 for x in range(240))


def store_view(
    ingests: Iterable[IngestRow] = INGESTS,
    blobs: Iterable[BlobRow] = BLOBS,
    *,
    seq: int = 1,
    health: Health | None = None,
    read_only_reason: str = "",
    source: str = SOURCE,
    taken_ns: int = NOW,
) -> StoreView:
    ingests, blobs = tuple(ingests), tuple(blobs)
    counts: dict[IngestState, int] = {}
    for row in ingests:
        counts[row.state] = counts.get(row.state, 0) + 1
    return StoreView(
        seq, taken_ns, source, read_only_reason, ingests, blobs, counts,
        sum(row.info.size for row in blobs), sum(row.rate for row in ingests), HISTORY,
        health or Health(Freshness.LIVE, "", taken_ns), Usage(500_000 * MB, 120_000 * MB),
    )  # fmt: skip


class FrozenSession(Session):
    """Yields what it is given, then waits; more can be pushed."""

    def __init__(
        self,
        *views: StoreView,
        source: str | None = SOURCE,
        rows: Sequence[IngestRow] = INGESTS,
        failures: Sequence[ContentError] = (),
        probes: Mapping[IngestId, Probe | ContentError] | None = None,
        collects: bool = False,
    ) -> None:
        super().__init__(None if source is None else of_store(source))
        self._probes = probes or {}
        self._collects = collects
        self.probed: list[Status] = []
        self.woken = 0
        self._pictures = [*(views or (store_view(),))]
        self._pushed: asyncio.Queue[StoreView] = asyncio.Queue()
        self._rows = {row.status.id: row for row in rows}
        self._failures = [*failures]
        self.opened = 0
        self.focused: list[RowKey] = []
        self.intervals: list[float] = []
        self.ran: list[tuple[Plan, Collection[Concern]]] = []

    def push(self, picture: StoreView) -> None:
        self._pushed.put_nowait(picture)

    def open(self) -> str:
        self.opened += 1
        if self._failures:
            raise self._failures.pop()
        return ""

    def close(self) -> None: ...

    def pace(self, interval_s: float) -> None:
        self.intervals.append(interval_s)

    def focus(self, keys: Iterable[RowKey]) -> None:
        self.focused = list(keys)

    def history(self, ingest: RowKey) -> tuple[float, ...]:
        return HISTORY[:60]

    def wake(self) -> None:
        self.woken += 1

    @property
    def garbage_collected(self) -> bool:
        return self._collects

    def probe(self, seen: Status) -> ProbeResult:
        self.probed.append(seen)
        found = self._probes.get(seen.id) or NotFound("it is gone")
        if isinstance(found, ContentError):
            return ProbeResult(seen, None, found)
        return ProbeResult(seen, found, None)

    def plan(
        self, verb: Verb, targets: Sequence[Status] | Sequence[Info], moving: Collection[IngestId]
    ) -> Plan:
        source = self.source.text if self.source else ""
        collects = self._collects
        if verb is Verb.DELETE:
            needs = {row.info.digest: row.referrers for row in (*BLOBS, *DAEMON_BLOBS)}
            return plan_delete(source, targets, needs.__getitem__, garbage_collected=collects)
        rows = self._rows
        facts = [
            IngestFacts(t, rows[t.id].liveness, rows[t.id].holder, t.id in moving) for t in targets
        ]
        return plan_ingests(verb, source, facts, garbage_collected=collects)

    def run(self, plan: Plan, allow: Collection[Concern]) -> tuple[Outcome, ...]:
        self.ran.append((plan, allow))
        return tuple(
            Outcome(step, Result.REFUSED if step.refusal else Result.DONE) for step in plan.steps
        )

    async def views(self) -> AsyncIterator[StoreView]:
        for each in self._pictures:
            yield each
        while True:
            yield await self._pushed.get()
