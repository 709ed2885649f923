"""What a store can do beyond `contentui.content.store.Store`: its optional roles.

Protocols for annotations only: a store declares its roles in `contentui.content.traits.Roles`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence

    from contentui.content.digest import Digest
    from contentui.content.model import (
        Descriptor,
        Holder,
        Image,
        Info,
        IngestId,
        Lease,
        Probe,
        Root,
        Status,
        Usage,
    )
    from contentui.content.streams import NonBlockingReader


class Probing(Protocol):
    """Taking the lock of a silent ingest for a moment, to learn whether a writer is live."""

    def probe(self, ref: str, *, if_match: Status) -> Probe:
        """Ask for an ingest's lock, and when it is free, what its bytes are so far.

        Costs reading all its bytes, and on a containerd counts as opening it, which postpones
        by a day when containerd expires it: only for people who ask, never on a timer. A complete
        ingest whose bytes are not the expected ones is poisoned from then on.

        Raises:
            NotFound: it is not there; nothing was made.
            Changed: it was begun anew since ``if_match``.
        """


class LockHolders(Protocol):
    """Knowledge of which process writes an ingest, without touching its lock."""

    def holders(self, ids: Iterable[IngestId]) -> Mapping[IngestId, Holder] | None:
        """Who holds which of these ingests; an id left out is free; None: it can't be known."""


class RootListing(Protocol):
    """Knowledge of what keeps blobs beside labels and documents."""

    def roots(self) -> list[Root]:
        """All image names and leases, in no promised order."""


class Leasing(Protocol):
    """Knowledge of a daemon's leases. Any call may raise what calls of `Store` may."""

    def list_leases(self) -> list[Lease]:
        """All of them, the oldest first."""

    def delete_lease(self, lease: Lease) -> None:
        """Delete a lease: the next garbage collection may remove what it kept.

        Raises:
            NotFound: it is gone.
        """


class ImageNames(Protocol):
    """The names of images in a store. Any call may raise what calls of `Store` may."""

    def list(self) -> list[Image]:
        """All of them, sorted by namespace and name."""

    def get(self, name: str) -> Image:
        """Raises NotFound."""

    def put(self, name: str, target: Descriptor, labels: Mapping[str, str] | None = None) -> Image:
        """Let ``name`` refer to ``target`` from now on, whatever it referred to.

        Durable when it returns. ``labels`` None: those it had.
        """

    def delete(self, name: str, *, if_match: Image | None = None) -> None:
        """Forget a name; blobs stay.

        Raises:
            NotFound: there is no such name.
            Changed: it refers to another digest than in ``if_match``.
        """


class ImageNaming(Protocol):
    """Keeping names of images, as containerd's ``core/images`` does."""

    @property
    def images(self) -> ImageNames:
        """The names that content has here."""


class TransferLeases(Protocol):
    """Leases that name the process and the image of a transfer, as long as it writes."""

    def begin_transfer(self, image: str) -> None:
        """What is written from now on belongs to this image."""

    def end_transfer(self, blobs: Collection[Digest], refs: Collection[str]) -> None:
        """The image is complete: leases that dead processes left for it are removed.

        Only those whose process is proven to be dead, and that keep nothing but these ``blobs``
        and ingests of these ``refs``, all of which are committed. Raises nothing: leases expire.
        """


class Refreshing(Protocol):
    """Reading known ingests again, cheaper than listing all."""

    def refresh(self, statuses: Sequence[Status]) -> list[Status | None]:
        """Each of ``statuses`` as it is now, in their order, None where it is gone.

        Only offset and ``updated_ns`` are sure to be fresh; an ingest that was removed and begun
        anew in between may keep its old start until the next `IngestManager.statuses`.
        """


class Batches(Protocol):
    """Storing content that is whole in memory, in less than a `Writer` costs."""

    def put(
        self,
        data: bytes,
        *,
        expected: Digest | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Info:
        """Store ``data`` durably, without a visible ingest.

        Content that exists is success, and keeps its labels.

        Raises:
            FailedPrecondition: ``data`` has another digest than ``expected``.
        """

    def put_many(
        self, items: Iterable[bytes], *, labels: Mapping[str, str] | None = None
    ) -> list[Info]:
        """`put` for many, in groups that share their syncs; returns when all are durable."""


class NonBlockingReads(Protocol):
    """Reading without waiting for a disk, for servers that answer small reads inline."""

    def non_blocking_reader(self, digest: Digest) -> NonBlockingReader:
        """As `Provider.reader`. Raises NotFound."""


class DigestListing(Protocol):
    """Listing names of blobs without looking at each blob."""

    def digests(self) -> list[Digest]:
        """The digests of all blobs, in no promised order."""

    def digest_lines(self) -> str:
        """The same as text, each digest followed by a newline."""


class BlobVersions(Protocol):
    """Cheap tokens that change when a listing of blobs is out of date."""

    def blobs_version(self) -> Hashable:
        """Differs after blobs came or went; None when that can't be known now."""

    def labels_version(self) -> Hashable:
        """Differs after labels changed."""


class IngestListing(Protocol):
    """Listing names of ingests without looking at each, as of a directory."""

    def ingest_ids(self) -> list[IngestId]:
        """The ids of all ingests, in no promised order; one may be gone or not yet readable."""

    def ingests_version(self) -> Hashable:
        """Differs after ingests came or went; None when that can't be known now."""


class FilePaths(Protocol):
    """Content that is files in a directory of this machine."""

    def path(self, digest: Digest) -> str:
        """The path of a blob's file. Raises NotFound."""

    def watch_paths(self) -> list[str]:
        """The directories in which the kernel can announce changes; those that exist."""


class Notifications(Protocol):
    """Messages of a store for the person who uses it."""

    def notifications(self) -> list[str]:
        """Those that were not returned before, one sentence each; hostile text."""


class DiskUsage(Protocol):
    """Knowledge of the space where the content is."""

    def usage(self) -> Usage | None:
        """Space on that file system; None when it can't be seen from here."""
