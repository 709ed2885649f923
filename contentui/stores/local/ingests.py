"""The ingests of a store: listing them, their writers and holders, abort, truncate and probe."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from typing import TYPE_CHECKING

from contentui.content.digest import Digest
from contentui.content.errors import Changed, InvalidArgument, Locked, NotFound
from contentui.content.model import (
    IngestId,
    Liveness,
    Probe,
    Status,
    backend_ref,
    ingest_id,
)
from contentui.content.rules import check_ingest_match
from contentui.stores import files
from contentui.stores.local import ingest_dir
from contentui.stores.local.blobs import already_exists
from contentui.stores.local.ingest_dir import client_status, read_sound_status, read_status
from contentui.stores.local.locks import RefLock, RefLocks
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from contentui.content.model import Holder
    from contentui.stores.local.blobs import Blobs
    from contentui.stores.local.ownership import Ownership
    from contentui.stores.local.writer import LocalWriter

_CREATION_NS = 2 * 10**9
"""How long a held ingest may lack files because its writer is creating or removing them, ns."""
_PROBE_TRIES = 3


class Ingests:
    """See `contentui.content.store.IngestManager`. The caller has checked that changes are allowed.

    Methods raise ContentErrors, as the methods of `LocalStore` that call them.
    """

    def __init__(
        self,
        root: files.Directory,
        state_dir: files.Directory,
        blobs: Blobs,
        ownership: Ownership,
    ) -> None:
        self.directory = files.Directory(root, "ingest")
        self._root = root
        self._blobs = blobs
        self._ownership = ownership
        self._locks = RefLocks(state_dir)

    def close(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self.directory.close)
            stack.callback(self._locks.close)

    # -- reading

    def status(self, ref: str) -> Status:
        """An ingest by its ref or id. Raises NotFound, InvalidArgument."""
        found = self._status(ingest_id(ref))
        if found is None and self._ownership.has_backend_refs and not isinstance(ref, IngestId):
            found = self._status_by_client_ref(ref)
        if found is None:
            raise NotFound(f"there is no ingest {_display(ref)}")
        return found

    def statuses(self) -> list[Status]:
        """All ingests, in no promised order."""
        found = []
        with files.map_errors(f"listing the ingests of {self._root.path}"):
            if (directory := self._open()) is None:
                return []
            with os.scandir(directory) as entries:
                names = [(entry.name, not entry.is_symlink()) for entry in entries]
            for name, no_link in names:
                status = read_status(name, directory, no_link=no_link)
                if status is not None and status.damage:
                    status = self._unless_in_creation(IngestId(name))
                if status is not None:
                    found.append(status)
        if self._ownership.has_backend_refs:
            return [client_status(status) for status in found]
        return found

    def refresh(self, statuses: Sequence[Status]) -> list[Status | None]:
        """Each as it is now, None if it is gone."""
        with files.map_errors(f"reading the ingests of {self._root.path}"):
            if (directory := self._open()) is None:
                return [None] * len(statuses)
            refreshed = ingest_dir.refreshed
            found = []
            for status in statuses:
                now = refreshed(status, directory)
                if now is not None and now.damage and now is not status:
                    now = self._unless_in_creation(now.id)
                found.append(now)
            if self._ownership.has_backend_refs:
                return [now and client_status(now) for now in found]
            return found

    def ids(self) -> list[IngestId]:
        """The names of all ingest directories, without a stat of each."""
        with files.map_errors(f"listing the ingests of {self._root.path}"):
            directory = self._open()
            return [] if directory is None else [IngestId(name) for name in os.listdir(directory)]

    def version(self) -> Hashable:
        """A token that differs after ingests were created or removed."""
        try:
            found = os.fstat(self.directory.fd())
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_nlink

    def holders(self, ids: Iterable[IngestId]) -> Mapping[IngestId, Holder] | None:
        """The holders of those that are held; None if that is unknown."""
        with files.map_errors(f"reading the locks of {self._root.path}"):
            if self._ownership.is_containerds:
                return self._ownership.daemon_holders(ids)
            return self._locks.holders(ids)

    # -- changing

    def writer(
        self, ref: str, *, total: int, expected: Digest | None, labels: Mapping[str, str]
    ) -> LocalWriter:
        """Open or resume an ingest. Raises AlreadyExists, Locked."""
        from contentui.stores.local.writer import LocalWriter

        ingest = ingest_id(ref)
        with files.map_errors(f"opening ingest {ref}"):
            if expected is not None and self._blobs.exists(expected, None):
                self._remove_committed(ingest)
                raise already_exists(expected)
            return LocalWriter(
                ref,
                ingest,
                self.directory,
                self._blobs,
                self._lock(ingest, ref),
                total=total,
                expected=expected,
                labels=labels,
            )

    def abort(self, ref: str, *, if_match: Status | None, force: bool) -> None:
        """Raises NotFound, Locked, Changed."""
        ingest, name = ingest_id(ref), _display(ref)
        with files.map_errors(f"aborting ingest {name}"):
            self._check_exists(ingest, name)
            with contextlib.ExitStack() as stack:
                held = False
                try:
                    stack.enter_context(self._lock_unless_full(ingest, ref))
                except Locked:
                    if not force:
                        raise
                    held = True
                self._compare(ingest, name, if_match, held=held)
                directory = self.directory.fd()
                try:
                    files.remove_tree(ingest, directory)
                except FileNotFoundError:
                    raise NotFound(f"ingest {name} is gone already") from None
                os.fsync(directory)

    def truncate(self, ref: str, *, if_match: Status | None) -> None:
        """Raises NotFound, Locked, Changed."""
        from contentui.stores.local.writer import LocalWriter

        ingest, name = ingest_id(ref), _display(ref)
        with files.map_errors(f"truncating ingest {name}"):
            self._check_exists(ingest, name)
            with self._lock_unless_full(ingest, ref) as lock:
                found = self._compare(ingest, name, if_match, held=False)
                if found.damage or ingest_id(found.ref) != ingest:
                    raise Changed(
                        f"ingest {name} is damaged: {found.damage}",
                        advice=f"run 'contentui abort id:{visible(ingest)}'",
                    )
                # A writer truncates, so that this is done in one place. The file is emptied first:
                # the writer would hash all its bytes when it opens.
                _empty_data(ingest, self.directory.fd())
                with LocalWriter(
                    found.ref,
                    ingest,
                    self.directory,
                    self._blobs,
                    lock,
                    total=found.total,
                    expected=None,
                    labels=None,
                ) as writer:
                    writer.truncate(0)

    def probe(self, ref: str, *, if_match: Status) -> Probe:
        """Try the lock, and hash the bytes of an ingest that is free. Raises NotFound, Changed."""
        ingest, name = ingest_id(ref), _display(ref)
        with files.map_errors(f"probing ingest {name}"):
            self._check_exists(ingest, name)
            lock = self._lock_or_refusal(ingest, ref)
            if isinstance(lock, Locked):
                found = self._compare(ingest, name, if_match, held=True)
                return Probe(found, Liveness.HELD, lock.holder)
            with lock:
                found = self._compare(ingest, name, if_match, held=True)
                return _probe_free(found, self.directory)

    # -- locks

    def _lock(self, ingest: IngestId, ref: str) -> RefLock:
        try:
            return self._locks.acquire(ingest)
        except Locked as error:
            raise Locked(
                error.message.replace("the ref", f"ref {_display(ref)}", 1),
                holder=error.holder,
                advice=error.advice or "wait until it ends, or end that process",
            ) from None

    def _lock_unless_full(self, ingest: IngestId, ref: str) -> RefLock:
        """As `_lock`; without a lock if the disk is too full for the lock file."""
        try:
            return self._lock(ingest, ref)
        except OSError as error:
            if error.errno not in files.NO_ROOM:
                raise
            return self._locks.unlocked()

    def _lock_or_refusal(self, ingest: IngestId, ref: str) -> RefLock | Locked:
        """The ref's lock, or the error with its holder, unless several writers come and go."""
        for _ in range(_PROBE_TRIES):
            try:
                return self._lock(ingest, ref)
            except Locked as error:
                refusal = error
            if refusal.holder is not None:
                break  # else it has just ended
        return refusal

    def _remove_committed(self, ingest: IngestId) -> None:
        """Remove the rest of an ingest whose writer was killed after it created the blob."""
        with contextlib.suppress(OSError, Locked):
            directory = self.directory.fd()
            if files.exists(ingest, directory):
                with self._locks.acquire(ingest):
                    if not files.exists(f"{ingest}/data", directory):
                        files.remove_tree(ingest, directory)

    # -- one ingest

    def _open(self) -> int | None:
        """The descriptor of ``ingest``; None if it does not exist. Raises OSError."""
        self._root.fd()
        try:
            return self.directory.fd()
        except FileNotFoundError:
            return None

    def _status(self, ingest: IngestId) -> Status | None:
        if not _is_name(ingest):
            return None
        with files.map_errors(f"reading ingest {visible(ingest)}"):
            try:
                directory = self.directory.fd()
            except FileNotFoundError:
                return None
            found = read_status(ingest, directory)
        if found is not None and found.damage:
            found = self._unless_in_creation(ingest)
        return client_status(found) if found and self._ownership.has_backend_refs else found

    def _status_by_client_ref(self, ref: str) -> Status | None:
        """The ingest that a client of a containerd calls ``ref``, in any namespace."""
        found = [status for status in self.statuses() if status.namespace and status.ref == ref]
        if len(found) > 1:
            where = ", ".join(sorted(status.namespace for status in found))
            raise InvalidArgument(
                f"ingest {visible(ref, 160)} is in several namespaces: {visible(where)}",
                advice=f"name one: {visible(backend_ref(found[0].namespace, ref), 160)}",
            )
        return found[0] if found else None

    def _unless_in_creation(self, ingest: IngestId) -> Status | None:
        """A damaged ingest; None if its writer is just creating or removing it."""
        directory = self.directory.fd()
        holders = self._locks.holders([ingest])
        # In this order: a writer that releases the ref has finished its changes before.
        found = read_status(ingest, directory)
        if found is None or not found.damage or not holders:
            return found
        try:
            changed = os.stat(ingest, dir_fd=directory, follow_symlinks=False).st_mtime_ns
        except OSError:
            return None
        return None if 0 <= time.time_ns() - changed < _CREATION_NS else found

    def _check_exists(self, ingest: IngestId, name: str) -> None:
        if self._status(ingest) is not None:
            return
        with contextlib.suppress(FileNotFoundError):
            if _is_name(ingest) and files.exists(ingest, self.directory.fd()):
                return
        raise NotFound(f"there is no ingest {name}")

    def _compare(
        self, ingest: IngestId, name: str, if_match: Status | None, *, held: bool
    ) -> Status:
        """The ingest as it is now. Raises NotFound, and Changed if it differs from ``if_match``.

        The bytes of a held one may change at any time: then only ref and start are compared.
        """
        found = read_status(ingest, self.directory.fd())
        if found is not None and found.damage and (if_match is None or not if_match.damage):
            found = read_sound_status(ingest, self.directory.fd())
        if found is None:
            raise NotFound(f"ingest {name} is gone already")
        check_ingest_match(found, if_match, name, held=held)
        return found


def _display(ref: str) -> str:
    return visible(f"id:{ref}" if isinstance(ref, IngestId) else ref, 160)


def _is_name(ingest: IngestId) -> bool:
    """Whether an id, which is untrusted text, can be the name of a directory entry."""
    return "/" not in ingest and "\0" not in ingest and ingest not in (".", "..", "")


def _empty_data(ingest: IngestId, directory: int) -> None:
    """Drop the bytes of an ingest, unless its file has a second hard link. Raises OSError."""
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


def _probe_free(found: Status, ingest: files.Directory) -> Probe:
    """The digest of an ingest whose lock is held here; ``ingest``: the directory of all ingests.

    A complete ingest with the wrong digest is marked as a refused commit marks it, if its files
    may be changed: in a shared store the file of another user can't be marked. The digest is
    None for a damaged ingest whose bytes can't be read.

    Raises:
        Changed: a program that does not use our locks wrote to it, or an abort was forced.
        OSError: it can't be read.
    """
    from contentui.stores.local import data as ingest_data

    algorithm = found.expected.algorithm if found.expected else "sha256"
    directory = data = -1
    try:
        parent = ingest.fd()
        directory = os.open(found.id, files.DIRECTORY, dir_fd=parent)
        data = os.open("data", files.READ, dir_fd=directory)
        if not stat.S_ISREG(os.fstat(data).st_mode):
            return Probe(found, Liveness.FREE)
        hash_, size = ingest_data.hash_file(data, algorithm)
        digest = Digest(f"{algorithm}:{hash_.hexdigest()}")
        if size != found.offset or not _is_unchanged(data, found, parent):
            raise Changed("the ingest was changed while it was read", advice="look again")
        if found.is_complete and not found.damage and found.expected not in {None, digest}:
            with contextlib.suppress(PermissionError):
                ingest_dir.mark_refused(data, directory, size, digest, shared=ingest.shared)
            found = found._replace(refused=digest)
        return Probe(found, Liveness.FREE, None, digest)
    except OSError:
        if not found.damage:
            raise
        return Probe(found, Liveness.FREE)
    finally:
        for fd in (data, directory):
            files.close(fd)


def _is_unchanged(data: int, found: Status, parent: int) -> bool:
    now = os.fstat(data)
    try:
        there = os.stat(found.id + "/data", dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return now.st_size == found.offset and files.same_file(now, there)
