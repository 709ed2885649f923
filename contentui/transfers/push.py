"""An image from a store into a registry: blobs first, several at once, then manifests.

The order is that of containerd's ``core/remotes/handlers.go`` (``PushContent``); requests are those
of "Push" in the OCI distribution specification.
"""

from __future__ import annotations

from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING

from contentui.content.errors import DataLoss, FailedPrecondition, NotFound
from contentui.content.rules import DISTRIBUTION_SOURCE
from contentui.oci.documents import MAX_DEPTH, MAX_MANIFESTS, Child, make_ref_key
from contentui.oci.media_types import has_children
from contentui.oci.stored import read_manifest
from contentui.remotes.errors import Refused, RetryableError
from contentui.remotes.retry import RetryBudget, wait_to_retry
from contentui.remotes.upload import Uploads
from contentui.text import visible
from contentui.transfers.base import ImageTransfer
from contentui.transfers.model import Part, Phase
from contentui.transfers.push_choice import choose_root, is_attestation, is_whole, lost_platforms

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from contentui.content.digest import Digest
    from contentui.content.model import Descriptor
    from contentui.content.store import Store
    from contentui.content.streams import BlobReader
    from contentui.oci.platforms import Platform
    from contentui.remotes.registry import Registry
    from contentui.remotes.upload import Session
    from contentui.transfers.base import Report
    from contentui.transfers.push_choice import Choice

AT_ONCE = 3
"""Blobs that are uploaded at the same time."""
_PIECE = 1 << 20
_REPLACE_ADVICE = "push under another tag; --platform replaces the index all the same"
_COMMIT_PAUSES_S = (0.1, 0.5, 2.0, 5.0, 10.0)
"""How long a registry that has not answered is given to commit, before content is sent again."""


class Push(ImageTransfer):
    """One push.

    Args:
        store: the source.
        registry: the destination, under its reference's tag or digest.
        root: the image's descriptor; its media type may be empty.
        platform: push the manifest of this platform instead of the index.
        nondistributable: also upload layers that are marked as not to be distributed.
        chunk_size: bytes of one request; None: each blob in one.
        reports: each gets the whole state on every change.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        root: Descriptor,
        *,
        platform: Platform | None = None,
        nondistributable: bool = False,
        chunk_size: int | None = None,
        reports: Sequence[Report] = (),
    ) -> None:
        super().__init__("push", store, registry, reports)
        self._uploads = Uploads(registry)
        self._root = root
        self._platform = platform
        self.note = ""
        """Why not all of the image is pushed; safe to print."""
        self._nondistributable = nondistributable
        self._chunk_size = chunk_size
        self._blobs: dict[Digest, Child] = {}
        self._manifests: dict[Digest, tuple[bytes, str]] = {}
        """Manifests and indexes with their media types, children before parents."""
        self._whole: dict[Digest, bool] = {}
        """What is known of manifests: whether they are here with all their parts."""
        self._absent: list[Digest] = []
        """Attestations that are not in the store."""

    def run(self) -> Descriptor:
        """Upload all that the registry doesn't have; returns the descriptor of what was pushed.

        Raises:
            NotFound: a part isn't in the store; nothing was tagged.
            InvalidArgument: several platforms are here but not all, and none was named.
            FailedPrecondition: platforms of an index there would be lost.
            ContentError: from the registry.
            Stopped: `stop` was called.
        """
        with self._outcome_reported():
            root = self._choose()
            self._walk(root, 0)
            self._upload_blobs()
            self._put_manifests()
        return self._root

    def _choose(self) -> Child:
        """What is pushed under the name; see `contentui.transfers.push_choice`."""
        self._report(message="looking for what the registry has")
        choice = choose_root(
            self._store,
            self._root,
            self._platform,
            lambda digest: self._retry(partial(self._uploads.has_manifest, digest, digest)),
        )
        self._root, self.note = choice.root.descriptor, choice.note
        reference = self._registry.reference
        if reference.digest is not None and reference.digest != self._root.digest:
            raise FailedPrecondition(
                f"the destination names the digest {reference.digest.short()}, and"
                f" {self._root.digest.short()} is pushed",
                advice="name a tag, or the image with this digest",
            )
        if not choice.is_index and self._platform is None:
            self._check_platforms_there(choice)
        self._report(message=choice.note)
        return choice.root

    def _check_platforms_there(self, choice: Choice) -> None:
        """Raises FailedPrecondition: the tag has an index, of which platforms would be lost."""
        reference = self._registry.reference
        try:
            there = self._retry(partial(self._uploads.manifest_at, reference.object))
        except FailedPrecondition as error:
            error.message = (
                f"{visible(str(reference))} is an index there, and which platforms would be lost is"
                f" unknown: {error.message}"
            )
            error.advice = _REPLACE_ADVICE
            raise
        lost = lost_platforms(there, choice.platform) if there and there.is_index else []
        if lost:
            pushed = visible(str(choice.platform or "this manifest"), 100)
            raise FailedPrecondition(
                f"{visible(str(reference))} is an index there: {pushed} in its place would lose"
                f" {', '.join(lost[:8])}{f' and {len(lost) - 8} more' if len(lost) > 8 else ''}",
                advice=_REPLACE_ADVICE,
            )

    def run_object(self) -> None:
        """Upload the root alone: as a manifest when it has the type of one, else as a blob.

        A manifest goes under the reference's tag. Raises as `run`.
        """
        if has_children(self._root.media_type):
            data, manifest = read_manifest(self._store, self._root.digest, self._root.media_type)
            self._manifests[self._root.digest] = (data, manifest.media_type)
            self._put_manifests()
        else:
            self._add_blob(Child(self._root, "layer"))
            self._upload_blobs()
        self._report(message="")

    def _walk(self, child: Child, depth: int) -> None:
        if depth > MAX_DEPTH or len(self._manifests) > MAX_MANIFESTS:
            raise FailedPrecondition(
                "invalid image: its indexes are nested too deeply, or it has too many manifests"
            )
        digest = child.descriptor.digest
        if digest in self._manifests:
            return
        data, manifest = read_manifest(self._store, digest, child.descriptor.media_type)
        for each in manifest.children:
            if each.may_have_children:
                if is_whole(self._store, each, self._whole):
                    self._walk(each, depth + 1)
                elif is_attestation(each):
                    self._absent.append(each.descriptor.digest)
                else:
                    self._check_in_registry(each)
            elif not each.is_nondistributable or self._nondistributable:
                self._add_blob(each)
        self._manifests[digest] = (data, manifest.media_type)

    def _add_blob(self, child: Child) -> None:
        self._blobs.setdefault(child.descriptor.digest, child)
        self._report_part(Part(child.descriptor, make_ref_key(child), Phase.WAITING))

    def _check_in_registry(self, child: Child) -> None:
        """A platform that isn't in this store may be in the registry already.

        Raises:
            NotFound: it is in neither.
        """
        digest = child.descriptor.digest
        if not self._uploads.has_manifest(digest, digest):
            platform = f" for {child.platform}" if child.platform else ""
            raise NotFound(
                f"{digest.short()}{platform}, part of the image, is neither in the store nor in"
                " the registry",
                advice="pull with --all-platforms, or push one platform with --platform",
            )

    def _upload_blobs(self) -> None:
        queue = sorted(self._blobs.values(), key=lambda child: -child.descriptor.size)
        self._run_workers([(queue, AT_ONCE)], self._upload_blob)

    def _upload_blob(self, child: Child) -> None:
        """Upload one blob, over as many attempts as the budget allows."""
        budget, session, arrived = RetryBudget(self._registry.attempts), None, 0
        while True:
            try:
                if session is not None and self._is_committed(child, session):
                    return
                if session is not None and self._uploads.resume(session):
                    budget.progressed(session.offset - arrived)
                    arrived = session.offset
                else:
                    session, arrived = self._start(child), 0
                if session is not None:
                    self._upload(child, session)
                return
            except RetryableError as error:
                self._wait_to_retry(child, error, budget)

    def _is_committed(self, child: Child, session: Session) -> bool:
        """Whether the registry has committed an upload without answering, or does so soon."""
        if not session.finishing:
            return False
        for pause_s in _COMMIT_PAUSES_S:
            if self._uploads.exists(child.descriptor.digest):
                self._set_complete(child, Phase.DONE)
                return True
            message = "the registry has not answered: looking whether it has the blob"
            self._report_part(self._part(child)._replace(phase=Phase.VERIFYING, message=message))
            self._stop.wait(pause_s)
            self._check_stop()
        session.finishing = False
        return False

    def _start(self, child: Child) -> Session | None:
        """A new upload; None when the registry has the blob, or mounted it."""
        descriptor = child.descriptor
        info = self._store.info(descriptor.digest)
        if self._uploads.exists(descriptor.digest):
            self._set_complete(child, Phase.EXISTS)
            return None
        session = self._uploads.start(descriptor.digest, self._mount_source(info.labels or {}))
        if session is None:
            self._set_complete(child, Phase.MOUNTED)
        return session

    def _mount_source(self, labels: Mapping[str, str]) -> str:
        """Another repository of the same registry that has a blob: of the most similar name."""
        reference = self._registry.reference
        names = labels.get(DISTRIBUTION_SOURCE + reference.host.partition(":")[0], "")
        others = [name for name in names.split(",") if name and name != reference.repository]

        def similarity(name: str) -> int:
            pairs = zip(name.split("/"), reference.repository.split("/"), strict=False)
            return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

        return max(others, key=similarity, default="")

    def _upload(self, child: Child, session: Session) -> None:
        size = child.descriptor.size
        with self._store.reader(child.descriptor.digest) as reader:
            while session.offset < size:
                count = min(self._chunk_size or size, size - session.offset)
                pieces = partial(self._pieces, child, reader, session.offset, count)
                self._uploads.send(session, pieces, count)
        self._report_part(
            self._part(child)._replace(phase=Phase.VERIFYING, offset=size, message="")
        )
        self._uploads.finish(session, child.descriptor.digest)
        self._set_complete(child, Phase.DONE)

    def _pieces(self, child: Child, reader: BlobReader, offset: int, count: int) -> Iterator[bytes]:
        part = self._part(child)._replace(
            phase=Phase.UPLOADING, message="", host=self._uploads.host
        )
        end = offset + count
        while offset < end:
            self._report_part(part._replace(offset=offset))
            piece = reader.read_at(min(_PIECE, end - offset), offset)
            if not piece:
                raise DataLoss(
                    f"{child.descriptor.digest} is shorter than the size in its descriptor",
                    advice="verify it, delete it and fetch it again",
                )
            yield piece
            offset += len(piece)
            self._check_stop()

    def _wait_to_retry(self, child: Child, error: RetryableError, budget: RetryBudget) -> None:
        """Wait before the next attempt. Raises the error when there is none."""

        def report(message: str) -> None:
            self._report_part(self._part(child)._replace(phase=Phase.RETRYING, message=message))

        wait_to_retry(error, budget, self._stop, report)

    def _put_manifests(self) -> None:
        """Manifests by their digests, the image itself last and under its name."""
        reference = self._registry.reference
        for digest, (data, media_type) in self._manifests.items():
            is_root = digest == self._root.digest
            name = reference.object if is_root else str(digest)
            shown = f"as {reference.object}" if is_root else digest.short()
            self._report(message=f"uploading the manifest {shown}")
            if not self._uploads.has_manifest(name, digest):
                self._put_manifest(name, data, media_type, digest)

    def _put_manifest(self, name: str, data: bytes, media_type: str, digest: Digest) -> None:
        try:
            self._retry(partial(self._uploads.put_manifest, name, data, media_type, digest))
        except Refused as error:
            if self._absent and error.status in (400, 404):
                error.advice = (
                    f"an attestation of it is not here ({self._absent[0].short()}), and this"
                    " registry may want it: pull with --all-platforms, or push --platform"
                )
            raise

    def _part(self, child: Child) -> Part:
        return self._parts[child.descriptor.digest]

    def _set_complete(self, child: Child, phase: Phase) -> None:
        size = child.descriptor.size
        self._report_part(self._part(child)._replace(phase=phase, offset=size, message=""))
