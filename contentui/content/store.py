"""What every store and writer can do. The contract suite in tests/contract is its proof.

Divided as containerd's ``core/content/content.go`` does. The life of content:

* `Ingester` opens a `Writer` on a ref: an ingest begins, or is resumed.
* `IngestManager` lists, aborts and truncates ingests that are not committed yet.
* `Writer.commit` ends the ingest and makes a blob of it.
* `Provider` reads one blob by its digest.
* `Manager` lists, labels and deletes blobs.

Before the commit content is visible to the `IngestManager` only; after it, to the `Provider` and
the `Manager` only. What a store can do beyond that is in `contentui.content.roles`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from contentui.content.digest import Digest
    from contentui.content.model import Info, Status
    from contentui.content.streams import BlobReader, Writer
    from contentui.content.traits import Roles, Traits


class Provider(Protocol):
    """Reading committed content.

    A blob is visible here from `Writer.commit` until it is deleted or collected. A reader that
    is open stays usable after that.
    """

    def reader(self, digest: Digest) -> BlobReader:
        """Raises NotFound."""


class Ingester(Protocol):
    """Bringing content in.

    `writer` begins an ingest or continues the one that an earlier writer of the ref left. There
    is one live writer per ref, across processes. The ingest ends with `Writer.commit`, or stays
    until it is resumed, aborted or expired.
    """

    def writer(
        self,
        ref: str,
        *,
        total: int = 0,
        expected: Digest | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Writer:
        """Open the ref's one writer: a new ingest, or the old one with its bytes hashed again.

        A ``total`` that contradicts the stored one starts the ingest over.

        Raises:
            Locked: another live writer has it.
            AlreadyExists: a blob with the ``expected`` digest is there; the ingest is kept.
            InvalidArgument: an empty ref, one over 64 KiB, a negative total.
        """


class IngestManager(Protocol):
    """Managing ingests: content that is not committed yet.

    An ingest is listed from the moment its writer is opened until it is committed or aborted,
    whether a writer is live or not. ``ref`` arguments take an `IngestId` as well.
    """

    def status(self, ref: str) -> Status:
        """Raises NotFound. A damaged ingest is returned, with its ``damage``."""

    def statuses(self, filters: Sequence[str] = ()) -> list[Status]:
        """All ingests, damaged ones included, in no promised order. Never fails for one entry."""

    def abort(self, ref: str, *, if_match: Status | None = None, force: bool = False) -> None:
        """Remove an ingest and its bytes.

        With ``force`` a held one too: its writer notices at its commit, which then fails, and
        keeps the ref locked until it ends.

        Raises:
            NotFound: it is not there.
            Locked: a live writer holds it.
            Changed: it differs from ``if_match`` (start, offset, update, damage).
        """

    def truncate(self, ref: str, *, if_match: Status | None = None) -> None:
        """Drop an idle ingest's bytes and keep the ingest.

        Raises:
            NotFound, Locked, Changed: as `abort`.
        """


class Manager(Protocol):
    """Managing blobs: content that is committed.

    Deleting a blob on a store whose `Traits.garbage_collected` is set removes the name only; the
    bytes go at the next collection.
    """

    def info(self, digest: Digest) -> Info:
        """Raises NotFound."""

    def walk(self, filters: Sequence[str] = ()) -> Iterator[Info]:
        """All blobs, in no promised order. What disappears meanwhile is skipped."""

    def update(self, digest: Digest, labels: Mapping[str, str], mask: Sequence[str] = ()) -> Info:
        """Change labels by field mask (``core/metadata/content.go``); returns the new Info.

        An empty mask, or ``labels``, replaces all of them; ``labels.KEY`` sets KEY, or removes
        it where ``labels`` lacks it or has it empty.

        Raises:
            NotFound, InvalidArgument: another path; key and value longer than 4096 bytes.
        """

    def delete(self, digest: Digest, *, if_match: Info | None = None) -> None:
        """Remove a blob and its labels.

        Raises:
            NotFound: it is not there.
            Changed: it differs from ``if_match`` in size or time of commit.
        """


class Store(Provider, Ingester, IngestManager, Manager, Protocol):
    """Blobs under their digests, ingests under their refs.

    ``filters`` are containerd's (``pkg/filters``): several are alternatives, none means
    everything; a bad one raises InvalidArgument before anything is yielded. Any call may raise
    Unavailable, PermissionDenied, ResourceExhausted; anything that changes the store raises
    ReadOnly where `Traits.read_only_reason` is set. Any number of threads may use a store.
    """

    @property
    def name(self) -> str:
        """The source as a person would type it; hostile text."""

    @property
    def traits(self) -> Traits:
        """What kind of store this is, and whether it may be changed now."""

    @property
    def roles(self) -> Roles:
        """What it can do beyond these methods."""

    def close(self) -> None:
        """Release what it holds. Twice is fine."""
