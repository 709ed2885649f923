"""Keeps the detail screen of one row up to date while it is open over the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contentui.monitor.model import Group, IngestRow
from contentui.tui.groups import GroupHeading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contentui.monitor.model import BlobRow, StoreView
    from contentui.tui.screens.dashboard import Dashboard
    from contentui.tui.screens.detail import DetailScreen
    from contentui.tui.screens.pane import Pane
    from contentui.tui.text_view import Line

    Subject = IngestRow | BlobRow | Group


class OpenDetail:
    """Opens at most one detail screen over its dashboard."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard
        self._open: tuple[DetailScreen, Subject] | None = None

    def open(self, pane: Pane[Any], now_ns: int) -> None:
        """Show what is under the pane's cursor, if anything is."""
        from contentui.tui.screens.detail import DetailScreen

        heading = pane.table.cursor_heading
        subject = heading.group if isinstance(heading, GroupHeading) else pane.table.cursor_row
        if subject is None:
            return
        screen = DetailScreen(_title(subject), self._lines(subject, now_ns))
        self._open = screen, subject
        self._dashboard.app.push_screen(screen)

    def follow(self, before: StoreView | None, now: StoreView) -> None:
        """Newer values of the same item, until that is gone."""
        if self._open is None or self._dashboard.app.screen is not self._open[0]:
            return
        screen, subject = self._open
        items = _like(subject, now)
        if before is not None and items is now.blobs and before.blobs is now.blobs:
            return
        found = next((item for item in items if item.key == subject.key), None)
        if found is None:
            screen.end()
        else:
            screen.show(self._lines(found, now.taken_ns))

    def _lines(self, subject: Subject, now_ns: int) -> list[Line]:
        from contentui.tui.screens.detail import full_lines

        history: Sequence[float] = ()
        if isinstance(subject, IngestRow):
            history = self._dashboard.history(subject.key)
        return full_lines(subject, now_ns, history)


def _like(subject: Subject, store_view: StoreView) -> Sequence[Subject]:
    if isinstance(subject, Group):
        return store_view.groups
    return store_view.ingests if isinstance(subject, IngestRow) else store_view.blobs


def _title(subject: Subject) -> str:
    if isinstance(subject, Group):
        return "Push" if subject.transfer.verb == "push" else "Pull"
    return "Ingest" if isinstance(subject, IngestRow) else "Blob"
