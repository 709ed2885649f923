"""What a pull and a push have in common: state, threads, retries, cancellation."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from contentui.content.errors import ContentError
from contentui.remotes.retry import Stopped, retry_call
from contentui.stores import procfs
from contentui.threads import WorkerThread
from contentui.transfers.model import Phase, Transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from contentui.content.digest import Digest
    from contentui.content.store import Store
    from contentui.oci.documents import Child
    from contentui.remotes.registry import Registry
    from contentui.transfers.model import Part

    Report = Callable[[Transfer], object]
    """Gets the whole state on every change, from several threads, one at a time."""

_T = TypeVar("_T")


class ImageTransfer:
    """One transfer between a store and a registry; run it once."""

    def __init__(
        self, verb: str, store: Store, registry: Registry, reports: Sequence[Report]
    ) -> None:
        self._store = store
        self._registry = registry
        self._reports = reports
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._parts: dict[Digest, Part] = {}
        self._transfer = Transfer(
            verb,
            str(registry.reference),
            os.getpid(),
            time.time_ns(),
            command=procfs.process_command(os.getpid()),
        )

    def stop(self) -> None:
        """End soon, also the requests that are running; what arrived is kept.

        May be called from any thread or signal handler.
        """
        self._stop.set()
        self._registry.interrupt()

    @contextmanager
    def _outcome_reported(self) -> Iterator[None]:
        """Report the error of the body, if any, as the whole transfer's."""
        try:
            yield
        except (ContentError, Stopped) as error:
            reason = error.message if isinstance(error, ContentError) else "interrupted"
            self._report(error=reason, message="")
            raise
        self._report(message="")

    def _run_workers(
        self, queues: Sequence[tuple[list[Child], int]], work: Callable[[Child], object]
    ) -> None:
        """Do all ``work``: of each queue so many children at the same time.

        Raises:
            ContentError: the first failure, which stopped the others.
            Stopped: `stop` was called.
        """
        errors: list[BaseException] = []
        threads = [
            WorkerThread(partial(self._work, queue, work, errors))
            for queue, count in queues
            for _ in range(min(count, len(queue)))
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException:  # an interruption: the writers are closed first
            self.stop()  # a thread that has not begun yet will do nothing
            for thread in threads:
                if thread.begun:
                    thread.join()
            raise
        if errors:
            raise next((e for e in errors if not isinstance(e, Stopped)), errors[0])
        self._check_stop()

    def _work(
        self, queue: list[Child], work: Callable[[Child], object], errors: list[BaseException]
    ) -> None:
        while not self._stop.is_set():
            with self._lock:
                if not queue:
                    return
                child = queue.pop(0)
            try:
                work(child)
            except BaseException as error:  # raised again by the thread that waits
                errors.append(error)
                part = self._parts[child.descriptor.digest]
                if isinstance(error, ContentError) and part.phase is not Phase.DONE:
                    self._report_part(part._replace(phase=Phase.FAILED, message=error.message))
                self.stop()

    def _retry(self, act: Callable[[], _T]) -> _T:
        """What ``act`` returns at last; the pauses are shown as the whole transfer's message."""
        before = self._transfer.message
        result = retry_call(
            act, self._registry.attempts, self._stop, lambda text: self._report(message=text)
        )
        self._report(message=before)
        return result

    def _report_part(self, part: Part) -> None:
        with self._lock:
            self._parts[part.descriptor.digest] = part
            self._transfer = self._transfer._replace(parts=tuple(self._parts.values()))
            self._send_reports()

    def _report(self, **changes: str) -> None:
        with self._lock:
            self._transfer = self._transfer._replace(**changes)  # type: ignore[arg-type] # texts
            self._send_reports()

    def _send_reports(self) -> None:
        for report in self._reports:
            report(self._transfer)

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise Stopped
