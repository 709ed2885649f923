"""Everything about the item under the cursor, unshortened."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from contentui.content.model import Liveness, ref_argument
from contentui.monitor.model import BlobRow, Group, IngestRow
from contentui.present.bars import sparkline
from contentui.present.columns import (
    STATE_STYLES,
    eta_text,
    kind_text,
    namespaces_text,
    part_note,
    ref_text,
    state_label,
)
from contentui.text import human_age, human_rate, human_size, local_time, visible
from contentui.tui.fields import Field, lay_out
from contentui.tui.group_detail import group_lines, group_sentence
from contentui.tui.styling import component_style

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from contentui.index.model import Referrer
    from contentui.tui.fields import Span

_MAX_NEEDS = 100
_SPARK_CELLS = 28
_NAME_LIMIT = 65_536


def _bytes(count: int) -> str:
    from humanize import intcomma

    return intcomma(count)


def _when(time_ns: int, now_ns: int) -> str:
    age = human_age(time_ns, now_ns)
    if age == "?":
        return "unknown"
    if age not in {"now", "future"}:
        age += " ago"
    return f"{age}, {local_time(time_ns)}"


def _progress(row: IngestRow) -> str:
    status = row.status
    if status.total <= 0:
        return f"{_bytes(status.offset)} bytes; nobody said how many there will be"
    share = f"{status.offset * 100 / status.total:.1f}%"
    return f"{_bytes(status.offset)} of {_bytes(status.total)} bytes ({share})"


def _holder(row: IngestRow, now_ns: int) -> str:
    holder = row.holder
    if holder is None:
        return {
            Liveness.FREE: "nobody",
            Liveness.UNKNOWN: "unknown",
            Liveness.HELD: "a live writer that can't be named",
        }[row.liveness]
    pid = f"pid {holder.pid}" if holder.pid else "a process without a known pid"
    if holder.serves:
        words = [f"a client of {visible(holder.service)}", pid]
    else:
        words = [pid, visible(holder.command)] if holder.command else [pid]
    if holder.foreign:
        words.append("in another container")
    if holder.since_ns:
        words.append(f"since {_when(holder.since_ns, now_ns)}")
    return ", ".join(words)


def _ingest_lines(
    row: IngestRow, now_ns: int, history: Sequence[float]
) -> Iterator[tuple[str, str]]:
    status = row.status
    yield "ref", visible(ref_text(row), _NAME_LIMIT)
    if status.namespace:
        yield "namespace", visible(status.namespace, 100)
    yield "state", f"{state_label(row.state)}"
    yield "offset", _progress(row)
    rate = human_rate(row.rate)
    yield "rate", rate if row.eta_s is None else f"{rate}, done in {eta_text(row)}"
    if history:
        yield "history", sparkline(history, min(len(history), _SPARK_CELLS))
    yield "started", _when(status.started_ns, now_ns)
    yield "updated", _when(row.last_byte_ns or status.updated_ns, now_ns)
    yield "holder", _holder(row, now_ns)
    if row.image:
        yield "part of", visible(row.image, 1024)
    if row.part is not None and row.part.host:
        yield "comes from", visible(row.part.host, 300)
    yield "expected", _expected(row)
    if status.refused:
        yield "refused", f"{status.refused}, the digest of these bytes"
    if status.damage:
        yield "damage", visible(status.damage)
    yield "on disk", f"ingest/{visible(status.id)}/"
    if ref_argument(status) != status.ref:
        yield "argument", visible(ref_argument(status))


def _expected(row: IngestRow) -> str:
    if row.status.expected:
        return str(row.status.expected)
    return str(row.part.descriptor.digest) if row.part is not None else "no digest declared"


def _need(need: Referrer) -> str:
    text = f"{need.by} {visible(need.name)}"
    return text if need.digest is None or need.digest in need.name else f"{text} ({need.digest})"


def _blob_lines(row: BlobRow, now_ns: int) -> Iterator[tuple[str, str]]:
    info = row.info
    yield "digest", str(info.digest)
    yield "size", f"{_bytes(info.size)} bytes ({human_size(info.size)})"
    yield "kind", "not looked at yet" if row.kind is None else kind_text(row)
    if info.namespaces:
        yield "in", namespaces_text(row)
    yield "committed", _when(info.committed_ns, now_ns)
    if info.updated_ns and info.updated_ns != info.committed_ns:
        yield "labelled", _when(info.updated_ns, now_ns)
    if row.referrers is None:
        yield "used by", "unknown: it may be needed"
    elif not row.referrers:
        yield "used by", "nothing that is known here"
    for place, need in enumerate((row.referrers or ())[:_MAX_NEEDS]):
        yield "" if place else "used by", _need(need)
    if row.referrers and len(row.referrers) > _MAX_NEEDS:
        yield "", f"and {_bytes(len(row.referrers) - _MAX_NEEDS)} more"
    if info.labels is None:
        yield "labels", "unknown"
    for place, (key, value) in enumerate(sorted((info.labels or {}).items())):
        yield "" if place else "labels", f"{visible(key)}={visible(value)}"
    algorithm, encoded = info.digest.algorithm, info.digest.encoded
    yield "on disk", f"blobs/{algorithm}/{encoded}"


def detail_lines(
    row: IngestRow | BlobRow | Group, now_ns: int, history: Sequence[float] = ()
) -> list[tuple[str, str]]:
    """Every field of a row as (label, value), whole and safe for a terminal.

    A value that belongs to the label above has an empty label. ``history``: an ingest's rate in
    bytes per second, oldest first. The verdict's sentence is `IngestRow.reason`.
    """
    if isinstance(row, Group):
        return list(group_lines(row, now_ns))
    if isinstance(row, IngestRow):
        return list(_ingest_lines(row, now_ns, history))
    return list(_blob_lines(row, now_ns))


def sentences(row: IngestRow | BlobRow | Group) -> list[tuple[str, str]]:
    """What matters most, as sentences with their style words; none of a blob."""
    if isinstance(row, Group):
        return [group_sentence(row)]
    if not isinstance(row, IngestRow):
        return []
    note = part_note(row)
    state = visible(row.reason), STATE_STYLES[row.state]
    return [(note[0], "warn"), state] if note[0] else [state]


def _state(row: IngestRow | BlobRow | Group) -> list[Field]:
    return [Field("", text, style, whole_line=True) for text, style in sentences(row)]


# In a pane that shows three lines: how fast where bytes arrive, else who holds it since when.
_ARRIVING_FIRST = ("offset", "rate", "history", "holder", "started", "updated", "namespace", "ref")
_AT_REST_FIRST = ("offset", "holder", "updated", "started", "damage", "namespace", "ref",
                  "expected", "refused", "on disk", "argument")  # fmt: skip


class DetailPane(ScrollView, can_focus=True):
    """The detail of one row: its state first, then its fields, in columns where they fit."""

    ALLOW_SELECT = False
    STYLES: ClassVar[tuple[str, ...]] = ("base", "label", "good", "warn", "bad", "graph")
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"detail-pane--{word}" for word in STYLES}
    DEFAULT_CSS = """
    DetailPane {
        height: 1fr; background: $surface; color: $foreground;
        overflow: hidden auto; scrollbar-size-vertical: 1;
        .detail-pane--label { color: $text-muted; }
        .detail-pane--good { color: $text-success; }
        .detail-pane--warn { color: $text-warning; }
        .detail-pane--bad { color: $text-error; text-style: bold; }
        .detail-pane--graph { color: $primary; }
        &:ansi { .detail-pane--label { text-style: dim; } }
    }
    """

    _fields: tuple[Field, ...] = ()
    _lines: tuple[tuple[Span, ...], ...] = ()
    _subject: str = ""

    def show_ingest(self, row: IngestRow, history: Sequence[float], now_ns: int) -> None:
        """Show an ingest; ``history``: its rate in bytes per second, oldest first."""
        self._show_row(row, now_ns, history)

    def show_blob(self, row: BlobRow, now_ns: int) -> None:
        """Show a blob."""
        self._show_row(row, now_ns)

    def show_group(self, group: Group, now_ns: int) -> None:
        """Show a pull or push."""
        self._show_row(group, now_ns)

    def show_nothing(self, text: str) -> None:
        """Show plain ``text`` where there is no row."""
        self._show("", [Field("", visible(line), "label", True) for line in text.splitlines()])

    @property
    def plain(self) -> str:
        """What is shown, as text."""
        return "\n".join("".join(text for text, _ in line).rstrip() for line in self._lines)

    def _show_row(
        self, row: IngestRow | BlobRow | Group, now_ns: int, history: Sequence[float] = ()
    ) -> None:
        pairs = [pair for pair in detail_lines(row, now_ns, history) if pair[0] != "state"]
        if isinstance(row, IngestRow):
            order = _ARRIVING_FIRST if row.rate else _AT_REST_FIRST
            pairs.sort(key=lambda pair: order.index(pair[0]) if pair[0] in order else len(order))
        fields = [Field(*pair, "graph" if pair[0] == "history" else "base") for pair in pairs]
        self._show(row.key, _state(row) + fields)

    def _show(self, subject: str, fields: list[Field]) -> None:
        self._fields = tuple(fields)
        if subject != self._subject:
            self._subject = subject
            self.scroll_home(animate=False)
        self._lay_out()

    def _lay_out(self) -> None:
        width = self.scrollable_content_region.width
        lines = tuple(lay_out(self._fields, width - 2)) if width > 0 else ()
        old, self._lines = self._lines, lines
        if len(old) != len(lines) or self.virtual_size.width != width:
            self.virtual_size = Size(width, len(lines))
            self.refresh()
            return
        top = self.scroll_offset.y
        changed = [place - top for place, line in enumerate(lines) if line != old[place]]
        seen = [y for y in changed if 0 <= y < self.size.height]
        if seen:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in seen))

    def on_resize(self) -> None:
        self._lay_out()

    def render_line(self, y: int) -> Strip:
        base = component_style(self, "detail-pane--base")
        place = y + self.scroll_offset.y
        line = self._lines[place] if place < len(self._lines) else ()
        segments = [Segment(" ", base)]
        segments += [
            Segment(text, component_style(self, f"detail-pane--{word}")) for text, word in line
        ]
        return Strip(segments).adjust_cell_length(self.size.width, base)
