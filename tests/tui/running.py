"""The application under a pilot, and waiting for what it shows instead of sleeping."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from contentui.tui.app import Appearance, ContentUI
from contentui.tui.footer import KeyBar
from contentui.tui.screens.dashboard import Dashboard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from textual.pilot import Pilot

    from contentui.tui.session import Session

PATIENCE_S = 20.0


class Running:
    """One running application."""

    def __init__(self, app: ContentUI, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def dashboard(self) -> Dashboard:
        return next(s for s in self.app.screen_stack if isinstance(s, Dashboard))

    @property
    def keys(self) -> str:
        """The footer as it is read."""
        return self.dashboard.query_one(KeyBar).plain

    @property
    def messages(self) -> str:
        return "\n".join(self.dashboard.notice.messages)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def until(self, condition: Callable[[], Any], what: str = "") -> None:
        """Let the application run until the condition holds."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await self.pilot.pause(0.01)
        assert condition(), what

    async def shown(self) -> Running:
        """Wait until the first picture is on the screen."""
        await self.until(lambda: self.dashboard.store_view is not None)
        await self.pilot.pause()
        return self

    async def screen(self, kind: type[Any]) -> Any:
        """Wait for a screen of this kind on top."""
        await self.until(lambda: isinstance(self.app.screen, kind))
        await self.pilot.pause()
        return self.app.screen

    def text(self) -> str:
        """Every character on the screen."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)


@asynccontextmanager
async def running(
    session: Session, size: tuple[int, int] = (120, 40), appearance: Appearance | None = None
) -> AsyncIterator[Running]:
    app = ContentUI(session, interval_s=0.05, appearance=appearance)
    async with app.run_test(size=size) as pilot:
        yield Running(app, pilot)
