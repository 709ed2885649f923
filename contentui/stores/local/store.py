"""A content store in a directory; the promises are in docs/architecture.md."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING, Self

from contentui.content.errors import Changed, InvalidArgument, Locked, NotFound, ReadOnly
from contentui.content.model import Info, IngestId, Status, Usage, backend_ref, ingest_id, ref_bytes
from contentui.content.roles import Roles, Traits
from contentui.stores import files, forks
from contentui.stores.local import ingest_dir
from contentui.stores.local.blobs import Blobs, FileReader, already_exists
from contentui.stores.local.labels import Labels, checked_labels, masked_changes
from contentui.stores.local.locks import NamingLock, RefLock, RefLocks
from contentui.stores.local.ownership import Ownership
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

    from contentui.content.digest import Digest
    from contentui.content.model import Holder, Probe, Root
    from contentui.stores.local.images import LocalImages
    from contentui.stores.local.ownership import OwnershipLock
    from contentui.stores.local.writer import LocalWriter

_MAKING_NS = 2 * 10**9
"""How long a held ingest may lack files because its writer is just making or removing them."""
MAX_TOTAL = (1 << 63) - 1
"""The largest total, bytes: what containerd's int64 and a file's size can be."""


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
        missing or empty. ``lock``: the service that this store is for
        owns the directory.

        Raises:
            NotFound: no such directory, or nothing in it that looks like a content store.
            PermissionDenied, FailedPrecondition: it can't be opened.
        """
        self._path = path
        self._asked_read_only = read_only
        self._root = files.Directory(None, path)
        self._ours = files.Directory(self._root, files.STATE_DIR)
        self._ingests = files.Directory(self._root, "ingest")
        self._labels = Labels(self._ours, recovers=not read_only)
        self._naming = NamingLock(self._ours)
        self._blobs = Blobs(self._root, self._ours, self._labels, self._naming)
        self._locks = RefLocks(self._ours)
        self._prepared = False
        self._mutex = threading.Lock()
        forks.reset_in_child(self)
        self._ownership = Ownership(path, lock)
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
        """Not garbage collected: a daemon does collect, but not through a directory."""
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
        """The images named here; a containerd keeps its own where only it can look."""
        from contentui.content.model import Root

        return [Root("image", image.name, image.target.digest) for image in self.images.list()]

    @property
    def images(self) -> LocalImages:
        from contentui.stores.local.images import LocalImages

        return LocalImages(self._ours, self._naming, self._prepare, recovers=self._labels.recovers)

    def usage(self) -> Usage | None:
        try:
            return Usage.of(os.statvfs(self._path))
        except OSError:
            return None

    def close(self) -> None:
        with contextlib.ExitStack() as stack:  # whatever one of them raises, all are closed
            for part in (self._root, self._ours, self._ingests):
                stack.callback(part.close)
            stack.callback(self._blobs.close)
            stack.callback(self._locks.close)
            stack.callback(self._labels.close)

    def after_fork(self) -> None:
        """In a forked child: a thread of the parent may have had the mutex."""
        self._mutex = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- blobs

    def info(self, digest: Digest) -> Info:
        # A caller that was about to store this blob takes the answer as a commit.
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
        """The digests of all blobs as text, one a line, without looking at each."""
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
        """Where the blob's file is. Raises NotFound."""
        self._blobs.info(digest)
        return self._blobs.names.path(digest)

    def strays(self) -> list[str]:
        """Paths of foreign files among the blobs, hostile text."""
        with files.map_errors(f"listing the blobs of {self._path}"):
            return self._blobs.strays()

    def update(self, digest: Digest, labels: Mapping[str, str], mask: Sequence[str] = ()) -> Info:
        self._check_writable()
        self._blobs.info(digest)
        change = masked_changes(digest, labels, mask)
        new = checked_labels(labels if change is None else {k: v or "" for k, v in change.items()})
        self._prepare()
        return self._blobs.update(digest, change, new)

    def orphan_labels(self) -> list[str]:
        """Digests, hostile text, that have labels and no blob."""
        return self._blobs.names.orphan_labels()

    def drop_orphan_labels(self, digests: Iterable[str]) -> list[str]:
        """Remove the labels of those that have no blob; returns whose they were."""
        self._check_writable()
        return self._blobs.names.drop_orphan_labels(digests)

    def delete(self, digest: Digest, *, seen: Info | None = None) -> None:
        self._check_writable()
        self._blobs.delete(digest, seen)

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
        _check_ref(ref)
        if not 0 <= total <= MAX_TOTAL:
            raise InvalidArgument(f"total must be between 0 and 2^63-1 bytes: {total}")
        labels = checked_labels(labels or {})
        self._prepare()
        from contentui.stores.local.writer import LocalWriter

        with files.map_errors(f"opening ingest {ref}"):
            if expected is not None and self._blobs.is_there(expected, None):
                self._remove_committed_ingest(ingest_id(ref))
                raise already_exists(expected)
            return LocalWriter(
                ref,
                ingest_id(ref),
                self._ingests,
                self._blobs,
                self._lock(ingest_id(ref), ref),
                total=total,
                expected=expected,
                labels=labels,
            )

    def status(self, ref: str) -> Status:
        found = self._status(ingest_id(ref))
        if found is None and self._ownership.has_backend_refs and not isinstance(ref, IngestId):
            found = self._client_status(ref)
        if found is None:
            raise NotFound(f"there is no ingest {visible(_name(ref), 160)}")
        return found

    def statuses(self, filters: Sequence[str] = ()) -> list[Status]:
        matches = None
        if any(filters):
            from contentui.content.filters import status_filter

            matches = status_filter(filters)
        found = []
        with files.map_errors(f"listing the ingests of {self._path}"):
            self._root.fd()
            try:
                directory = self._ingests.fd()
            except FileNotFoundError:
                return []
            read = ingest_dir.read_status
            with os.scandir(directory) as entries:
                names = [(entry.name, not entry.is_symlink()) for entry in entries]
            for name, no_link in names:
                status = read(name, directory, no_link=no_link)
                if status is not None and status.damage:
                    status = self._settled(IngestId(name))
                if status is not None:
                    found.append(status)
        if self._ownership.has_backend_refs:
            found = [ingest_dir.client_status(status) for status in found]
        if matches is not None:
            return [status for status in found if matches(status)]
        return found

    def refresh(self, statuses: Sequence[Status]) -> list[Status | None]:
        with files.map_errors(f"looking at the ingests of {self._path}"):
            self._root.fd()
            try:
                directory = self._ingests.fd()
            except FileNotFoundError:
                return [None] * len(statuses)
            refreshed = ingest_dir.refreshed
            found = []
            for status in statuses:
                now = refreshed(status, directory)
                if now is not None and now.damage and now is not status:
                    now = self._settled(now.id)
                found.append(now)
            if self._ownership.has_backend_refs:
                return [now and ingest_dir.client_status(now) for now in found]
            return found

    def ingest_ids(self) -> list[IngestId]:
        """The names of all ingest directories, without looking at each."""
        with files.map_errors(f"listing the ingests of {self._path}"):
            self._root.fd()
            try:
                return [IngestId(name) for name in os.listdir(self._ingests.fd())]
            except FileNotFoundError:
                return []

    def ingests_version(self) -> Hashable:
        """A cheap token that differs after ingests came or went."""
        try:
            found = os.fstat(self._ingests.fd())
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_nlink

    def watch_paths(self) -> list[str]:
        """Directories in which the kernel can announce changes; those that exist."""
        paths = (self._ingests.path, self._blobs.names.directory.path)
        return [path for path in paths if os.path.isdir(path)]

    def holders(self, ids: Iterable[IngestId]) -> Mapping[IngestId, Holder] | None:
        with files.map_errors(f"looking at the locks of {self._path}"):
            if self._ownership.is_containerds:
                return self._ownership.daemon_holders(ids)
            return self._locks.holders(ids)

    def abort(self, ref: str, *, seen: Status | None = None, force: bool = False) -> None:
        self._check_writable()
        ingest = ingest_id(ref)
        name = visible(_name(ref), 160)
        with files.map_errors(f"aborting ingest {name}"):
            self._present(ingest, name)
            with contextlib.ExitStack() as stack:
                held = False
                try:
                    stack.enter_context(self._lock_unless_full(ingest, ref))
                except Locked:
                    if not force:
                        raise
                    held = True
                self._compare(ingest, name, seen, held=held)
                directory = self._ingests.fd()
                try:
                    files.remove_tree(ingest, directory)
                except FileNotFoundError:
                    raise NotFound(f"ingest {name} is gone already") from None
                os.fsync(directory)

    def truncate(self, ref: str, *, seen: Status | None = None) -> None:
        from contentui.stores.local.writer import LocalWriter

        self._check_writable()
        ingest = ingest_id(ref)
        name = visible(_name(ref), 160)
        with files.map_errors(f"truncating ingest {name}"):
            self._present(ingest, name)
            with self._lock_unless_full(ingest, ref) as lock:
                found = self._compare(ingest, name, seen, held=False)
                # A writer truncates, so that there is one way to do it; without the rehash of
                # bytes that are about to go, which is why the file is emptied first.
                if found.damage or ingest_id(found.ref) != ingest:
                    raise Changed(
                        f"ingest {name} is damaged: {found.damage}",
                        advice=f"run 'contentui abort id:{visible(ingest)}'",
                    )
                _empty(ingest, self._ingests.fd())
                with LocalWriter(
                    found.ref,
                    ingest,
                    self._ingests,
                    self._blobs,
                    lock,
                    total=found.total,
                    expected=None,
                    labels=None,
                ) as writer:
                    writer.truncate(0)

    def probe(self, ref: str, *, seen: Status) -> Probe:
        from contentui.content.model import Liveness, Probe
        from contentui.stores.local.probe import lock_or_refusal, probe_free

        self._check_writable()
        ingest = ingest_id(ref)
        name = visible(_name(ref), 160)
        with files.map_errors(f"probing ingest {name}"):
            self._present(ingest, name)
            lock = lock_or_refusal(lambda: self._lock(ingest, ref))
            if isinstance(lock, Locked):
                found = self._compare(ingest, name, seen, held=True)
                return Probe(found, Liveness.HELD, lock.holder)
            with lock:
                return probe_free(self._compare(ingest, name, seen, held=True), self._ingests.fd())

    # -- inside

    def _check_root(self, *, create: bool) -> None:
        """Say what is wrong with the directory before anything is done in it."""
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
                f"{visible(self._path)} is no content store: it has neither 'blobs' nor 'ingest'",
                advice="name one with --store or CONTENTUI_STORE; a new one begins empty",
            )

    def _check_writable(self) -> None:
        reason = self._read_only_reason
        if reason and not self._asked_read_only:
            with files.map_errors(f"looking who owns {self._path}"):
                self._ownership.check()
        if reason:
            raise ReadOnly(f"{visible(self._path)} is read-only here", advice=reason)

    def _prepare(self) -> None:
        """Make what is missing of our own part before the first change. Raises ReadOnly."""
        self._check_writable()
        if self._prepared:
            return
        with self._mutex, files.map_errors(f"preparing {self._path}"):
            self._ours.fd_or_make()
            if not self._labels.exists():
                with self._naming.held():
                    self._labels.create(complete=not self._blobs.digests())
            elif files.is_recent(os.lstat(self._labels.path)):
                os.fsync(self._ours.fd())  # its creator may have been killed before the sync
            self._blobs.names.restore_renamed()
            self._prepared = True

    def _lock(self, ingest: IngestId, ref: str) -> RefLock:
        try:
            return self._locks.acquire(ingest)
        except Locked as error:
            name = visible(_name(ref), 160)
            raise Locked(
                error.message.replace("the ref", f"ref {name}", 1),
                holder=error.holder,
                advice=error.advice or "wait until it ends, or end that process",
            ) from None

    def _remove_committed_ingest(self, ingest: IngestId) -> None:
        """Remove the rest of an ingest whose writer was killed after it created the blob."""
        with contextlib.suppress(OSError, Locked):
            directory = self._ingests.fd()
            if files.exists(ingest, directory):
                with self._locks.acquire(ingest):
                    if not files.exists(f"{ingest}/data", directory):
                        files.remove_tree(ingest, directory)

    def _lock_unless_full(self, ingest: IngestId, ref: str) -> RefLock:
        """As `_lock`; without a lock where a full disk has no room for the lock table."""
        try:
            return self._lock(ingest, ref)
        except OSError as error:
            if error.errno not in files.NO_ROOM:
                raise
            return self._locks.unlocked()

    def _status(self, ingest: IngestId) -> Status | None:
        if "/" in ingest or ingest in (".", "..", "") or "\0" in ingest:
            return None
        with files.map_errors(f"looking at ingest {visible(ingest)}"):
            try:
                directory = self._ingests.fd()
            except FileNotFoundError:
                return None
            found = ingest_dir.read_status(ingest, directory)
        if found is not None and found.damage:
            found = self._settled(ingest)
        return (
            ingest_dir.client_status(found) if found and self._ownership.has_backend_refs else found
        )

    def _client_status(self, ref: str) -> Status | None:
        """The ingest that a client of a daemon knows as ``ref``, in whichever namespace."""
        found = [status for status in self.statuses() if status.namespace and status.ref == ref]
        if len(found) > 1:
            where = ", ".join(sorted(status.namespace for status in found))
            raise InvalidArgument(
                f"ingest {visible(ref, 160)} is in several namespaces: {visible(where)}",
                advice=f"name one: {visible(backend_ref(found[0].namespace, ref), 160)}",
            )
        return found[0] if found else None

    def _settled(self, ingest: IngestId) -> Status | None:
        """A damaged ingest, unless its writer is just making or removing it."""
        directory = self._ingests.fd()
        holders = self._locks.holders([ingest])
        # In this order: whoever frees the ref has finished what it did to the directory.
        found = ingest_dir.read_status(ingest, directory)
        if found is None or not found.damage or not holders:
            return found
        try:
            changed = os.stat(ingest, dir_fd=directory, follow_symlinks=False).st_mtime_ns
        except OSError:
            return None
        return None if 0 <= time.time_ns() - changed < _MAKING_NS else found

    def _present(self, ingest: IngestId, name: str) -> None:
        if self._status(ingest) is None and not self._exists(ingest):
            raise NotFound(f"there is no ingest {name}")

    def _exists(self, ingest: IngestId) -> bool:
        if "/" in ingest or ingest in (".", "..", "") or "\0" in ingest:
            return False
        try:
            os.stat(ingest, dir_fd=self._ingests.fd(), follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def _compare(self, ingest: IngestId, name: str, seen: Status | None, *, held: bool) -> Status:
        """The ingest as it is now. Raises Changed when that is not what was ``seen``.

        A held one moves between any two looks: there only its beginning counts.
        """
        found = ingest_dir.read_status(ingest, self._ingests.fd())
        if found is not None and found.damage and (seen is None or not seen.damage):
            found = ingest_dir.read_sound_status(ingest, self._ingests.fd())
        if found is None:
            raise NotFound(f"ingest {name} is gone already")
        if seen is None:
            return found
        if difference := ingest_dir.difference(seen, found, held=held):
            raise Changed(f"ingest {name} changed since it was shown: {difference}")
        return found


def _name(ref: str) -> str:
    return f"id:{ref}" if isinstance(ref, IngestId) else ref


def _check_ref(ref: str) -> None:
    if isinstance(ref, IngestId):
        raise InvalidArgument("an ingest is opened by its ref, not by its id")
    if not ref:
        raise InvalidArgument("an ingest must have a ref")
    if len(ref_bytes(ref)) > ingest_dir.REF_LIMIT:
        raise InvalidArgument(f"a ref of {len(ref_bytes(ref))} bytes: 64 KiB are the limit")


def _empty(ingest: IngestId, directory: int) -> None:
    """Drop an ingest's bytes."""
    flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    above = os.open(ingest, files.DIRECTORY, dir_fd=directory)
    try:
        fd = os.open("data", flags, dir_fd=above)
        try:
            if os.fstat(fd).st_nlink == 1:
                os.ftruncate(fd, 0)
        finally:
            os.close(fd)
    finally:
        os.close(above)
