"""One blob from a registry into a store: resumed, retried, verified, never started over."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from contentui.content.errors import AlreadyExists, FailedPrecondition, Locked, NotFound
from contentui.remotes.errors import Interrupted
from contentui.remotes.retry import Budget
from contentui.text import human_size, visible
from contentui.transfers.model import Part, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from contentui.content.model import Descriptor
    from contentui.content.store import Store, Writer
    from contentui.remotes.registry import Registry

SMALL = 1 << 20
"""Blobs up to so many bytes are read whole and stored without an ingest, unless one is there."""
_PIECE = 1 << 20
_LOOK_S = 0.25
"""How often a ref that somebody else holds is tried again, seconds."""


class Stopped(Exception):
    """The transfer was told to end; what arrived is kept."""


class Fetch:
    """Gets one blob; `run` returns when it is in the store, or raises why it can't be.

    Args:
        store: where it goes.
        registry: where it comes from.
        descriptor: what it is.
        ref: its ingest's ref.
        labels: for the blob.
        tell: hears of every change; called from this thread.
        stop: ends everything soon after it is set.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        descriptor: Descriptor,
        ref: str,
        *,
        labels: Mapping[str, str] | None = None,
        tell: Callable[[Part], None] = lambda _: None,
        stop: threading.Event | None = None,
        budget: Budget | None = None,
    ) -> None:
        self._store = store
        self._registry = registry
        self._descriptor = descriptor
        self._labels = labels
        self._tell = tell
        self._stop = stop or threading.Event()
        self._budget = budget or Budget()
        self._part = Part(descriptor, ref, Phase.WAITING)

    def run(self) -> Part:
        """Get it; returns its last state, EXISTS or DONE.

        Raises:
            ContentError: as the registry or the store refuses, or the budget is used up.
            Stopped: it was told to end.
        """
        descriptor = self._descriptor
        if self._exists():
            return self._say(Phase.EXISTS, offset=descriptor.size)
        if descriptor.size <= SMALL and not self._is_begun():
            return self._fetch_small()
        while True:
            try:
                with self._open() as writer:
                    return self._fetch_into(writer)
            except AlreadyExists:
                return self._say(Phase.EXISTS, offset=descriptor.size)

    def _fetch_small(self) -> Part:
        data = bytearray(self._descriptor.size)
        view = memoryview(data)
        filled = 0

        def take(piece: memoryview) -> None:
            nonlocal filled
            view[filled : filled + len(piece)] = piece
            filled += len(piece)

        self._receive(lambda: filled, take)
        self._store.put(bytes(data), expected=self._descriptor.digest, labels=self._labels)
        return self._say(Phase.DONE, offset=filled)

    def _fetch_into(self, writer: Writer) -> Part:
        size = self._descriptor.size
        if writer.status().refused is not None or writer.offset > size:
            writer.truncate(0)  # bytes that are known to be wrong are never built upon
        self._part = self._part._replace(resumed=writer.offset)
        self._receive(lambda: writer.offset, writer.write)
        self._say(Phase.VERIFYING, offset=size)
        try:
            writer.commit(size, self._descriptor.digest, self._labels)
        except FailedPrecondition as error:
            error.advice = (
                "the bytes are kept and marked as wrong; the next attempt starts over: if it"
                " happens again, the registry or something on the way alters them"
            )
            raise
        return self._say(Phase.DONE, offset=size)

    def _receive(self, offset: Callable[[], int], take: Callable[[memoryview], object]) -> None:
        """Move bytes until all are there, over as many connections as that takes."""
        while offset() < self._descriptor.size:
            began = offset()
            try:
                self._receive_once(began, take)
            except Interrupted as error:
                self._budget.progressed(offset() - began)
                self._pause(error, offset())

    def _receive_once(self, offset: int, take: Callable[[memoryview], object]) -> None:
        with self._registry.open(self._descriptor, offset) as body:
            words = ""
            if body.skipping:
                words = f"the server ignores ranges: reading {human_size(body.skipping)} again"
            self._say(Phase.DOWNLOADING, offset=offset, words=words, host=body.host)
            body.skip()
            view = memoryview(bytearray(min(_PIECE, max(self._descriptor.size - offset, 1))))
            while size := body.readinto(view):
                take(view[:size])
                offset += size
                self._say(Phase.DOWNLOADING, offset=offset, host=body.host)
                self._check_stop()

    def _pause(self, error: Interrupted, offset: int) -> None:
        """Wait before the next attempt. Raises the error when there is none."""
        pause_s = self._budget.pause_s(error)
        if pause_s is None:
            error.advice = (
                f"gave up after {self._budget.failed} attempts without progress;"
                f" {human_size(offset)} are kept: run the same command again to go on"
            )
            raise error
        until = time.monotonic() + pause_s
        while (left := until - time.monotonic()) > 0:
            words = self._budget.words(left, error)
            self._say(Phase.RETRYING, offset=offset, words=words, host=error.host)
            self._stop.wait(min(left, 1.0))
            self._check_stop()

    def _open(self) -> Writer:
        """The ref's writer; waits while somebody else holds it.

        Raises:
            AlreadyExists: who held it committed the blob.
        """
        descriptor = self._descriptor
        while True:
            try:
                return self._store.writer(
                    self._part.ref, total=descriptor.size, expected=descriptor.digest
                )
            except Locked as error:
                self._wait_for(error)

    def _wait_for(self, error: Locked) -> None:
        holder = error.holder
        who = f"pid {holder.pid}" if holder is not None and holder.pid else "another writer"
        command = f" ({visible(holder.command, 60)})" if holder and holder.command else ""
        try:
            offset = self._store.status(self._part.ref).offset
        except NotFound:
            offset = self._part.offset
        self._say(Phase.WAITING, offset=offset, words=f"waiting for {who}{command}")
        self._stop.wait(_LOOK_S)
        self._check_stop()

    def _exists(self) -> bool:
        try:
            self._store.info(self._descriptor.digest)
        except NotFound:
            return False
        return True

    def _is_begun(self) -> bool:
        """Whether an ingest is there already, with bytes or a writer."""
        try:
            self._store.status(self._part.ref)
        except NotFound:
            return False
        return True

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise Stopped

    def _say(self, phase: Phase, *, offset: int, words: str = "", host: str = "") -> Part:
        self._part = self._part._replace(phase=phase, offset=offset, words=words, host=host)
        self._tell(self._part)
        return self._part
