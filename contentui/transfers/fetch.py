"""One blob from a registry into a store: resumed, retried, verified, never started over."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from contentui.content.digest import Digest
from contentui.content.errors import AlreadyExists, FailedPrecondition, Locked, NotFound
from contentui.remotes.errors import Interrupted
from contentui.remotes.retry import Budget
from contentui.text import human_size, visible
from contentui.transfers.model import Part, Phase
from contentui.transfers.patience import Stopped, pause
from contentui.transfers.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from contentui.content.model import Descriptor
    from contentui.content.store import Store
    from contentui.content.streams import Writer
    from contentui.remotes.body import Body
    from contentui.remotes.registry import Registry

SMALL = 1 << 20
"""Blobs up to so many bytes are read whole and stored without an ingest, unless one is there."""
_PIECE = 1 << 20
_LOOK_S = 0.25
"""How often a ref that somebody else holds is tried again, seconds."""


class Fetch:
    """Gets one blob; `run` returns when it is in the store, or raises why it can't be.

    Args:
        store: where it goes.
        registry: where it comes from.
        descriptor: what it is.
        ref: its ingest's ref.
        labels: for the blob.
        urls: where else it may be had: tried first.
        tell: hears of every change; called from this thread.
        stop: ends everything soon after it is set.
        shelf: where small blobs go, together with those of others.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        descriptor: Descriptor,
        ref: str,
        *,
        labels: Mapping[str, str] | None = None,
        urls: Sequence[str] = (),
        tell: Callable[[Part], None] = lambda _: None,
        stop: threading.Event | None = None,
        budget: Budget | None = None,
        shelf: Shelf | None = None,
    ) -> None:
        self._store = store
        self._registry = registry
        self._descriptor = descriptor
        self._labels = labels
        self._urls = urls
        self._tell = tell
        self._stop = stop or threading.Event()
        self._budget = budget or Budget()
        self._shelf = shelf or Shelf(store, labels or {}, tell)
        self._part = Part(descriptor, ref, Phase.WAITING)
        self._body: Body | None = None
        """What bytes come from, or came from at last."""

    def run(self) -> Part:
        """Get it; returns its last state, EXISTS or DONE.

        A small blob may still be on the shelf then, which tells when it is stored.

        Raises:
            ContentError: as the registry or the store refuses, or the budget is used up.
            Stopped: it was told to end.
        """
        descriptor = self._descriptor
        exists = self._exists()
        # Opening its writer is how a collector learns that somebody needs it from now on.
        if exists and not self._store.traits.garbage_collected:
            return self._say(Phase.EXISTS, offset=descriptor.size)
        if descriptor.size <= SMALL and not exists and not self._is_begun():
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
        wanted = self._descriptor.digest
        found = Digest.of(view, wanted.algorithm)
        if found != wanted:
            error = FailedPrecondition(f"unexpected digest {found}, expected {wanted}")
            raise self._wrong(error)
        part = self._say(Phase.VERIFYING, offset=filled)
        self._shelf.put(part, bytes(data))
        return part._replace(phase=Phase.DONE)

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
            raise self._wrong(error) from None
        return self._say(Phase.DONE, offset=size)

    def _wrong(self, error: FailedPrecondition) -> FailedPrecondition:
        """The bytes are others than the digest says."""
        if self._body is not None:
            self._registry.doubt(self._body)
        host = f", from {visible(self._body.host)}" if self._body else ""
        return FailedPrecondition(
            f"{error.message}{host}",
            advice="the next attempt starts over: if it happens again, the registry or something"
            " on the way to it alters the bytes",
        )

    def _receive(self, offset: Callable[[], int], take: Callable[[memoryview], object]) -> None:
        """Move bytes until all are there, over as many connections as that takes."""
        while offset() < self._descriptor.size:
            began = offset()
            try:
                self._receive_once(began, take)
            except Interrupted as error:
                if self._body is not None:
                    self._registry.doubt(self._body)
                self._budget.progressed(offset() - began)
                pause(error, self._budget, self._stop, partial(self._say_retrying, offset(), error))

    def _receive_once(self, offset: int, take: Callable[[memoryview], object]) -> None:
        self._body = None
        with self._registry.open(self._descriptor, offset, self._urls) as body:
            self._body = body
            words = ""
            if body.skipping:
                words = f"the server ignores ranges: reading {human_size(body.skipping)} again"
            self._say(Phase.DOWNLOADING, offset=offset, words=words, host=body.host)
            body.skip(self._check_stop)
            view = memoryview(bytearray(min(_PIECE, max(self._descriptor.size - offset, 1))))
            while size := body.readinto(view):
                take(view[:size])
                offset += size
                self._say(Phase.DOWNLOADING, offset=offset, host=body.host)
                self._check_stop()

    def _say_retrying(self, offset: int, error: Interrupted, words: str) -> None:
        self._say(Phase.RETRYING, offset=offset, words=words, host=error.host)

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
