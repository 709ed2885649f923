"""`LocalStore`, a content store in a directory; its promises are in docs/architecture.md."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Self

from contentui.content.errors import NotFound, ReadOnly
from contentui.content.model import IngestId, Usage
from contentui.content.rules import (
    check_ref,
    check_total,
    checked_labels,
    label_changes,
)
from contentui.content.traits import Roles, Traits
from contentui.stores import files, forks
from contentui.stores.local.blobs import Blobs, FileReader
from contentui.stores.local.ingests import Ingests
from contentui.stores.local.labels import Labels
from contentui.stores.local.locks import NamingLock
from contentui.stores.local.ownership import Ownership
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

    from contentui.content.digest import Digest
    from contentui.content.model import Holder, Info, Probe, Root, Status
    from contentui.stores.local.images import LocalImages
    from contentui.stores.local.ownership import OwnershipLock
    from contentui.stores.local.writer import LocalWriter


class LocalStore:
    """See `contentui.content.store.Store`. Any number of threads and processes may share it."""

    def __init__(
        self,
        path: str,
        *,
        create: bool = True,
        read_only: bool = False,
        lock: OwnershipLock | None = None,
    ) -> None:
        """Open the directory ``path``.

        Nothing is made before something is stored. With ``create`` the directory may be
        missing or empty. ``lock``: makes the caller the owner of the directory.

        Raises:
            NotFound: no such directory, or nothing in it that looks like a content store.
            PermissionDenied, FailedPrecondition: it can't be opened.
        """
        self._path = path
        self._asked_read_only = read_only
        self._root = files.Directory(None, path)
        self._state_dir = files.Directory(self._root, files.STATE_DIR)
        self._labels = Labels(self._state_dir, recovers=not read_only)
        self._naming = NamingLock(self._state_dir)
        self._blobs = Blobs(self._root, self._state_dir, self._labels, self._naming)
        self._ownership = Ownership(path, lock)
        self._ingests = Ingests(self._root, self._state_dir, self._blobs, self._ownership)
        self._prepared = False
        self._mutex = threading.Lock()
        forks.reset_in_child(self)
        try:
            self._check_root(create=create and not read_only)
            if lock is not None:
                with files.map_errors(f"opening {path}"):
                    self._root.pin()
        except BaseException:
            self._root.close()
            raise

    # -- what it is

    @property
    def name(self) -> str:
        return self._path

    @property
    def traits(self) -> Traits:
        """Not garbage collected: a daemon collects, but not what is stored through a directory."""
        return Traits(
            buffered_writes=self._ownership.has_backend_refs,
            read_only_reason=self._read_only_reason,
        )

    @property
    def roles(self) -> Roles:
        return Roles(
            probing=self,
            lock_holders=self,
            root_listing=self,
            image_naming=self,
            refreshing=self,
            batches=self,
            non_blocking_reads=self,
            digest_listing=self,
            blob_versions=self,
            ingest_listing=self,
            file_paths=self,
            disk_usage=self,
        )

    @property
    def _read_only_reason(self) -> str:
        if self._asked_read_only:
            return "it was opened read-only (--read-only)"
        return self._ownership.read_only_reason

    def roots(self) -> list[Root]:
        """The images that are named here. Those of a containerd are in its own database."""
        from contentui.content.model import Root

        return [Root("image", image.name, image.target.digest) for image in self.images.list()]

    @property
    def images(self) -> LocalImages:
        from contentui.stores.local.images import LocalImages

        return LocalImages(
            self._state_dir, self._naming, self._prepare, recovers=self._labels.recovers
        )

    def usage(self) -> Usage | None:
        try:
            return Usage.of(os.statvfs(self._path))
        except OSError:
            return None

    def close(self) -> None:
        with contextlib.ExitStack() as stack:  # all are closed, even if one of them raises
            for part in (self._root, self._state_dir, self._blobs, self._ingests, self._labels):
                stack.callback(part.close)

    def after_fork(self) -> None:
        """In a forked child: a thread of the parent may have had the mutex."""
        self._mutex = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- blobs

    def info(self, digest: Digest) -> Info:
        # A caller that was about to store the blob relies on this as on a commit.
        return self._blobs.info(digest, durable=not self._read_only_reason)

    def walk(self, filters: Sequence[str] = ()) -> Iterator[Info]:
        matches = None
        if any(filters):
            from contentui.content.filters import info_filter

            matches = info_filter(filters)
        with files.map_errors(f"listing the blobs of {self._path}"):
            self._root.fd()
        found = self._blobs.walk()
        return found if matches is None else filter(matches, found)

    def digests(self) -> list[Digest]:
        with files.map_errors(f"listing the blobs of {self._path}"):
            self._root.fd()
            return self._blobs.digests()

    def digest_lines(self) -> str:
        """The digests of all blobs as text, one a line, without a stat of each."""
        with files.map_errors(f"listing the blobs of {self._path}"):
            self._root.fd()
            return self._blobs.digest_lines()

    def blobs_version(self) -> Hashable:
        return self._blobs.version()

    def labels_version(self) -> Hashable:
        """A cheap token that differs after labels changed."""
        return self._labels.version()

    def reader(self, digest: Digest) -> FileReader:
        return self._blobs.reader(digest)

    non_blocking_reader = reader

    def path(self, digest: Digest) -> str:
        """The path of the blob's file. Raises NotFound."""
        self._blobs.info(digest)
        return self._blobs.names.path(digest)

    def strays(self) -> list[str]:
        """The paths of foreign files among the blobs, untrusted text."""
        with files.map_errors(f"listing the blobs of {self._path}"):
            return self._blobs.strays()

    def update(self, digest: Digest, labels: Mapping[str, str], mask: Sequence[str] = ()) -> Info:
        self._check_writable()
        self._blobs.info(digest)
        change = label_changes(digest, labels, mask)
        new = checked_labels(labels if change is None else {k: v or "" for k, v in change.items()})
        self._prepare()
        return self._blobs.update(digest, change, new)

    def orphan_labels(self) -> list[str]:
        """Digests (untrusted text) that have labels but no blob."""
        return self._blobs.names.orphan_labels()

    def drop_orphan_labels(self, digests: Iterable[str]) -> list[str]:
        """Remove the labels of those that have no blob; returns their digests."""
        self._check_writable()
        return self._blobs.names.drop_orphan_labels(digests)

    def delete(self, digest: Digest, *, if_match: Info | None = None) -> None:
        self._check_writable()
        self._blobs.delete(digest, if_match)

    def put(
        self,
        data: bytes,
        *,
        expected: Digest | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Info:
        labels = checked_labels(labels or {})
        self._prepare()
        return self._blobs.put(data, expected, labels)

    def put_many(
        self, items: Iterable[bytes], *, labels: Mapping[str, str] | None = None
    ) -> list[Info]:
        labels = checked_labels(labels or {})
        self._prepare()
        return self._blobs.put_many(items, labels)

    # -- ingests

    def writer(
        self,
        ref: str,
        *,
        total: int = 0,
        expected: Digest | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> LocalWriter:
        check_ref(ref)
        check_total(total)
        labels = checked_labels(labels or {})
        self._prepare()
        return self._ingests.writer(ref, total=total, expected=expected, labels=labels)

    def status(self, ref: str) -> Status:
        return self._ingests.status(ref)

    def statuses(self, filters: Sequence[str] = ()) -> list[Status]:
        matches = None
        if any(filters):
            from contentui.content.filters import status_filter

            matches = status_filter(filters)
        found = self._ingests.statuses()
        return found if matches is None else [status for status in found if matches(status)]

    def refresh(self, statuses: Sequence[Status]) -> list[Status | None]:
        return self._ingests.refresh(statuses)

    def ingest_ids(self) -> list[IngestId]:
        return self._ingests.ids()

    def ingests_version(self) -> Hashable:
        return self._ingests.version()

    def holders(self, ids: Iterable[IngestId]) -> Mapping[IngestId, Holder] | None:
        return self._ingests.holders(ids)

    def abort(self, ref: str, *, if_match: Status | None = None, force: bool = False) -> None:
        self._check_writable()
        self._ingests.abort(ref, if_match=if_match, force=force)

    def truncate(self, ref: str, *, if_match: Status | None = None) -> None:
        self._check_writable()
        self._ingests.truncate(ref, if_match=if_match)

    def probe(self, ref: str, *, if_match: Status) -> Probe:
        self._check_writable()
        return self._ingests.probe(ref, if_match=if_match)

    # -- both

    def watch_paths(self) -> list[str]:
        """Directories in which the kernel can announce changes; those that exist."""
        paths = (self._ingests.directory.path, self._blobs.names.directory.path)
        return [path for path in paths if os.path.isdir(path)]

    # -- inside

    def _check_root(self, *, create: bool) -> None:
        """Raise an error if the path is not a content store and cannot become one."""
        try:
            root = self._root.fd()
            names = os.listdir(root)
        except FileNotFoundError:
            if create:
                return
            raise NotFound(
                f"there is no content store at {visible(self._path)}",
                advice="name one with --store or CONTENTUI_STORE; 'contentui ingest' makes one",
            ) from None
        except OSError as error:
            raise files.content_error(error, f"opening {self._path}") from error
        foreign = set(names) - {"lost+found"}
        if foreign and not foreign & {"blobs", "ingest", files.STATE_DIR}:
            raise NotFound(
                f"{visible(self._path)} is not a content store: 'blobs' and 'ingest' are missing",
                advice="name one with --store or CONTENTUI_STORE, or an empty directory",
            )

    def _check_writable(self) -> None:
        reason = self._read_only_reason
        if reason and not self._asked_read_only:
            with files.map_errors(f"reading the owner of {self._path}"):
                self._ownership.check()
        if reason:
            raise ReadOnly(f"{visible(self._path)} is read-only here", advice=reason)

    def _prepare(self) -> None:
        """Make ``.contentui`` and its label database before the first change. Raises ReadOnly."""
        self._check_writable()
        if self._prepared:
            return
        with self._mutex, files.map_errors(f"preparing {self._path}"):
            self._state_dir.fd_or_make()
            if not self._labels.exists():
                with self._naming.held():
                    self._labels.create(complete=not self._blobs.digests())
            elif files.is_recent(os.lstat(self._labels.path)):
                os.fsync(self._state_dir.fd())  # its maker may have been killed before the sync
            self._blobs.names.restore_renamed()
            self._prepared = True
