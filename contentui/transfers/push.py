"""An image from a store into a registry: parts at once, then manifests, the outermost last."""

from __future__ import annotations

import os
import threading
import time
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING

from contentui.content.errors import ContentError, DataLoss, FailedPrecondition, NotFound
from contentui.content.helpers import verified_chunks
from contentui.content.rules import DISTRIBUTION_SOURCE
from contentui.oci.manifests import (
    DEEPEST,
    MOST_DOCUMENTS,
    Child,
    is_document,
    parse_manifest,
    ref_of,
)
from contentui.remotes.errors import Interrupted
from contentui.remotes.registry import MAX_MANIFEST
from contentui.remotes.retry import Budget
from contentui.remotes.upload import Uploads
from contentui.transfers.model import Part, Phase, Transfer
from contentui.transfers.patience import Stopped, pause, retried

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from contentui.content.digest import Digest
    from contentui.content.model import Descriptor
    from contentui.content.store import Store
    from contentui.content.streams import BlobReader
    from contentui.oci.manifests import Manifest
    from contentui.remotes.registry import Registry
    from contentui.remotes.upload import Session

AT_ONCE = 3
_PIECE = 1 << 20


class Push:
    """One push. `run` it once; `stop` may be called from any thread.

    Args:
        store: where the content is.
        registry: where it goes, under its reference's tag or digest.
        root: the image's descriptor; its media type may be empty.
        foreign: also send layers that say that they are not for registries.
        chunk: bytes of one request; None: each blob in one.
        tell: hear the whole state on every change, from several threads, one at a time.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        root: Descriptor,
        *,
        foreign: bool = False,
        chunk: int | None = None,
        tell: Sequence[Callable[[Transfer], None]] = (),
    ) -> None:
        self._store = store
        self._registry = registry
        self._uploads = Uploads(registry)
        self._root = root
        self._foreign = foreign
        self._chunk = chunk
        self._tell = tell
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._parts: dict[Digest, Part] = {}
        self._blobs: dict[Digest, Child] = {}
        self._documents: dict[Digest, tuple[bytes, str]] = {}
        """Manifests and indexes, the needed before the needing."""
        name = str(registry.reference)
        self._transfer = Transfer("push", name, os.getpid(), time.time_ns())

    def stop(self) -> None:
        """End soon."""
        self._stop.set()

    def run(self) -> None:
        """Send everything that the registry lacks.

        Raises:
            NotFound: a part isn't in the store; nothing was tagged.
            ContentError: as the registry answers.
            Stopped: `stop` was called.
        """
        try:
            self._walk(Child(self._root, "manifest"), 0)
            self._send_blobs()
            self._send_documents()
        except (ContentError, Stopped) as error:
            words = error.message if isinstance(error, ContentError) else "interrupted"
            self._update(error=words, words="")
            raise
        self._update(words="")

    def run_object(self) -> None:
        """Send the root alone: as a manifest when it has the type of one, else as a blob.

        A manifest goes under the reference's tag. Raises as `run`.
        """
        if is_document(self._root.media_type):
            data, manifest = self._read(self._root)
            self._documents[self._root.digest] = (data, manifest.media_type)
            self._send_documents()
        else:
            child = Child(self._root, "layer")
            self._blobs[self._root.digest] = child
            self._say(Part(self._root, ref_of(child), Phase.WAITING))
            self._send_blobs()
        self._update(words="")

    def _walk(self, child: Child, depth: int) -> None:
        if depth > DEEPEST or len(self._documents) > MOST_DOCUMENTS:
            raise FailedPrecondition("its indexes are nested too deeply or too many")
        digest = child.descriptor.digest
        data, manifest = self._read(child.descriptor)
        for each in manifest.children:
            if each.leads_on:
                if self._is_here(each.descriptor.digest):
                    self._walk(each, depth + 1)
                else:
                    self._expect_there(each)
            elif not each.is_foreign or self._foreign:
                self._blobs.setdefault(each.descriptor.digest, each)
                self._say(Part(each.descriptor, ref_of(each), Phase.WAITING))
        self._documents[digest] = (data, manifest.media_type)

    def _read(self, descriptor: Descriptor) -> tuple[bytes, Manifest]:
        info = self._store.info(descriptor.digest)
        if info.size > MAX_MANIFEST:
            raise FailedPrecondition(f"{descriptor.digest} is too large for a manifest")
        data = b"".join(verified_chunks(self._store, descriptor.digest))
        return data, parse_manifest(data, descriptor.media_type)

    def _is_here(self, digest: Digest) -> bool:
        try:
            self._store.info(digest)
        except NotFound:
            return False
        return True

    def _expect_there(self, child: Child) -> None:
        """A platform that isn't in this store may be in the registry already.

        Raises:
            NotFound: it is in neither.
        """
        digest = child.descriptor.digest
        if not self._uploads.has_manifest(digest, digest):
            where = f" for {child.platform}" if child.platform else ""
            raise NotFound(
                f"{digest.short()}{where}, part of the image, is missing here and in the registry",
                advice="fetch it with --all-platforms, or push the manifest of one platform",
            )

    def _send_blobs(self) -> None:
        queue = sorted(self._blobs.values(), key=lambda child: -child.descriptor.size)
        errors: list[BaseException] = []
        count = min(AT_ONCE, len(queue))
        threads = [
            threading.Thread(target=self._work, args=(queue, errors), daemon=True)
            for _ in range(count)
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except BaseException:
            self._stop.set()
            for thread in threads:
                thread.join()
            raise
        if errors:
            raise next((e for e in errors if not isinstance(e, Stopped)), errors[0])
        self._check_stop()

    def _work(self, queue: list[Child], errors: list[BaseException]) -> None:
        while not self._stop.is_set():
            with self._lock:
                if not queue:
                    return
                child = queue.pop(0)
            try:
                self._send_blob(child)
            except BaseException as error:  # raised again by the thread that waits
                errors.append(error)
                if isinstance(error, ContentError):
                    part = self._parts[child.descriptor.digest]
                    self._say(part._replace(phase=Phase.FAILED, words=error.message))
                self._stop.set()

    def _send_blob(self, child: Child) -> None:
        """Send one blob, over as many attempts as the budget allows."""
        budget, session, arrived = Budget(), None, 0
        while True:
            try:
                session = self._resumed(session)
                if session is not None:
                    budget.progressed(session.offset - arrived)
                    arrived = session.offset
                else:
                    session, arrived = self._begin(child), 0
                if session is not None:
                    self._send(child, session)
                return
            except Interrupted as error:
                self._pause(child, error, budget)

    def _resumed(self, session: Session | None) -> Session | None:
        """An upload that broke, as far as it has come; None where it can't be gone on with."""
        return session if session is not None and self._uploads.look(session) else None

    def _begin(self, child: Child) -> Session | None:
        """A new upload; None when the registry has the blob, or takes it from elsewhere."""
        descriptor = child.descriptor
        info = self._store.info(descriptor.digest)
        if self._uploads.exists(descriptor.digest):
            self._end(child, Phase.EXISTS)
            return None
        session = self._uploads.begin(descriptor.digest, self._elsewhere(info.labels or {}))
        if session is None:
            self._end(child, Phase.MOUNTED)
        return session

    def _elsewhere(self, labels: Mapping[str, str]) -> str:
        """Another repository of the same registry that has a blob; the one that is most alike."""
        reference = self._registry.reference
        named = labels.get(DISTRIBUTION_SOURCE + reference.host.partition(":")[0], "")
        others = [name for name in named.split(",") if name and name != reference.repository]

        def alike(name: str) -> int:
            pairs = zip(name.split("/"), reference.repository.split("/"), strict=False)
            return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

        return max(others, key=alike, default="")

    def _send(self, child: Child, session: Session) -> None:
        size = child.descriptor.size
        with self._store.reader(child.descriptor.digest) as reader:
            while session.offset < size:
                count = min(self._chunk or size, size - session.offset)
                pieces = partial(self._pieces, child, reader, session.offset, count)
                self._uploads.send(session, pieces, count)
        self._say(self._part(child)._replace(phase=Phase.VERIFYING, offset=size, words=""))
        self._uploads.finish(session, child.descriptor.digest)
        self._end(child, Phase.DONE)

    def _pieces(self, child: Child, reader: BlobReader, offset: int, count: int) -> Iterator[bytes]:
        part = self._part(child)._replace(phase=Phase.UPLOADING, words="", host=self._uploads.host)
        end = offset + count
        while offset < end:
            self._say(part._replace(offset=offset))
            piece = reader.read_at(min(_PIECE, end - offset), offset)
            if not piece:
                raise DataLoss(
                    f"{child.descriptor.digest} is shorter than the manifest says",
                    advice="verify it, delete it and fetch it again",
                )
            yield piece
            offset += len(piece)
            self._check_stop()

    def _pause(self, child: Child, error: Interrupted, budget: Budget) -> None:
        """Wait before the next attempt. Raises the error when there is none."""

        def tell(words: str) -> None:
            self._say(self._part(child)._replace(phase=Phase.RETRYING, words=words))

        pause(error, budget, self._stop, tell)

    def _send_documents(self) -> None:
        """Manifests by their digests, the image itself last and under its name."""
        reference = self._registry.reference
        for digest, (data, media_type) in self._documents.items():
            is_root = digest == self._root.digest
            name = reference.object if is_root else str(digest)
            known_as = f"as {reference.object}" if is_root else digest.short()
            self._update(words=f"sending the manifest {known_as}")
            if not self._uploads.has_manifest(name, digest):
                put = partial(self._uploads.put_manifest, name, data, media_type, digest)
                retried(put, self._stop, lambda words: self._update(words=words))

    def _part(self, child: Child) -> Part:
        return self._parts[child.descriptor.digest]

    def _end(self, child: Child, phase: Phase) -> None:
        size = child.descriptor.size
        self._say(self._part(child)._replace(phase=phase, offset=size, words=""))

    def _say(self, part: Part) -> None:
        with self._lock:
            self._parts[part.descriptor.digest] = part
            self._transfer = self._transfer._replace(parts=tuple(self._parts.values()))
            self._tell_all()

    def _update(self, **changes: str) -> None:
        with self._lock:
            self._transfer = self._transfer._replace(**changes)  # type: ignore[arg-type] # texts
            self._tell_all()

    def _tell_all(self) -> None:
        for tell in self._tell:
            tell(self._transfer)

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise Stopped
