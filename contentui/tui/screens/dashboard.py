"""Ingests next to blobs, what is known about the row under the cursor, and the keys that work."""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.containers import Container
from textual.screen import Screen

from contentui.actions.model import Result, Verb
from contentui.content.model import Info, Status
from contentui.glyphs import GLYPHS
from contentui.monitor.model import BlobRow, Freshness, Group, IngestRow, StoreView
from contentui.present.columns import (
    BLOB_COLUMNS,
    INGEST_COLUMNS,
    blob_columns,
    blob_search_text,
    ingest_columns,
    ingest_search_text,
)
from contentui.present.texts import count_text
from contentui.text import visible
from contentui.tui.commands import COMMANDS
from contentui.tui.detail import DetailPane
from contentui.tui.footer import KeyBar, live_hints
from contentui.tui.groups import GroupHeading
from contentui.tui.header import HeaderBar
from contentui.tui.line_compositor import LineCompositor
from contentui.tui.live_table import LiveTable
from contentui.tui.messages import (
    StoreFailed,
    StoreOpened,
    StoreViewTaken,
)
from contentui.tui.notice import NoticeLine
from contentui.tui.screens import texts
from contentui.tui.screens.filter_line import FilterLine
from contentui.tui.screens.open_detail import OpenDetail
from contentui.tui.screens.pane import Pane
from contentui.tui.second_clock import SecondClock, looks_same

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from textual.app import ComposeResult
    from textual.binding import BindingType

    from contentui.actions.model import Outcome, Step
    from contentui.monitor.model import RowKey
    from contentui.tui.app import ContentUI, PaletteEntry


FRAME_S = 0.004
"""Within which all parts of the screen have taken in a view, seconds."""


NOTICE_S = 30.0
"""Seconds for which a notification of the store is shown."""
OUTCOME_S = 20.0
"""Seconds for which the outcome of a plan is shown."""
UNWATCHED_STEP = 2_000
"""New rows after which `gc.freeze` is called again."""
_GONE = " gone."
SETTLE_S = 1.0
"""After the first rows: until then a problem goes to the top as soon as it is known."""


class Dashboard(Screen[None]):
    """Holds the last view of the store and hands its rows to the panes."""

    BINDINGS: ClassVar[list[BindingType]] = [command.binding() for command in COMMANDS]

    def __init__(self, *, graph: bool = True) -> None:
        super().__init__()
        self._compositor = LineCompositor()
        self.HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide"), (160, "-huge")]
        self.VERTICAL_BREAKPOINTS = [(0, "-short"), (36, "-tall")]
        self.ingests: Pane[IngestRow] = Pane(
            "Ingests", INGEST_COLUMNS, ingest_search_text,
            sort="state", descending=True, pane_id="ingests", settle_s=SETTLE_S,
        )  # fmt: skip
        self.blobs: Pane[BlobRow] = Pane(
            "Blobs", BLOB_COLUMNS, blob_search_text,
            sort="committed", descending=True, pane_id="blobs",
        )  # fmt: skip
        self._graph = graph
        self.active: Pane[Any] = self.ingests
        self.store_view: StoreView | None = None
        self._frozen_ns = 0
        self._state: tuple[object, ...] = ()
        self._failure: StoreFailed | None = None
        self._focus_told: tuple[RowKey, ...] = ()
        self._groups: tuple[tuple[Group, ...], tuple[GroupHeading, ...]] = ((), ())
        self.notice = NoticeLine()
        self._clock = SecondClock(self._durations_go_on, self._refresh_durations)
        self._unwatched = 0
        self._vanished = 0
        """Marked items that went, in the message that is shown."""
        self._rows_seen: tuple[object, object] = ((), ())
        self._open_detail = OpenDetail(self)
        self.read_only_reason = ""

    @property
    def _app(self) -> ContentUI:
        return self.app  # type: ignore[return-value] # only our own application shows this screen

    def compose(self) -> ComposeResult:
        yield HeaderBar(graph=self._graph)
        with Container(id="panes"):
            yield self.ingests
            yield self.blobs
        yield self.notice
        yield DetailPane(id="detail")
        yield FilterLine()
        yield KeyBar()

    def on_mount(self) -> None:
        self.query_one("#detail").can_focus = False
        self.ingests.table.focus()
        self.ingests.add_class("-active")
        source = self._app.session.source
        text = f"opening {visible(source.text, 200)} {GLYPHS.pending}" if source is not None else ""
        self.ingests.empty_text = self.blobs.empty_text = text
        self._refresh_panes()

    def on_screen_resume(self) -> None:
        """Nothing was painted while a sheet lay over the tables: catch up."""
        self._refresh_all()

    # What the workers report.

    @on(StoreViewTaken)
    def _store_view_taken(self, message: StoreViewTaken) -> None:
        before, self.store_view = self.store_view, message.store_view
        self._spare_the_collector(message.store_view)
        failed, self._failure = self._failure, None
        self.read_only_reason = message.store_view.read_only_reason
        self._use_columns(message.store_view)
        for notice in message.store_view.notices:
            self._app.show_message(visible(notice, 600), "warning", for_s=NOTICE_S)
        self._clock.restart(before, message.store_view)
        self._paint_together()
        if not failed and looks_same(before, message.store_view, self._clock.step_s):
            self._refresh_header()
        elif self.is_active:
            self._refresh_all()
        else:
            self._refresh_header()
            self._open_detail.follow(before, message.store_view)

    def _use_columns(self, store_view: StoreView) -> None:
        """With the namespaces, once there are any; the column stays when its rows go."""
        if self._rows_seen[0] is not store_view.ingests and not self.ingests.is_using("namespace"):
            self.ingests.use(ingest_columns(store_view.ingests))
        if self._rows_seen[1] is not store_view.blobs and not self.blobs.is_using("namespace"):
            self.blobs.use(blob_columns(store_view.blobs))
        self._rows_seen = store_view.ingests, store_view.blobs

    def _spare_the_collector(self, store_view: StoreView) -> None:
        """Take many rows out of the garbage collector's sight.

        They hold no cycles, and each full pass over 100,000 of them would stop the screen for
        hundreds of milliseconds.
        """
        count = len(store_view.blobs) + len(store_view.ingests)
        if count > self._unwatched + UNWATCHED_STEP:
            self._unwatched = count
            gc.freeze()

    def _durations_go_on(self) -> bool:
        """Whether no view is due yet, because nothing moves."""
        return self.is_active and self._app.session.is_slow and not self.paused

    def _refresh_durations(self) -> None:
        self._paint_together()
        self.ingests.table.touch(self.now_ns)
        self.blobs.table.touch(self.now_ns)
        self._refresh_detail()

    def _paint_together(self) -> None:
        """Paint once: the parts report their changes one by one, and the first would not wait."""
        batch = ExitStack()
        batch.callback(self.check_idle)
        batch.enter_context(self.app.batch_update())
        asyncio.get_running_loop().call_later(FRAME_S, batch.close)

    @on(StoreOpened)
    def _store_opened(self, message: StoreOpened) -> None:
        self.read_only_reason = message.read_only_reason
        self._failure = None
        self._refresh_all()

    @on(StoreFailed)
    def _store_failed(self, message: StoreFailed) -> None:
        self._failure = message
        if self.store_view is None:
            self.ingests.empty_text = texts.failed(message.error)
            self.blobs.empty_text = ""
        self._refresh_all()

    def show_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """One line about what a plan did; items that are gone lose their marks."""
        gone = {self._key(o.step) for o in outcomes if o.result is Result.DONE}
        for pane in (self.ingests, self.blobs):
            pane.table.marks = pane.table.marks - gone
        if outcomes:
            self._app.show_message(*texts.outcome(outcomes), for_s=OUTCOME_S, key="outcome")

    def _key(self, step: Step) -> RowKey:
        """The key of the row that a plan's step was made of."""
        source = self.store_view.source if self.store_view is not None else ""
        target = step.target
        if isinstance(target, Status):
            return source, target.id
        return source, target.digest if isinstance(target, Info) else step.name

    def progress(self, text: str) -> None:
        """What is under way, on the notice line; nothing when it has ended."""
        self.notice.show_state(progress=text)

    # From the view to the screen.

    @property
    def now_ns(self) -> int:
        """The time for which the view is shown, nanoseconds since 1970."""
        if self.store_view is None:
            return time.time_ns()
        return self.store_view.taken_ns + self._clock.seconds * 10**9

    @property
    def paused(self) -> bool:
        """Whether the tables are held still."""
        return self.ingests.view.paused

    def _refresh_all(self) -> None:
        self._refresh_header()
        self._refresh_panes()
        self._refresh_notice()

    def _refresh_header(self) -> None:
        if self.store_view is not None:
            self.query_one(HeaderBar).show(self.store_view, self.now_ns, self.paused)

    def _refresh_panes(self) -> None:
        if self.store_view is not None:
            now_ns = self._frozen_ns if self.paused else self.now_ns
            now_s = time.monotonic()
            if not self.paused:
                self.ingests.empty_text, self.blobs.empty_text = texts.empty(
                    self.store_view, garbage_collected=self._app.session.garbage_collected
                )
            stale = self._failure is not None or (
                self.store_view.health.freshness is Freshness.STALE
            )
            for pane in (self.ingests, self.blobs):
                pane.dim(stale)
            self.ingests.is_loading, self.blobs.is_loading = False, self.store_view.is_loading
            self.ingests.feed(self.store_view.ingests, now_ns, now_s, self._headings())
            self.blobs.feed(self.store_view.blobs, now_ns, now_s)
            self._tell_focus()
        else:
            for pane in (self.ingests, self.blobs):
                pane.feed((), time.time_ns(), time.monotonic())
        self._refresh_detail()
        self._refresh_keys()

    @on(Pane.Ordered)
    def _rows_are_in_order(self) -> None:
        self._refresh_panes()
        if self._filtering:
            self._say_filter()

    def _settle(self) -> Pane[Any]:
        """The active pane, after all that was asked of it: nothing unseen is acted on."""
        self.active.settle(self._frozen_ns if self.paused else self.now_ns, time.monotonic())
        return self.active

    def _tell_focus(self) -> None:
        keys = tuple(self.ingests.table.visible_keys())
        if keys != self._focus_told:
            self._focus_told = keys
            self._app.session.focus(keys)

    def history(self, ingest: RowKey) -> tuple[float, ...]:
        """An ingest's rate in bytes per second, oldest first."""
        return self._app.session.history(ingest)

    def _headings(self) -> Sequence[GroupHeading]:
        """Of the pulls in the view; the same objects as long as those didn't change."""
        groups = self.store_view.groups if self.store_view else ()
        if groups != self._groups[0]:
            self._groups = groups, tuple(map(GroupHeading, groups))
        return self._groups[1]

    def _refresh_detail(self) -> None:
        detail, row = self.query_one(DetailPane), self.active.table.cursor_row
        now_ns = self._frozen_ns if self.paused else self.now_ns
        if isinstance(row, IngestRow):
            detail.show_ingest(row, self.history(row.key), now_ns)
        elif isinstance(row, BlobRow):
            detail.show_blob(row, now_ns)
        elif isinstance(heading := self.active.table.cursor_heading, GroupHeading):
            detail.show_group(heading.group, now_ns)
        else:
            detail.show_nothing("")

    @property
    def _trouble(self) -> str:
        """Why what is shown is old, or nothing is; empty when all is well."""
        return texts.warning(self._failure, self.store_view)

    def _refresh_notice(self) -> None:
        self.notice.show_state(problem=self._trouble)

    def _refresh_keys(self) -> None:
        pane = self.active
        row = pane.table.cursor_row
        state = (
            pane.id, row is not None, pane.table.mark_count, bool(pane.view.query.text),
            len(pane.targets()), self.paused, self.read_only_reason, self._zoomed, pane.total > 0,
            pane.table.is_cursor_marked, self.focused is None, bool(self._trouble),
            pane.table.cursor_heading is not None,
        )  # fmt: skip
        if state != self._state:
            self._state = state
            self.refresh_bindings()

    @on(LiveTable.CursorMoved)
    @on(LiveTable.MarksChanged)
    def _table_changed(self) -> None:
        if self.is_active:
            for pane in (self.ingests, self.blobs):
                pane.update_title()
            self._refresh_detail()
            self._refresh_keys()

    @on(LiveTable.MarksChanged)
    def _marks_vanished(self, message: LiveTable.MarksChanged) -> None:
        if not message.vanished:
            return
        if not any(text.endswith(_GONE) for text in self.notice.messages):
            self._vanished = 0
        self._vanished += len(message.vanished)
        items = f"{self._vanished:,} marked item{'s are' if self._vanished > 1 else ' is'}"
        self._app.show_message(f"{items}{_GONE}", key="marks")

    def on_descendant_focus(self) -> None:
        for pane in (self.ingests, self.blobs):
            if self.focused is pane.table:
                self._activate(pane)
        self._refresh_keys()
        self.refresh_bindings()

    def _activate(self, pane: Pane[Any]) -> None:
        if self.active is not pane:
            self.active.remove_class("-active")
            self.active = pane
            pane.add_class("-active")
            self._refresh_detail()

    def _go_to(self, pane: Pane[Any]) -> None:
        """From the next key on, at once: `Widget.focus` would wait for its turn."""
        self.set_focus(pane.table)
        self._activate(pane)

    # What the keys would do now.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether a key does anything: the footer and the help list only those that do."""
        pane = self.active
        has_row = pane.table.cursor_row is not None
        if action == "plan":
            mine = (parameters[0] == Verb.DELETE) == (pane is self.blobs)
            return mine and (bool(pane.targets()) or has_row)
        if action == "verify":
            return pane is self.blobs and has_row
        if action == "probe":
            return pane is self.ingests and (bool(pane.targets()) or has_row)
        if action == "retry":
            return bool(self._trouble)
        if action in ("detail", "copy"):
            return has_row or pane.table.cursor_heading is not None
        if action == "mark":
            return has_row
        if action in ("mark_all", "sort", "reverse"):
            return bool(pane.shown)
        if action == "filter":
            return pane.total > 0
        if action == "clear":
            return bool(pane.view.query.text or pane.table.mark_count or self._filtering)
        return True

    def label(self, command_id: str) -> str | None:
        """The label of a key, ``""`` for the usual ones, None to leave it out."""
        pane = self.active
        if command_id in texts.DESTRUCTIVE:
            if self.read_only_reason:
                return None
            verb = texts.DESTRUCTIVE[command_id]
            marks = len(pane.table.marked_rows())
            whole = "" if pane.table.cursor_heading is None else " all of it"
            return f"{verb} {marks:,} marked" if marks else f"{verb}{whole}"
        if command_id == "ingest.verify":
            marks = len(pane.table.marked_rows())
            return f"Verify {marks:,} marked" if marks else ""
        if command_id == "view.detail" and pane.table.cursor_key is None:
            return None  # the table answers to enter with nothing to choose, too
        if command_id == "table.mark":
            return "Unmark" if pane.table.is_cursor_marked else ""
        if command_id == "table.clear":
            return _clear_label(pane)
        if command_id == "view.pause":
            return "Go on" if self.paused else ""
        if command_id == "view.zoom":
            return "Unzoom" if self._zoomed else ""
        if command_id == "view.other-pane":
            return "Ingests" if pane is self.blobs else "Blobs"
        return ""

    def palette(self) -> Iterator[PaletteEntry]:
        """The commands that do something now, for the palette."""
        for hint in live_hints(self):
            command = next(c for c in COMMANDS if c.id == hint.id)
            if command.id not in ("ingest.delete", "app.quit"):
                yield f"{hint.label} ({hint.display})", command.help, self._press(command.action)

    def _press(self, action: str) -> Any:
        return lambda: self.run_action(action)

    # The keys.

    def on_key(self) -> None:
        for pane in (self.ingests, self.blobs):
            pane.view.touched(time.monotonic())
        self.active.table.visit()

    def action_plan(self, verb: str, _key: str = "") -> None:
        """Show what the verb would do to the marked items, or to the one under the cursor."""
        if self.read_only_reason:
            self._app.show_message(f"Read-only: {visible(self.read_only_reason, 600)}", "warning")
            return
        if not (rows := self._targets()):
            return
        targets = [row.info if isinstance(row, BlobRow) else row.status for row in rows]
        moving = {row.status.id for row in rows if isinstance(row, IngestRow) and row.rate}
        self._app.operations.plan(Verb(verb), targets, moving)

    def _targets(self) -> Sequence[Any]:
        """The rows that a key acts on; none, with a message, when it can't."""
        if self._trouble:
            self._app.show_message(f"Not now. {self._trouble}", "warning")
            return ()
        rows = self._settle().targets()
        if not rows:
            self._app.show_message(
                "The marked items are filtered away; esc shows everything.", "warning"
            )
        return rows

    def action_verify(self) -> None:
        """Read the blob under the cursor and compare its digest."""
        row = self.active.table.cursor_row
        if isinstance(row, BlobRow) and self._targets():
            self._app.operations.verify(row.info.digest)

    def action_probe(self) -> None:
        """Ask who holds the marked ingests, or the one under the cursor, and what they hold."""
        if rows := self._targets():
            self._app.operations.probe([row.status for row in rows])

    def action_retry(self) -> None:
        self._app.retry()

    def action_mark(self) -> None:
        self.active.table.toggle_mark()

    def action_mark_all(self) -> None:
        self._settle().table.mark_all()

    def action_clear(self) -> None:
        """End the filter first, then take the marks away."""
        if self.active.view.query.text or self._filtering:
            self._filter("")
            self._end_filtering()
        else:
            self.active.table.clear_marks()

    def action_filter(self) -> None:
        self.query_one(FilterLine).open(self.active.view.query.text)
        self._say_filter()

    @property
    def _filtering(self) -> bool:
        return self.is_mounted and self.query_one(FilterLine).has_class("-shown")

    @on(FilterLine.Changed)
    def _filter_typed(self, message: FilterLine.Changed) -> None:
        if self._filtering:
            self._filter(message.text)

    @on(FilterLine.Kept)
    def _end_filtering(self) -> None:
        self.query_one(FilterLine).close()
        self.set_focus(self.active.table)
        self._refresh_keys()

    def _filter(self, text: str) -> None:
        self.active.filter(text)
        self._refresh_panes()
        self._say_filter()

    def _say_filter(self) -> None:
        pane = self.active
        problem = pane.view.query.problem
        total = count_text(pane.total, is_loading=pane.is_loading)
        count = f"{len(pane.shown):,} of {total}"
        self.query_one(FilterLine).show_status(visible(problem, 60) if problem else count)

    def action_sort(self) -> None:
        self.active.view.sort_next()
        self._refresh_panes()

    def action_reverse(self) -> None:
        self.active.view.reverse()
        self._refresh_panes()

    @on(LiveTable.HeaderClicked)
    def _header_clicked(self, message: LiveTable.HeaderClicked) -> None:
        pane = self.ingests if message.table is self.ingests.table else self.blobs
        pane.view.sort_by(message.column)
        self._refresh_panes()

    def action_pause(self) -> None:
        """Hold the tables still; header and graph go on."""
        paused = not self.paused
        self._frozen_ns = self.now_ns
        for pane in (self.ingests, self.blobs):
            pane.view.pause(paused)
        self._refresh_all()

    @on(LiveTable.Chosen)
    def action_detail(self) -> None:
        """The row under the cursor, in full."""
        self._open_detail.open(self.active, self.now_ns)

    def action_copy(self) -> None:
        """The ref or the digest under the cursor, as a command would take it."""
        row = self.active.table.cursor_row
        if isinstance(row, IngestRow):
            from contentui.content.model import ref_argument

            self._app.copy(ref_argument(row.status), "the ref")
        elif isinstance(row, BlobRow):
            self._app.copy(str(row.info.digest), "the digest")
        elif isinstance(heading := self.active.table.cursor_heading, GroupHeading):
            self._app.copy(heading.group.transfer.image, "the image's name")

    def action_journal(self) -> None:
        self._app.show_journal()

    def action_other_pane(self) -> None:
        pane = self.blobs if self.active is self.ingests else self.ingests
        if self._zoomed:
            self._zoom(pane)
        self._go_to(pane)

    @property
    def _zoomed(self) -> bool:
        return self.has_class("-zoom-ingests") or self.has_class("-zoom-blobs")

    def action_zoom(self) -> None:
        """The active pane on the whole screen, and back."""
        self._zoom(None if self._zoomed else self.active)
        self._refresh_keys()

    def _zoom(self, pane: Pane[Any] | None) -> None:
        self.set_class(pane is self.ingests, "-zoom-ingests")
        self.set_class(pane is self.blobs, "-zoom-blobs")

    def action_help(self) -> None:
        from contentui.tui.screens.help import HelpScreen, help_lines

        self.app.push_screen(HelpScreen(help_lines(live_hints(self), texts.legend())))


def _clear_label(pane: Pane[Any]) -> str:
    if pane.view.query.text:
        return "Clear filter"
    marks = pane.table.mark_count
    return f"Clear {marks:,} marks" if marks > 1 else ""
