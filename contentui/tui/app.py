"""The application: connects session, screens, signals and appearance."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import events, on, work
from textual._compositor import CompositorUpdate
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType

from contentui.content.errors import ContentError, InvalidArgument, Unavailable
from contentui.glyphs import GLYPHS
from contentui.text import visible
from contentui.tui import themes
from contentui.tui.clipboard import osc52
from contentui.tui.driver import TerminalDriver
from contentui.tui.messages import (
    CopyRequested,
    StoreFailed,
    StoreOpened,
    StoreViewTaken,
)
from contentui.tui.notice import MESSAGE_S
from contentui.tui.operations import Operations
from contentui.tui.refresh_throttle import RefreshThrottle
from contentui.tui.screen_cells import ScreenCells
from contentui.tui.screens.dashboard import Dashboard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from rich.console import RenderableType
    from textual.screen import Screen

    from contentui.tui.screens.picker import Choice
    from contentui.tui.session import Session

RETRY_S = 2.0
"""Seconds until the second try to open a store that can't be opened; doubled for each one more."""
RETRY_MOST_S = 16.0
LAG_SAMPLE_S = 0.5
CALM_S = 5.0
"""Seconds for which the lag is not measured, after it was found that nothing moves."""
JOURNAL_LINES = 1000
ERROR_S = 30.0
"""Seconds for which an error is shown."""


@dataclass(frozen=True, slots=True)
class Appearance:
    """How it is drawn."""

    low_bandwidth: bool = False
    theme: str | None = None
    no_color: bool = False

    @property
    def ansi(self) -> bool:
        """Whether to use the terminal's own colours, or none, instead of ours."""
        return self.low_bandwidth or self.no_color or (self.theme or "").startswith("ansi")

    @property
    def start_theme(self) -> str:
        """The theme to start with."""
        return self.theme or (themes.ANSI if self.ansi else themes.DARK.name)


class ContentUI(App[None]):
    """The dashboard of one content store."""

    CSS_PATH = "app.tcss"
    TITLE = "contentui"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", show=False, id="app.quit-always", priority=True),
    ]

    def __init__(
        self,
        session: Session,
        *,
        interval_s: float = 0.25,
        appearance: Appearance | None = None,
    ) -> None:
        self.appearance = appearance or Appearance()
        # The colour filter is chosen inside Textual's constructor, before any theme is set.
        super().__init__(
            driver_class=TerminalDriver, ansi_color=True if self.appearance.ansi else None
        )
        self.register_theme(themes.DARK)
        self.register_theme(themes.LIGHT)
        known = self.appearance.start_theme in self.available_themes
        self.theme = self.appearance.start_theme if known else themes.DARK.name
        self.session = session
        self._throttle = RefreshThrottle(interval_s)
        self._dashboard = Dashboard(graph=not self.appearance.low_bandwidth)
        self.operations = Operations(self, self._dashboard)
        self._retry_now = asyncio.Event()
        self._cells = ScreenCells()

    def on_mount(self) -> None:
        self._catch_signals()
        self.session.pace(self._throttle.interval_s)
        self.push_screen(self._dashboard)
        if self.appearance.theme and self.appearance.theme not in self.available_themes:
            self.show_message(
                f"There is no theme {visible(self.appearance.theme, 60)!r}.", "warning"
            )
        if self.session.source is None:
            self._pick()
        else:
            self.call_after_refresh(self._start)

    def _catch_signals(self) -> None:
        if isinstance(self._driver, TerminalDriver):
            loop = asyncio.get_running_loop()

            def leave(code: int) -> None:
                with suppress(RuntimeError):  # it has ended
                    loop.call_soon_threadsafe(partial(self.exit, return_code=code))

            self._driver.end_on_signals(leave)

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key):
            self.session.attend()
        await super().on_event(event)

    def get_key_display(self, binding: Binding) -> str:
        display = super().get_key_display(binding)
        return display if GLYPHS.utf8 or display.isascii() else binding.key  # Textual draws arrows

    def on_resize(self) -> None:
        self._cells.forget()

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        """Write what an update changes on the terminal, and nothing if it changes nothing."""
        is_drawn = self._driver is not None and not (self._batch_count or self.is_headless)
        if is_drawn and isinstance(renderable, CompositorUpdate):
            if isinstance(self._driver, TerminalDriver) and self._driver.take_restarted():
                self._cells.forget()
            renderable = self._cells.changes(renderable, self.console)
        super()._display(screen, renderable)

    def exit(self, result: None = None, return_code: int = 0, message: Any = None) -> None:
        if isinstance(self._driver, TerminalDriver):
            self._driver.end(return_code)
        super().exit(result, return_code, message)

    def _pick(self) -> None:
        from contentui.tui.screens.picker import PickerScreen

        def chosen(choice: Choice | None) -> None:
            if choice is not None:
                self.session.source, self.session.create = choice
                self._start()

        self.push_screen(PickerScreen(), chosen)

    def _start(self) -> None:
        self._watch()
        self._adapt_refresh_rate()

    # From the store to the screen.

    @work(group="feed", exclusive=True)
    async def _watch(self) -> None:
        """Open the store and pass its views on; after a failure, report it and try again."""
        delay_s = RETRY_S
        while True:
            try:
                reason = await asyncio.to_thread(self.session.open)
                self._dashboard.post_message(StoreOpened(reason))
                delay_s = RETRY_S
                async for store_view in self.session.views():
                    self._dashboard.post_message(StoreViewTaken(store_view))
                error: ContentError = Unavailable("the watch on the store ended")
            except ContentError as failure:
                error = failure
            except OSError as failure:
                error = Unavailable(f"the operating system refuses: {failure.strerror or failure}")
            self._dashboard.post_message(StoreFailed(error, delay_s))
            await self._wait_before_retry(delay_s)
            delay_s = min(2 * delay_s, RETRY_MOST_S)

    async def _wait_before_retry(self, delay_s: float) -> None:
        """Wait until the time is over or `retry` is called."""
        self._retry_now.clear()
        try:
            async with asyncio.timeout(delay_s):
                await self._retry_now.wait()
        except TimeoutError:
            pass

    def retry(self) -> None:
        """Try to reach the store now."""
        self._retry_now.set()
        self.session.wake()

    @work(group="pace", exclusive=True)
    async def _adapt_refresh_rate(self) -> None:
        """Refresh less often when drawing or the terminal can't keep up."""
        loop = asyncio.get_running_loop()
        while True:
            if self.session.is_slow:  # little is drawn
                await asyncio.sleep(CALM_S)
            due = loop.time() + LAG_SAMPLE_S
            await asyncio.sleep(LAG_SAMPLE_S)
            if self._throttle.record_lag(loop.time() - due):
                self.session.pace(self._throttle.interval_s)

    async def on_unmount(self) -> None:
        self.operations.stop()
        await asyncio.to_thread(self.session.close)

    @work(group="journal", exclusive=True)
    async def show_journal(self) -> None:
        """The journal, newest first."""
        from contentui.tui.screens.journal import JournalScreen
        from contentui.tui.screens.texts import journal_lines

        journal = self.session.journal
        records = await asyncio.to_thread(journal.tail, JOURNAL_LINES)
        self.push_screen(JournalScreen(journal_lines(records, journal.path, journal.problem)))

    def show_message(
        self,
        text: str,
        severity: str = "information",
        *,
        for_s: float = MESSAGE_S,
        key: str = "",
    ) -> None:
        """Show a text that is already safe for a terminal on the dashboard's notice line."""
        self._dashboard.notice.add(text, severity, for_s, key)

    def show_error(self, error: ContentError) -> None:
        """Show what was refused and what to do."""
        text = visible(error.message, 600)
        if error.advice:
            text += f": {visible(error.advice, 300)}"
        self.show_message(text, "error", for_s=ERROR_S)

    @on(CopyRequested)
    def _copy_requested(self, message: CopyRequested) -> None:
        outcome = self.copy(message.text, message.what)
        for box in self.screen.query(".overlay, #plan"):  # which covers the notice line
            box.border_subtitle = f"{outcome} {GLYPHS.dot} esc closes"

    def copy(self, text: str, what: str) -> str:
        """Put text on the terminal's clipboard, also through ssh and tmux; returns the outcome."""
        try:
            sequence = osc52(text)
        except InvalidArgument as error:
            self.show_error(error)
            return visible(error.message, 300)
        if self._driver is not None:
            self._driver.write(sequence)
        outcome = f"Sent {what} to the terminal's clipboard."
        self.show_message(outcome)
        return outcome

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The palette: our commands first, then the themes and what Textual brings."""
        for title, help_text, run in self._dashboard.palette() if screen is self._dashboard else ():
            yield SystemCommand(title, help_text, run)
        for command in super().get_system_commands(screen):
            if command.title in ("Theme", "Quit", "Screenshot"):
                yield command


PaletteEntry = tuple[str, str, "Callable[[], Any]"]
