"""What the dashboard starts on items: plans, verification, probes; each from key to result here."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from contentui.content.errors import ContentError

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine, Sequence

    from contentui.actions.model import Concern, Plan, Verb
    from contentui.content.digest import Digest
    from contentui.content.model import Info, IngestId, Status
    from contentui.tui.app import ContentUI
    from contentui.tui.probing import ProbeResult
    from contentui.tui.screens.dashboard import Dashboard

RESULT_S = 20.0
"""Seconds for which the result of a verification is shown."""


class Operations:
    """Runs in the application's workers. What blocks is done by the session, on a thread.

    A plan goes from the planner to the confirmation, to `contentui.actions.run.run` and to the
    line with its outcomes. Only one verification or probe runs at a time.
    """

    def __init__(self, app: ContentUI, dashboard: Dashboard) -> None:
        self._app = app
        self._dashboard = dashboard
        self._verifying = ""
        """The name of what is read now."""
        self._stopped = False

    def stop(self) -> None:
        """End a running verification after its current piece."""
        self._stopped = True

    def plan(
        self, verb: Verb, targets: Sequence[Status] | Sequence[Info], moving: Collection[IngestId]
    ) -> None:
        """Plan ``verb`` for the targets, show the plan, and run it when it is confirmed."""
        self._start(self._plan(verb, targets, moving), "plan")

    def verify(self, digest: Digest) -> None:
        """Read a blob and compare it with its digest."""
        if self._is_free():
            self._start(self._verify(digest), "verify")

    def probe(self, targets: Sequence[Status]) -> None:
        """Probe ingests; ask first where that is expensive for other clients of a daemon."""
        from contentui.tui.probing import MAX_PROBES

        if not self._is_free():
            return
        if len(targets) > MAX_PROBES:
            text = f"At most {MAX_PROBES} ingests at once; {len(targets):,} are marked."
            self._app.show_message(text, "warning")
        else:
            self._start(self._probe(targets), "verify")

    def _start(self, operation: Coroutine[None, None, None], group: str) -> None:
        self._app.run_worker(operation, group=group, exclusive=True)

    def _is_free(self) -> bool:
        if self._verifying:
            self._app.show_message(f"{self._verifying} is being verified; wait for it.", "warning")
        return not self._verifying

    async def _plan(
        self, verb: Verb, targets: Sequence[Status] | Sequence[Info], moving: Collection[IngestId]
    ) -> None:
        from contentui.tui.screens.plan import PlanScreen

        try:
            plan = await asyncio.to_thread(self._app.session.plan, verb, targets, moving)
        except ContentError as error:
            self._app.show_error(error)
            return
        if not self._dashboard.is_active:
            return  # another screen was opened meanwhile: don't ask over it
        allow = await self._app.push_screen_wait(PlanScreen(plan, self._dashboard.now_ns))
        if allow is not None:  # in a worker of its own, which the next plan doesn't cancel
            self._app.run_worker(self._run(plan, allow), group="run")

    async def _run(self, plan: Plan, allow: frozenset[Concern]) -> None:
        try:
            outcomes = await asyncio.to_thread(self._app.session.run, plan, allow)
        except ContentError as error:
            self._app.show_error(error)
        else:
            self._dashboard.show_outcomes(outcomes)

    async def _verify(self, digest: Digest) -> None:
        name = digest.short()
        self._verifying, self._stopped = name, False
        try:
            size = await asyncio.to_thread(self._app.session.verify, digest, self._progress)
        except ContentError as error:
            self._app.show_error(error)
        else:
            self._app.show_message(f"{name} is sound: {size:,} bytes read.", for_s=RESULT_S)
        finally:
            self._end()

    async def _probe(self, targets: Sequence[Status]) -> None:
        from contentui.tui.probing import cost_question, short_name
        from contentui.tui.screens.ask import AskScreen

        if self._app.session.garbage_collected and (text := cost_question(targets)):
            ask = AskScreen("Read it all?", text, "Read")
            if not await self._app.push_screen_wait(ask):
                return
        self._stopped = False
        results: list[ProbeResult] = []
        try:
            for place, status in enumerate(targets, 1):
                name = self._verifying = short_name(status)
                count = f" ({place} of {len(targets)})" if len(targets) > 1 else ""
                self._dashboard.progress(f"probing {name}{count}")
                results.append(await asyncio.to_thread(self._app.session.probe, status))
                if self._stopped:
                    return
        finally:
            self._end()
        self._show_probes(results)

    def _show_probes(self, results: Sequence[ProbeResult]) -> None:
        if self._dashboard.is_active:
            from contentui.tui.screens.probes import ProbesScreen

            self._app.push_screen(ProbesScreen(results, time.time_ns()))
        else:  # another screen was opened meanwhile
            from contentui.tui.probing import summary

            self._app.show_message(summary(results), for_s=RESULT_S)

    def _progress(self, offset: int, size: int) -> bool:
        """Called on the session's thread; returns whether to continue."""
        percent = offset * 100 // max(size, 1)
        self._app.call_later(self._dashboard.progress, f"verifying {self._verifying} {percent}%")
        return not self._stopped

    def _end(self) -> None:
        self._verifying = ""
        self._dashboard.progress("")
