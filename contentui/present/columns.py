"""The columns of the ingest table and the blob table, and how they share a width."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from contentui.content.model import ref_argument
from contentui.glyphs import GLYPHS, UTF8
from contentui.monitor.states import IngestState
from contentui.oci.kinds import Kind
from contentui.present.bars import bar, unknown_bar
from contentui.present.cells import elide, elide_image, elide_middle, fits, pad
from contentui.present.texts import ago, rate_text, total_text
from contentui.text import (
    human_age,
    human_countdown,
    human_duration,
    human_size,
    visible,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from contentui.index.model import Referrer
    from contentui.monitor.model import BlobRow, IngestRow, RowKey

NAMESPACE_MARK = "\n"
"""Precedes each namespace in the text that filters search. No visible name contains it."""
GAP = 1
"""Cells between two columns."""


class Keyed(Protocol):
    """A row of a table; ``key`` identifies it whatever its position."""

    @property
    def key(self) -> RowKey: ...


Cells = tuple[tuple[str, str], ...]
"""Text and style word of each cell of a line."""


class Heading(ABC):
    """A line above the rows of a group: the cursor can be on it, but it is not an item."""

    key: RowKey

    @abstractmethod
    def cells(self, fitted: Sequence[tuple[Column[Any], int]], now_ns: int) -> Cells:
        """Its cells for columns of these widths."""


Row = TypeVar("Row", bound=Keyed)
KeyedRow = TypeVar("KeyedRow", bound=Keyed)


def _base(_row: Any) -> str:
    return "base"


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """One column: its text, style, sort key and width."""

    key: str
    title: str
    text: Callable[[Row, int], str]
    """(row, wall clock in nanoseconds) -> its whole text, safe for a terminal."""
    sort_key: Callable[[Row], Any]
    weight: int
    """What it matters on a narrow screen: the column with the least goes first."""
    min_width: int
    """Cells under which it isn't shown at all."""
    ideal_width: int
    max_width: int = 0
    """Cells up to which it takes what others leave; 0: its ideal width."""
    style: Callable[[Row], str] = _base
    """The word of the component class that it is painted with: ``base``, ``bad``, …"""
    right: bool = False
    """Aligned right, as numbers are."""
    cut: str = ""
    """How a text that is too long loses cells: in the ``middle``, at the ``end``; empty: never."""
    live: bool = False
    """Its sort key moves all the time: a table sorts by it once a second at most."""
    timed: bool = False
    """Its text changes with the time alone."""
    descending: bool = False
    """The direction in which people want it first."""
    shorter: Callable[[Row, int], tuple[str, ...]] | None = None
    """Texts that say less, the best first, for cells that are too narrow for ``text``."""
    paint: Callable[[Row, int], str] | None = None
    """(row, width) -> exactly that many cells, for what isn't text: a bar."""
    note: Callable[[Row], tuple[str, str]] | None = None
    """Text and style word of what may stand in its cells and all that follow instead."""

    def cell(self, row: Row, now_ns: int, width: int) -> str:
        """Its text for a row, exactly ``width`` cells wide."""
        if self.paint is not None:
            return self.paint(row, width)
        text = self.text(row, now_ns)
        if self.shorter is not None and not fits(text, width):
            text = next((t for t in self.shorter(row, now_ns) if fits(t, width)), text)
        if not fits(text, width):
            # A number loses its digits all or none.
            text = {"middle": elide_middle, "end": elide}.get(self.cut, _unfit)(text, width)
        return pad(text, width, self.right)


def cells_of(row: Row | Heading, fitted: Sequence[tuple[Column[Row], int]], now_ns: int) -> Cells:
    """A line's cells for columns of these widths."""
    if isinstance(row, Heading):
        return row.cells(fitted, now_ns)
    cells = [(c.cell(row, now_ns, width), c.style(row)) for c, width in fitted]
    noting = next((column.note for column, _ in fitted if column.note is not None), None)
    return with_note(cells, fitted, noting(row) if noting is not None else ("", ""))


def cells_later(
    row: Row | Heading, fitted: Sequence[tuple[Column[Row], int]], now_ns: int, before: Cells
) -> Cells:
    """The cells of a line that `cells_of` made ``before`` of the same row, at a later time."""
    if isinstance(row, Heading) or len(before) != len(fitted):  # a note takes the place of some
        return cells_of(row, fitted, now_ns)
    return tuple(
        (column.cell(row, now_ns, width), column.style(row)) if column.timed else cell
        for (column, width), cell in zip(fitted, before, strict=True)
    )


def with_note(
    cells: list[tuple[str, str]], fitted: Sequence[tuple[Column[Any], int]], note: tuple[str, str]
) -> Cells:
    """Cells with a note, if any, over the last of them: over as few as it needs."""
    text, style = note
    if not text:
        return tuple(cells)
    places = [place for place, (column, _) in enumerate(fitted) if column.note is not None]
    for place in reversed(places):
        widths = [width for _, width in fitted[place:]]
        width = sum(widths) + GAP * (len(widths) - 1)
        if fits(text, width) or place == places[0]:
            return (*cells[:place], (pad(elide(text, width), width), style))
    return tuple(cells)


def _unfit(_text: str, _width: int) -> str:
    return GLYPHS.cut


SHAPES = {
    IngestState.MOVING: GLYPHS.moving,
    IngestState.COMPLETE: GLYPHS.complete,
    IngestState.QUIET: GLYPHS.quiet,
    IngestState.UNKNOWN: "?",
    IngestState.TRICKLE: GLYPHS.trickle,
    IngestState.STALLED: GLYPHS.stalled,
    IngestState.ABANDONED: GLYPHS.abandoned,
    IngestState.POISONED: "!",
    IngestState.DAMAGED: GLYPHS.damaged,
}
"""A shape for each state, none of which any terminal draws two cells wide or as an emoji."""

STATE_STYLES = {
    IngestState.MOVING: "good",
    IngestState.COMPLETE: "good",
    IngestState.QUIET: "base",
    IngestState.UNKNOWN: "warn",
    IngestState.TRICKLE: "warn",
    IngestState.STALLED: "warn",
    IngestState.ABANDONED: "bad",
    IngestState.POISONED: "bad",
    IngestState.DAMAGED: "bad",
}
_SEVERITY = {state: place for place, state in enumerate(IngestState)}


def ref_text(row: IngestRow) -> str:
    """An ingest's name as people read it; ``id:…`` for a ref that is lost."""
    return visible(row.status.ref or ref_argument(row.status))


MEMBER = GLYPHS.member + " "
"""Prefix of a name that is grouped under the heading above."""


def _ref_cell(row: IngestRow, _now_ns: int) -> str:
    return MEMBER + ref_text(row) if row.image else ref_text(row)


_PHASE_STYLES = {"retrying": "warn", "waiting": "muted", "failed": "bad"}


def part_note(row: IngestRow) -> tuple[str, str]:
    """A pull's status of one ingest while it receives nothing: ``retrying in 4s (3/6): …``."""
    part = row.part
    if part is None or part.phase not in _PHASE_STYLES or (part.phase == "waiting" and row.rate):
        return "", "base"
    return visible(part.message, 300), _PHASE_STYLES[part.phase]


def fraction(row: IngestRow) -> float | None:
    """The share that has arrived; None when the total is undeclared."""
    status = row.status
    return status.offset / status.total if status.total > 0 else None


def _progress(row: IngestRow, width: int) -> str:
    share = fraction(row)
    return unknown_bar(width) if share is None else bar(share, width)


def percent_text(row: IngestRow) -> str:
    """``63%``, rounded down; empty when the total is undeclared."""
    status = row.status
    if status.total <= 0:
        return ""
    percent = status.offset * 100 // status.total
    return f"{percent}%" if percent <= 100 else ">100%"


def _percent(row: IngestRow, _now_ns: int) -> str:
    return percent_text(row)


def _offset(row: IngestRow, _now_ns: int) -> str:
    return human_size(row.status.offset)


def _total(row: IngestRow, _now_ns: int) -> str:
    return total_text(row.status)


def _rate(row: IngestRow, _now_ns: int) -> str:
    return rate_text(row.rate)


_LONGEST_ETA_S = 99 * 31_557_600


def eta_text(row: IngestRow) -> str:
    """Time to the end; ``…`` while it is not known yet, ``–`` when nothing moves towards it."""
    return GLYPHS.pending if row.rate is None and row.status.total else duration_text(row.eta_s)


def duration_text(seconds: float | None) -> str:
    """Seconds as a cell of the ETA column."""
    if seconds is None:
        return GLYPHS.nothing
    return ">99y" if seconds > _LONGEST_ETA_S else human_countdown(max(seconds, 0))


def _eta(row: IngestRow, _now_ns: int) -> str:
    return eta_text(row)


def _started(row: IngestRow, now_ns: int) -> str:
    return human_age(row.status.started_ns, now_ns)


def _updated(row: IngestRow, now_ns: int) -> str:
    return human_age(row.last_byte_ns or row.status.updated_ns, now_ns)


def state_label(state: IngestState) -> str:
    """A state as a shape and a word."""
    return f"{SHAPES[state]} {state.value}"


_SILENT_STATES = frozenset(
    {IngestState.QUIET, IngestState.UNKNOWN, IngestState.STALLED, IngestState.ABANDONED}
)
"""States that are shown with the time since the last byte."""


def silence_s(row: IngestRow, now_ns: int) -> float | None:
    """Seconds since the last byte, for a state that silence explains; None: not such a state."""
    if row.state not in _SILENT_STATES or not 0 < row.last_byte_ns <= now_ns:
        return None
    return (now_ns - row.last_byte_ns) / 1e9


def state_words(row: IngestRow, now_ns: int) -> str:
    """A row's state with the time since its last byte: ``stalled 3m12``, ``moving``."""
    seconds = silence_s(row, now_ns)
    return row.state.value if seconds is None else f"{row.state} {human_countdown(seconds)}"


def _state(row: IngestRow, now_ns: int) -> str:
    return f"{SHAPES[row.state]} {state_words(row, now_ns)}"


def _shorter_states(row: IngestRow, now_ns: int) -> tuple[str, ...]:
    label, seconds = state_label(row.state), silence_s(row, now_ns)
    return (label,) if seconds is None else (f"{label} {human_duration(seconds)}", label)


def _state_style(row: IngestRow) -> str:
    return STATE_STYLES[row.state]


def _bar_style(row: IngestRow) -> str:
    if row.status.total <= 0:
        return "bar-unknown"
    style = STATE_STYLES[row.state]
    return "bar" if style in ("good", "base") else f"bar-{style}"


def _muted(_row: Any) -> str:
    return "muted"


def _rate_style(row: IngestRow) -> str:
    return "base" if row.rate else "muted"


@lru_cache(maxsize=1024)
def _scope(namespaces: tuple[str, ...]) -> str:
    """The namespaces at the end of a row's search text."""
    return "".join(NAMESPACE_MARK + visible(each, 100) for each in namespaces)


def ingest_search_text(row: IngestRow) -> str:
    """What a filter looks at in an ingest: its name as it is shown, its state, its namespace."""
    text = f"{ref_text(row)} {row.state.value}"
    if row.image:
        text += " " + visible(row.image, 400)
    namespace = row.status.namespace
    return text + _scope((namespace,)) if namespace else text


def _namespace(row: IngestRow, _now_ns: int) -> str:
    return visible(row.status.namespace, 100)


INGEST_COLUMNS: tuple[Column[IngestRow], ...] = (
    Column("ref", "REF", _ref_cell, ref_text, 100, 22, 30, 96, cut="middle"),
    Column(
        "progress", "PROGRESS", _percent, lambda r: fraction(r) or 0.0, 65, 8, 14, 24,
        style=_bar_style, live=True, descending=True, paint=_progress,
    ),
    Column(
        "percent", "%", _percent, lambda r: fraction(r) or 0.0, 85, 5, 5,
        right=True, live=True, descending=True,
    ),
    Column(
        "offset", "OFFSET", _offset, lambda r: r.status.offset, 80, 7, 8,
        right=True, live=True, descending=True, note=part_note,
    ),
    Column(
        "total", "TOTAL", _total, lambda r: r.status.total, 60, 7, 8,
        style=_muted, right=True, descending=True, note=part_note,
    ),
    Column(
        "rate", "RATE", _rate, lambda r: r.rate or 0.0, 90, 9, 10,
        style=_rate_style, right=True, live=True, descending=True, note=part_note,
    ),
    Column(
        "eta", "ETA", _eta, lambda r: float("inf") if r.eta_s is None else r.eta_s, 70, 5, 5,
        right=True, live=True,
    ),
    Column(
        "started", "STARTED", _started, lambda r: r.status.started_ns, 30, 7, 8,
        style=_muted, right=True, timed=True, descending=True,
    ),
    Column(
        "updated", "UPDATED", _updated, lambda r: r.last_byte_ns or r.status.updated_ns, 40, 7, 8,
        style=_muted, right=True, live=True, timed=True, descending=True,
    ),
    Column(
        "state", "STATE", _state, lambda r: (_SEVERITY[r.state], r.status.started_ns), 95, 15, 17,
        style=_state_style, shorter=_shorter_states, cut="end", live=True, timed=True,
        descending=True,
    ),
)  # fmt: skip


COLUMN_BY_KEY = {column.key: column for column in INGEST_COLUMNS}


def _digest(row: BlobRow, _now_ns: int) -> str:
    return row.info.digest


_WHOLE_DIGEST_FROM = 16
"""Cells from which a digest is shown with its algorithm, where that is the usual one."""


def _digest_cell(row: BlobRow, width: int) -> str:
    """With the result of a verification, where there is one, as its first character."""
    text: str = row.info.digest
    mark = "" if row.verified is None else "! " if row.verified.problem else GLYPHS.complete + " "
    if width - len(mark) < _WHOLE_DIGEST_FROM:
        text = text.removeprefix("sha256:")
    return pad(mark + elide_middle(text, width - len(mark)), width)


def _digest_style(row: BlobRow) -> str:
    if row.verified is None:
        return "base"
    return "bad" if row.verified.problem else "good"


def _size(row: BlobRow, _now_ns: int) -> str:
    return human_size(row.info.size)


def _committed(row: BlobRow, now_ns: int) -> str:
    return ago(row.info.committed_ns, now_ns)


def kind_text(row: BlobRow) -> str:
    """A blob's kind; ``…`` until it has been read."""
    return GLYPHS.pending if row.kind is None else row.kind.value.replace(UTF8.dot, GLYPHS.dot)


def _kind(row: BlobRow, _now_ns: int) -> str:
    return kind_text(row)


def _kind_style(row: BlobRow) -> str:
    return "muted" if row.kind in {None, Kind.UNKNOWN, Kind.EMPTY} else "kind"


def needs_text(row: BlobRow) -> str:
    """Who needs a blob, in few words: ``nothing``, a name, a name ``+2``.

    ``…``: not read yet; ``?``: unknown.
    """
    if row.referrers is None:
        return GLYPHS.pending if row.kind is None else "?"
    if not row.referrers:
        return "nothing"
    first, *others = holder_names(row.referrers)
    return f"{first} +{len(others)}" if others else first


def holder_names(referrers: Sequence[Referrer]) -> list[str]:
    """Each referrer once, by its clearest name: one that labels and lists a blob counts once."""
    names: dict[str, str] = {}
    images = {referrer.digest or referrer.name for referrer in referrers if referrer.by == "image"}
    for referrer in referrers:
        holder = referrer.digest or referrer.name
        if referrer.by == "label" and referrer.digest:
            names.setdefault(holder, f"label of {referrer.digest[7:19]}")
        elif referrer.by != "lease":
            names[holder] = visible(referrer.name, 160).replace("sha256:", "")
    # An image's name is the clearest; a lease's name is a random string.
    ranked = sorted(names, key=lambda holder: holder not in images)
    leases = sum(referrer.by == "lease" for referrer in referrers)
    return [names[holder] for holder in ranked] + ["a lease"] * leases


def _used_by(row: BlobRow, _now_ns: int) -> str:
    return needs_text(row)


_NAMES_FROM = 20
"""Cells from which there is room for what kind of thing a digest is."""
_LEAST_NAME = 12
"""Cells under which a count is clearer than a cut name."""


def _used_by_cell(row: BlobRow, width: int) -> str:
    text = needs_text(row)
    if row.referrers and not fits(text, width):
        holders = holder_names(row.referrers)
        more = f" +{len(holders) - 1}" if len(holders) > 1 else ""
        name, room = holders[0], width - len(more)
        if width < _NAMES_FROM and "/" not in name:
            name = name.rpartition(" ")[2]  # a digest without its kind
        if more and room < _LEAST_NAME and not fits(name.rpartition("/")[2], room):
            text = elide(f"{len(holders)} needs", width)
        else:
            text = elide_image(name, room) + more
    return pad(text, width)


def _used_by_style(row: BlobRow) -> str:
    return "base" if row.referrers else "muted"


def blob_search_text(row: BlobRow) -> str:
    """The text that filters search in a blob: digest, kind, and the names of its referrers."""
    names = " ".join(visible(referrer.name, 400) for referrer in (row.referrers or ())[:20])
    text = f"{row.info.digest} {'' if row.kind is None else row.kind.value} {names}"
    return text + _scope(row.info.namespaces)


BLOB_COLUMNS: tuple[Column[BlobRow], ...] = (
    Column(
        "digest", "DIGEST", _digest, lambda r: r.info.digest, 100, 12, 16, 71,
        style=_digest_style, paint=_digest_cell,
    ),
    Column(
        "size", "SIZE", _size, lambda r: r.info.size, 90, 7, 8, right=True, descending=True
    ),
    Column(
        "committed", "COMMITTED", _committed, lambda r: r.info.committed_ns, 60, 9, 10,
        style=_muted, right=True, timed=True, descending=True,
    ),
    Column("kind", "KIND", _kind, lambda r: kind_text(r), 70, 12, 13, style=_kind_style),
    Column(
        "used-by", "USED BY", _used_by, lambda r: -1 if r.referrers is None else len(r.referrers),
        80, 16, 34, 64, style=_used_by_style, descending=True, paint=_used_by_cell,
    ),
)  # fmt: skip


NAMESPACED_INGEST_COLUMNS: tuple[Column[IngestRow], ...] = (
    Column(
        "namespace", "NAMESPACE", _namespace, lambda r: r.status.namespace, 66, 9, 10, 20,
        style=_muted, cut="end",
    ),
    replace(INGEST_COLUMNS[0], min_width=17),  # what leaves room for both at 80 cells
    *INGEST_COLUMNS[1:],
)  # fmt: skip


def namespaces_text(row: BlobRow) -> str:
    """The namespaces in which a blob is known: ``default, k8s.io``."""
    return ", ".join(visible(each, 100) for each in row.info.namespaces[:_MOST_NAMESPACES])


_MOST_NAMESPACES = 50


def _namespaces(row: BlobRow, _now_ns: int) -> str:
    return namespaces_text(row)


def _namespaces_cell(row: BlobRow, width: int) -> str:
    text = namespaces_text(row)
    if not fits(text, width):
        first, *others = row.info.namespaces
        more = f" +{len(others)}" if others else ""
        text = elide(visible(first, 100), width - len(more)) + more
    return pad(text, width)


NAMESPACED_BLOB_COLUMNS: tuple[Column[BlobRow], ...] = (
    *BLOB_COLUMNS[:-1],
    Column(
        "namespace", "NAMESPACE", _namespaces, lambda r: r.info.namespaces, 75, 10, 12, 24,
        style=_muted, paint=_namespaces_cell,
    ),
    BLOB_COLUMNS[-1],
)  # fmt: skip


_SOME = 100


def ingest_columns(rows: Sequence[IngestRow]) -> tuple[Column[IngestRow], ...]:
    """Those that these rows need: with the namespaces where there are any."""
    return NAMESPACED_INGEST_COLUMNS if any(r.status.namespace for r in rows) else INGEST_COLUMNS


def blob_columns(rows: Sequence[BlobRow]) -> tuple[Column[BlobRow], ...]:
    """Those that these rows need: with the namespaces where there are any.

    A store has them for all of its blobs or for none, of which there may be 100,000.
    """
    some = rows[:_SOME]
    return NAMESPACED_BLOB_COLUMNS if any(r.info.namespaces for r in some) else BLOB_COLUMNS


def fit(columns: Sequence[Column[KeyedRow]], width: int) -> list[tuple[Column[KeyedRow], int]]:
    """The columns that have room in ``width`` cells with `GAP` between them, and their widths.

    The columns that matter least go first; one that may not be cut is whole or not there.
    """
    shown = sorted(columns, key=lambda column: -column.weight)
    while len(shown) > 1 and _least(shown) > width:
        shown.pop()
    widths = {column.key: column.min_width for column in shown}
    spare = width - _least(shown)
    for column, goal in [(c, c.ideal_width) for c in shown] + [(c, c.max_width) for c in shown]:
        more = max(0, min(spare, goal - widths[column.key]))
        widths[column.key] += more
        spare -= more
    if spare < 0:  # not even the first column fits
        widths[shown[0].key] = max(1, width)
    return [(column, widths[column.key]) for column in columns if column.key in widths]


def _least(columns: Sequence[Column[KeyedRow]]) -> int:
    return sum(column.min_width + GAP for column in columns) - GAP
