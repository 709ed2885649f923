"""What kind of store this is, and which optional roles of `contentui.content.roles` it has.

A store declares its optional roles in `Roles`, one field each; a field is None where the store
lacks the role. Callers read that field and nothing else: no ``hasattr``, no
``isinstance``. Most callers need not even that: `contentui.content.helpers` has a function for
each role that falls back on the mandatory methods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from contentui.content.digest import HEX_LENGTHS

if TYPE_CHECKING:
    from contentui.content.roles import (
        Batches,
        BlobVersions,
        DigestListing,
        DiskUsage,
        FilePaths,
        ImageNaming,
        IngestListing,
        Leasing,
        LockHolders,
        NonBlockingReads,
        Notifications,
        Probing,
        Refreshing,
        RootListing,
        TransferLeases,
    )


class Traits(NamedTuple):
    """What kind of store this is. Cheap to ask for; ask again, since the reason can change."""

    garbage_collected: bool = False
    """A garbage collector owns the bytes, as in containerd's metadata store.

    There, `Manager.delete` only drops the name and the file goes at the next collection; what
    nothing refers to is removed by the collector; and opening an ingest reads all its
    bytes under a lock.
    """
    buffered_writes: bool = False
    """Clients may buffer up to 1 MiB before it becomes visible as an offset.

    containerd's gRPC clients do: a silence of less than two minutes means nothing.
    """
    namespaced: bool = False
    """Blobs, ingests and images have a namespace (containerd ``pkg/namespaces``)."""
    algorithms: tuple[str, ...] = tuple(HEX_LENGTHS)
    """The digest algorithms under which content can be committed."""
    read_only_reason: str = ""
    """Why nothing may be changed, as a sentence with the way out; empty where it may be."""


class Roles(NamedTuple):
    """The optional roles of a store, the same for its whole life; None where it lacks one."""

    probing: Probing | None = None
    lock_holders: LockHolders | None = None
    root_listing: RootListing | None = None
    image_naming: ImageNaming | None = None
    transfer_leases: TransferLeases | None = None
    leasing: Leasing | None = None
    refreshing: Refreshing | None = None
    batches: Batches | None = None
    non_blocking_reads: NonBlockingReads | None = None
    digest_listing: DigestListing | None = None
    blob_versions: BlobVersions | None = None
    ingest_listing: IngestListing | None = None
    file_paths: FilePaths | None = None
    notifications: Notifications | None = None
    disk_usage: DiskUsage | None = None
