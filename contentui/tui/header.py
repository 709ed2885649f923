"""The one line above everything: is anything wrong, what is moving, how much can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from contentui.content.model import Liveness
from contentui.glyphs import GLYPHS
from contentui.monitor.model import Freshness, StoreView
from contentui.monitor.states import IngestState
from contentui.present.bars import sparkline
from contentui.present.cells import cell_len, elide_middle
from contentui.present.columns import SHAPES, STATE_STYLES
from contentui.present.texts import count_text, rate_text
from contentui.stores.source import of_store
from contentui.text import human_duration, human_size
from contentui.tui.styling import component_style

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contentui.stores.source import Source

_GAP = 2
_GRAPH_WIDTHS = (8, 48)
_LOW_DISK = 0.05
_SOURCE_LEAST = 12
_COUNTED = {
    IngestState.DAMAGED: 95,
    IngestState.POISONED: 94,
    IngestState.ABANDONED: 93,
    IngestState.STALLED: 92,
    IngestState.TRICKLE: 62,
    IngestState.UNKNOWN: 61,
    IngestState.MOVING: 60,
    IngestState.QUIET: 59,
    IngestState.COMPLETE: 45,
}
"""Verdicts in the order in which they are counted, with their weights: problems first."""


class Part(NamedTuple):
    """A word or two of the header."""

    name: str
    text: str
    style: str
    weight: int
    """What it matters on a narrow screen."""


def _health(store_view: StoreView, source: Source, now_ns: int, paused: bool) -> Iterator[Part]:
    if paused:
        yield Part("paused", f"{GLYPHS.paused} paused", "warn", 96)
    health = store_view.health
    if health.freshness is Freshness.STALE:
        age = human_duration((now_ns - (health.since_ns or store_view.taken_ns)) / 1e9)
        yield Part("health", f"{GLYPHS.abandoned} stale {age}", "bad", 98)
    elif health.freshness is Freshness.POLLING:
        # A daemon can only be polled; for a directory, polling means that inotify failed.
        yield Part(
            "health", f"{GLYPHS.trickle} polling", "warn" if source.is_directory else "good", 70
        )
    else:
        yield Part("health", f"{GLYPHS.moving} live", "good", 70)
    if store_view.read_only_reason:
        yield Part("read-only", "read-only", "badge", 80)


def _counts(store_view: StoreView) -> Iterator[Part]:
    for state, weight in _COUNTED.items():
        count = store_view.counts.get(state, 0)
        if count:
            text = f"{SHAPES[state]} {count} {state.value}"
            yield Part(state.value, text, STATE_STYLES[state], weight)
        elif state is IngestState.MOVING:
            # Small layers come and go between two ticks: bytes move, and no ingest is seen.
            text, style = ("moving", "good") if store_view.rate else ("0 moving", "muted")
            yield Part(state.value, f"{SHAPES[state]} {text}", style, weight)


def _missing_facts(store_view: StoreView) -> Iterator[Part]:
    """What nobody without more rights can know, once for all rows."""
    rows = store_view.ingests
    if rows and all(row.liveness is Liveness.UNKNOWN for row in rows):
        yield Part("holders", "? holders", "warn", 63)


def _space(store_view: StoreView) -> Iterator[Part]:
    count, loading = len(store_view.blobs), store_view.is_loading
    noun = "blob" if count == 1 and not loading else "blobs"
    text = f"{count_text(count, is_loading=loading)} {noun}"
    if count or not loading:
        text += f" {GLYPHS.dot} {human_size(store_view.blob_bytes)}{'+' if loading else ''}"
    yield Part("blobs", text, "base", 50)
    usage = store_view.usage
    if usage is not None:
        low = usage.free < usage.total * _LOW_DISK
        text = f"{human_size(usage.free)} free"
        yield Part("disk", "! " + text if low else text, *(("bad", 97) if low else ("muted", 40)))


def _has_namespaces(store_view: StoreView) -> bool:
    return any(row.status.namespace for row in store_view.ingests[:1]) or any(
        row.info.namespaces for row in store_view.blobs[:1]
    )


def header_parts(store_view: StoreView, now_ns: int, paused: bool) -> list[Part]:
    """All parts of the header, from left to right."""
    source = of_store(store_view.source)
    scope: tuple[Part, ...] = ()
    if source.namespaces or _has_namespaces(store_view):  # a service of ours has none
        scope = (Part("namespaces", source.scope, "muted", 64),)
    return [
        Part("source", source.display, "source", 75),
        *scope,
        *_health(store_view, source, now_ns, paused),
        *_counts(store_view),
        *_missing_facts(store_view),
        *_space(store_view),
        Part("rate", rate_text(store_view.rate), "rate", 91),
    ]


def fit_parts(parts: list[Part], width: int) -> list[Part]:
    """The parts that have room in ``width`` cells; the source is cut before others go."""
    kept = sorted(parts, key=lambda part: -part.weight)
    while len(kept) > 1 and _needed(kept) > width:
        kept.pop()
    spare = width - _needed(kept)
    shown = []
    for part in parts:
        if part not in kept:
            continue
        if part.name == "source":
            text = elide_middle(part.text, _least(part) + max(spare, 0), tail=8)
            part = part._replace(text=text)
        shown.append(part)
    return shown


def _least(part: Part) -> int:
    length = cell_len(part.text)
    return min(length, _SOURCE_LEAST) if part.name == "source" else length


def _needed(parts: list[Part]) -> int:
    return sum(_least(part) + _GAP for part in parts)


class HeaderBar(Widget):
    """One line: source, health, problems, what moves, blobs, disk, and the rate with its graph."""

    ALLOW_SELECT = False
    STYLES: ClassVar[tuple[str, ...]] = (
        "base", "source", "muted", "good", "warn", "bad", "badge", "rate", "graph",
    )  # fmt: skip
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"header-bar--{word}" for word in STYLES}
    DEFAULT_CSS = """
    HeaderBar {
        height: 1; background: $panel; color: $foreground;
        .header-bar--source { text-style: bold; }
        .header-bar--muted { color: $text-muted; }
        .header-bar--good { color: $text-success; }
        .header-bar--warn { color: $text-warning; text-style: bold; }
        .header-bar--bad { color: $text-error; text-style: bold; }
        .header-bar--badge { background: $warning; color: $text; text-style: bold; }
        .header-bar--rate { color: $text-primary; text-style: bold; }
        .header-bar--graph { color: $primary; }
        &:ansi { .header-bar--badge { text-style: reverse; } }
    }
    """

    def __init__(self, *, graph: bool = True) -> None:
        super().__init__()
        self._with_graph = graph

    _store_view: StoreView | None = None
    _now_ns: int = 0
    _paused: bool = False
    _shown: tuple[tuple[str, str], ...] = ()

    def show(self, store_view: StoreView, now_ns: int, paused: bool = False) -> None:
        """Show a view; ``paused``: the tables do not follow it."""
        self._store_view, self._now_ns, self._paused = store_view, now_ns, paused
        shown = tuple(self._spans())
        if shown != self._shown:
            self._shown = shown
            self.refresh()

    def on_resize(self) -> None:
        if self._store_view is not None:
            self.show(self._store_view, self._now_ns, self._paused)

    def _spans(self) -> Iterator[tuple[str, str]]:
        """(text, style word) from left to right, exactly as wide as the widget."""
        if self._store_view is None:
            return
        width = self.size.width
        parts = fit_parts(header_parts(self._store_view, self._now_ns, self._paused), width)
        used = 1
        yield " ", "base"
        for part in parts:
            length = cell_len(part.text)
            if part.name == "rate":
                yield from self._graph(width - used - length - 1)
                yield part.text, part.style
                return
            yield part.text, part.style
            yield " " * _GAP, "base"
            used += length + _GAP

    def _graph(self, room: int) -> Iterator[tuple[str, str]]:
        """The graph between the counts and the rate, where it has room."""
        assert self._store_view is not None
        graph = min(room - 1, _GRAPH_WIDTHS[1])
        if graph < _GRAPH_WIDTHS[0] or not self._with_graph:
            yield " " * max(room, 0), "base"
            return
        yield " " * (room - graph - 1), "base"
        yield sparkline(self._store_view.history[-graph:], graph), "graph"
        yield " ", "base"

    def render_line(self, y: int) -> Strip:  # noqa: ARG002 - there is one line
        segments = [
            Segment(text, component_style(self, f"header-bar--{word}"))
            for text, word in self._shown
        ]
        base = component_style(self, "header-bar--base")
        return Strip(segments).adjust_cell_length(self.size.width, base)
