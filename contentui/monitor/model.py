"""The frozen pictures that the monitor makes of a store."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from contentui.monitor.events import Counters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from contentui.content.model import Descriptor, Holder, Info, Liveness, Status, Usage
    from contentui.index.model import Referrer
    from contentui.monitor.events import Event
    from contentui.monitor.states import IngestState
    from contentui.oci.kinds import Kind


RowKey = tuple[str, str]
"""What a row is, wherever it is shown: the name of its store, and its id or digest in there.

Cursor, marks and caches are kept by it, so that rows of several stores can share a table.
"""


class TransferPart(Protocol):
    """One blob of a pull or push, as reported by the process that moves it. All text is hostile."""

    @property
    def descriptor(self) -> Descriptor: ...
    @property
    def ref(self) -> str:
        """Its ingest's."""

    @property
    def phase(self) -> str:
        """``waiting``, ``downloading``, ``uploading``, ``retrying``, ``verifying``, ``exists``,
        ``mounted``, ``done``, ``failed``.
        """

    @property
    def offset(self) -> int:
        """Bytes that are there."""

    @property
    def message(self) -> str:
        """Details of the phase; empty if there are none."""

    @property
    def host(self) -> str: ...


class Transfer(Protocol):
    """A pull or push of one image in any process, as reported by it. All text is hostile."""

    @property
    def verb(self) -> str: ...
    @property
    def image(self) -> str: ...
    @property
    def pid(self) -> int: ...
    @property
    def started_ns(self) -> int: ...
    @property
    def parts(self) -> Sequence[TransferPart]: ...
    @property
    def message(self) -> str:
        """The state of the whole; empty while parts move."""

    @property
    def error(self) -> str: ...
    @property
    def command(self) -> str:
        """The command line of its process; empty: unknown."""


class IngestRow(NamedTuple):
    """An ingest as seen at one moment. A row that did not change is the same object again."""

    status: Status
    state: IngestState
    reason: str
    """The state as a sentence that ends with what to do; holds no text from the store."""
    liveness: Liveness
    holder: Holder | None = None
    rate: float | None = 0.0
    """Bytes per second; None: not known yet."""
    eta_s: float | None = None
    """Seconds to the end at this rate; None when total or rate is unknown or nothing moves."""
    last_byte_ns: int = 0
    """Wall clock, nanoseconds, when we saw the offset grow last, or `Status.updated_ns` before."""
    part: TransferPart | None = None
    """Its part of a known pull or push, as reported by that; None without one."""
    image: str = ""
    """The image that is pulled or pushed; hostile text."""
    source: str = ""
    """The name of its store; hostile text."""

    @property
    def key(self) -> RowKey:
        return self.source, self.status.id


class Verified(NamedTuple):
    """The result of the last verification of a blob from here."""

    problem: str
    """Why its bytes are not those of the digest; empty: they are. Safe for a terminal."""
    at_ns: int
    """When it ended: wall clock, nanoseconds."""


class BlobRow(NamedTuple):
    """A blob as seen at one moment. A row that did not change is the same object again."""

    info: Info
    kind: Kind | None = None
    """None: not read yet."""
    referrers: tuple[Referrer, ...] | None = None
    """What refers to it; None: unknown or not scanned yet, which never means 'nothing'."""
    source: str = ""
    """The name of its store; hostile text."""
    verified: Verified | None = None
    """None: it was not verified from here since it was first seen."""

    @property
    def key(self) -> RowKey:
        return self.source, self.info.digest


class Group(NamedTuple):
    """A pull or push at one moment, with its ingests."""

    transfer: Transfer
    members: tuple[RowKey, ...]
    """Ingests that are there; a part that waits or is done has none."""
    offset: int
    """Bytes that are there, of all parts."""
    total: int
    """Bytes of all parts that are known by now; 0 while none is."""
    rate: float | None = 0.0
    """Bytes per second; None: not known yet."""
    eta_s: float | None = None
    """Seconds to the end at this rate; None when it is unknown or nothing moves."""
    ended: bool = False
    """Its process is gone, and not all of it came."""
    source: str = ""
    """The name of the store; hostile text."""

    @property
    def key(self) -> RowKey:
        transfer = self.transfer
        return self.source, f"{transfer.verb} {transfer.pid} {transfer.started_ns}"


class Freshness(StrEnum):
    """How current a view is."""

    LIVE = "live"
    """Changes are announced by the kernel, and reconciled every few seconds.

    With a reason: they come so fast that the timer is enough for a while.
    """
    POLLING = "polling"
    """No change notifications; read on a timer."""
    STALE = "stale"
    """The last ticks failed: the view is old."""


@dataclass(frozen=True, slots=True)
class Health:
    """How current the view is."""

    freshness: Freshness
    reason: str = ""
    """Why it isn't live; may quote the operating system, never the store's content."""
    since_ns: int = 0
    """Wall clock of the last successful tick, nanoseconds."""


@dataclass(frozen=True, slots=True)
class StoreView:
    """A store at one moment, whole and immutable."""

    seq: int
    taken_ns: int
    """Wall clock, nanoseconds."""
    source: str
    """The store's name; hostile text."""
    read_only_reason: str
    ingests: tuple[IngestRow, ...]
    blobs: tuple[BlobRow, ...]
    """The very same tuple as before when no blob came, went or changed."""
    counts: Mapping[IngestState, int]
    blob_bytes: int
    rate: float | None
    """The sum of the rows' rates, and of blobs that came without a row, bytes per second; None:
    not known yet."""
    history: tuple[float, ...]
    """Bytes that arrived in each second, oldest first, five minutes at most."""
    health: Health
    usage: Usage | None = None
    events: tuple[Event, ...] = ()
    """What appeared, changed or went since the view before."""
    counters: Counters = field(default=Counters())
    """How often that happened since the monitor was made."""
    notices: tuple[str, ...] = ()
    """Notifications of the store for the user, as sentences, each once: another daemon answers."""
    groups: tuple[Group, ...] = ()
    """Pulls and pushes that other processes report, the oldest first."""
    is_loading: bool = False
    """Existing blobs are still being listed: `blobs` and `blob_bytes` lack some."""

    def has_other_rows(self, before: StoreView) -> bool:
        """Whether anything about the rows differs from those of a view before, ages aside."""
        return (
            before.blobs is not self.blobs
            or before.health.freshness != self.health.freshness
            or before.ingests != self.ingests
            or before.groups != self.groups
            or before.is_loading is not self.is_loading
        )
