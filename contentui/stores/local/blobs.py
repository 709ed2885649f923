"""The blobs of a store, ``blobs/<algorithm>/<hex>``: reading, storing from memory, deleting."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import stat
import time
from typing import TYPE_CHECKING, Self

from contentui.content.digest import HEX_LENGTHS, Digest
from contentui.content.errors import (
    AlreadyExists,
    Changed,
    ContentError,
    DataLoss,
    FailedPrecondition,
    NotFound,
    OutOfRange,
    ResourceExhausted,
    Unavailable,
)
from contentui.content.model import Info
from contentui.stores import files
from contentui.stores.local.blob_names import BlobNames, NewBlob, UnnamedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

    from contentui.stores.local.labels import AllLabels, Labels
    from contentui.stores.local.locks import NamingLock

GROUP_SIZE = 256
"""Files that `Blobs.put_many` has open at once; fewer if the limit on open files is low."""

_TICK_NS = 20 * 10**6
"""More than one tick of the clock that sets the times of files, nanoseconds."""
_SKEW_NS = 60 * 10**9
"""By how much the clock of a file server may be ahead, nanoseconds."""
_ROUNDS = 100
"""How often content is stored again because other processes delete it."""
_HEX_DIGITS = "0123456789abcdef"
_TYPE = 0o170000
_STATS_AT_ONCE = 512
_new_info: Callable[..., Info] = tuple.__new__


class FileReader:
    """Random access to one blob's file; see `contentui.content.store.BlobReader`."""

    def __init__(self, fd: int, size: int, digest: Digest) -> None:
        self._fd = fd
        self._size = size
        self._digest = digest

    @property
    def size(self) -> int:
        return self._size

    def fileno(self) -> int:
        return self._fd

    def read_at(self, size: int, offset: int) -> bytes:
        if offset < 0:
            raise OutOfRange(f"offset must not be negative: {offset}")
        with files.map_errors(f"reading {self._digest}"):
            return os.pread(self._fd, max(size, 0), offset)

    def read_now(self, size: int, offset: int) -> bytes | None:
        """All ``size`` bytes, if the page cache has them and the blob still exists; else None."""
        data = bytearray(size)
        try:
            if (
                os.fstat(self._fd).st_nlink
                and os.preadv(self._fd, [data], offset, os.RWF_NOWAIT) == size
            ):
                return bytes(data)
        except OSError:  # such as EAGAIN: the disk must be read
            pass
        return None

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        files.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


class Blobs:
    """The blobs of one store."""

    def __init__(
        self, root: files.Directory, state_dir: files.Directory, labels: Labels, naming: NamingLock
    ) -> None:
        self.names = BlobNames(root, state_dir, labels, naming)
        self._state_dir = state_dir
        self._labels = labels
        self._naming = naming

    def info(self, digest: Digest, *, durable: bool = False) -> Info:
        """One blob, with the labels of the same file.

        ``durable``: sync the directory entry of a recent blob first.

        Raises:
            NotFound: there is no such blob.
            ContentError: it cannot be read or synced.
        """
        with files.map_errors(f"looking at {digest}"):
            found = self.names.stat(digest)
            if found is not None and durable and files.is_recent(found):
                self.names.sync([digest], recreate=False)
            for _ in range(_ROUNDS):
                if found is None:
                    break
                labels = self._labels.get(digest)
                now = self.names.stat(digest)
                if now is not None and _is_same_blob(found, now):
                    return _info(digest, found, labels)
                found = now  # replaced meanwhile: the labels may belong to the earlier file
        raise _missing(digest)

    def digests(self) -> list[Digest]:
        """The digests of all regular files, without a stat of each. Raises OSError."""
        found: list[Digest] = []
        for algorithm, names, _ in self._names(_files_in):
            found += map(Digest, map(f"{algorithm}:".__add__, names))
        return found

    def digest_lines(self) -> str:
        """The same as text, one a line: takes a third of the time for 100,000 blobs."""
        lines = []
        for algorithm, names, _ in self._names(_files_in):
            lines += [f"{algorithm}:", f"\n{algorithm}:".join(names), "\n"] if names else []
        return "".join(lines)

    def walk(self) -> Iterator[Info]:
        """All blobs, without those that are deleted meanwhile. Raises ContentError."""
        read_ns = time.time_ns()
        labels = self._labels.all()
        rows, without_row = labels.rows, labels.of("", 0)[1]
        with files.map_errors("listing blobs"):
            for algorithm, names, directory in self._names():
                prefix = f"{algorithm}:"
                for some, stats in _stats(names, directory):
                    for name, found in zip(some, stats, strict=True):
                        if found.st_mode & _TYPE != stat.S_IFREG:
                            continue
                        digest, updated = Digest(prefix + name), found.st_mtime_ns
                        if _is_newer(found, read_ns):
                            # Created after the labels were read, which may be those of an
                            # earlier blob of this digest.
                            with contextlib.suppress(NotFound):
                                yield self.info(digest)
                            continue
                        committed, known = updated, without_row
                        if rows and digest in rows:
                            updated, known = labels.of(digest, committed)
                        yield _new_info(
                            Info, (digest, found.st_size, committed, updated, known, ())
                        )

    def strays(self) -> list[str]:
        """Paths of foreign files among the blobs; containerd's garbage collector fails on them."""
        found = []
        for algorithm, names, directory in self._names():
            known = set(names)
            base = self.names.of(algorithm).path
            found += [f"{base}/{name}" for name in os.listdir(directory) if name not in known]
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
                    if not stat.S_ISREG(mode):
                        found.append(f"{base}/{name}")
        return found

    def version(self) -> Hashable:
        """A token that differs after blobs were created or deleted."""
        return self.names.version()

    def reader(self, digest: Digest) -> FileReader:
        """Raises NotFound; FailedPrecondition if it is not a regular file."""
        with files.map_errors(f"opening {digest}"):
            try:
                directory = self.names.of(digest.algorithm).fd()
                fd = os.open(digest.encoded, files.READ, dir_fd=directory)
            except FileNotFoundError:
                raise _missing(digest) from None
            try:
                found = os.fstat(fd)
                if not stat.S_ISREG(found.st_mode):
                    raise FailedPrecondition(f"{digest} is not a regular file in the store")
                return FileReader(fd, found.st_size, digest)
            except BaseException:
                files.close(fd)
                raise

    def delete(self, digest: Digest, if_match: Info | None) -> None:
        """Raises NotFound, Changed.

        The file is removed first, so that it works on a disk without a free block. Labels that
        cannot be removed there remain as a row without a blob, which is ignored.
        """
        with files.map_errors(f"deleting {digest}"):
            if not self._labels.digests_with_rows([digest]):
                self._unlink(digest, if_match)
                return
            with self.names.naming_lock_unless_full():
                self._unlink(digest, if_match)
                with contextlib.suppress(ContentError, OSError):
                    self._labels.write([], [digest], 0)

    def update(
        self, digest: Digest, change: Mapping[str, str | None] | None, new: Mapping[str, str]
    ) -> Info:
        """Change labels; see `Labels.replace`. Raises NotFound, FailedPrecondition."""
        with files.map_errors(f"labelling {digest}"), self._naming.held():
            found = self.names.stat(digest)
            if found is None:
                raise _missing(digest)
            now = time.time_ns()
            labels = self._labels.replace(digest, change, new, now)
        committed = found.st_mtime_ns
        return Info(digest, found.st_size, committed, max(now, committed), labels)

    def adopt_file(
        self,
        digest: Digest,
        name: str,
        source: int,
        labels: Mapping[str, str],
        committed_ns: int,
    ) -> None:
        """Make the synced file ``name`` below ``source`` the blob, durably, with its labels.

        Raises:
            FileExistsError: the blob exists; nothing was changed.
            OSError, ContentError: the file has its old name, and no blob was created.
        """
        directory = self.names.of(digest.algorithm).fd_or_make()

        def rename() -> None:
            files.rename_new(name, source, digest.encoded, directory)

        if self.names.add([NewBlob(digest, labels, rename)], committed_ns):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), digest)
        try:
            self.names.sync([digest])
        except (OSError, ContentError):
            files.rename_new(digest.encoded, directory, name, source)
            raise

    def put(self, data: bytes, expected: Digest | None, labels: Mapping[str, str] | None) -> Info:
        """Store content from memory; see `contentui.content.store.Store.put`."""
        digest = Digest.of(data, expected.algorithm if expected else "sha256")
        if expected is not None and digest != expected:
            raise FailedPrecondition(f"unexpected digest {digest}, expected {expected}")
        return self._put({digest: data}, labels or {})[digest]

    def put_many(self, items: Iterable[bytes], labels: Mapping[str, str] | None) -> list[Info]:
        """Store contents in groups that share their syncs."""
        done: list[Info] = []
        group: list[bytes] = []
        for item in items:
            group.append(item)
            if len(group) == GROUP_SIZE:
                done += self._put_group(group, labels or {})
                group = []
        return done + self._put_group(group, labels or {})

    def close(self) -> None:
        self.names.close()

    def _names(
        self, list_: Callable[[int], list[str]] = os.listdir
    ) -> Iterator[tuple[str, list[str], int]]:
        """Each algorithm, the names in it that can be blobs, and its descriptor."""
        for algorithm, length in HEX_LENGTHS.items():
            try:
                directory = self.names.of(algorithm).fd()
                listed = list_(directory)
            except FileNotFoundError:
                continue
            yield algorithm, _hex_names(listed, length), directory

    def exists(self, digest: Digest, size: int | None) -> bool:
        """Whether the blob exists, durably.

        Raises:
            DataLoss: the file has another size than ``size``.
            FailedPrecondition: it is not a regular file.
        """
        try:
            directory = self.names.of(digest.algorithm).fd()
            found = os.stat(digest.encoded, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        if not stat.S_ISREG(found.st_mode):
            raise _not_regular(digest)
        if files.is_recent(found):
            self.names.sync([digest])
        if size is not None and found.st_size != size:
            raise DataLoss(
                f"the stored {digest} is damaged: it has {found.st_size} bytes instead of {size}",
                advice=f"run 'contentui delete {digest}', then store it again",
            )
        return True

    # -- deleting

    def _unlink(self, digest: Digest, if_match: Info | None) -> None:
        found = self.names.stat(digest)
        if found is None:
            self._sync_directory(digest)
            raise _missing(digest)
        if if_match is not None and (found.st_size, found.st_mtime_ns) != (
            if_match.size,
            if_match.committed_ns,
        ):
            raise Changed(f"{digest} changed since it was shown: it was deleted and stored anew")
        directory = self.names.of(digest.algorithm).fd()
        try:
            os.unlink(digest.encoded, dir_fd=directory)
        except FileNotFoundError:
            self._sync_directory(digest)
            raise _missing(digest) from None
        os.fsync(directory)

    def _sync_directory(self, digest: Digest) -> None:
        """Sync the removal of a blob by a process that may have been killed before its sync."""
        with contextlib.suppress(FileNotFoundError):
            os.fsync(self.names.of(digest.algorithm).fd())

    # -- content from memory

    def _put_group(self, group: list[bytes], labels: Mapping[str, str]) -> list[Info]:
        digests = [Digest.of(data) for data in group]
        try:
            done = self._put(dict(zip(digests, group, strict=True)), labels)
        except ResourceExhausted as error:
            cause = error.__cause__
            if not (isinstance(cause, OSError) and cause.errno == errno.EMFILE) or len(group) == 1:
                raise
            half = len(group) // 2
            return self._put_group(group[:half], labels) + self._put_group(group[half:], labels)
        return [done[digest] for digest in digests]

    def _put(
        self, contents: Mapping[Digest, bytes], labels: Mapping[str, str]
    ) -> dict[Digest, Info]:
        """Store contents; those that other processes delete meanwhile are stored again."""
        done: dict[Digest, Info] = {}
        what = next(iter(contents)) if len(contents) == 1 else f"{len(contents)} blobs"
        with files.map_errors(f"storing {what}"):
            for _ in range(_ROUNDS):
                missing: dict[Digest, bytes] = {}
                for digest, data in contents.items():
                    if digest in done:
                        continue
                    if (existing := self._stored(digest, len(data))) is not None:
                        done[digest] = existing
                    else:
                        missing[digest] = data
                if not missing:
                    return done
                done.update(self._put_once(missing, labels))
        raise Unavailable(
            f"storing {what}: other processes keep storing and deleting it",
            advice="try again when they have finished",
        )

    def _stored(self, digest: Digest, size: int) -> Info | None:
        """The blob, durable; None if it does not exist."""
        try:
            return self.info(digest) if self.exists(digest, size) else None
        except NotFound:
            return None

    def _put_once(
        self, contents: Mapping[Digest, bytes], labels: Mapping[str, str]
    ) -> dict[Digest, Info]:
        """Store contents that do not exist; returns those that were created here."""
        several = len(contents) > 1
        with contextlib.ExitStack() as stack:
            new: list[NewBlob] = []
            unnamed: dict[Digest, UnnamedFile] = {}
            for digest, data in contents.items():
                directory = self.names.of(digest.algorithm)
                file = stack.enter_context(UnnamedFile(data, directory, self._state_dir))
                if several:
                    files.start_writeback(file.fd)
                unnamed[digest] = file
                new.append(NewBlob(digest, labels, functools.partial(file.link, digest.encoded)))
            for file in unnamed.values():
                os.fsync(file.fd)
            now = time.time_ns()
            existed = self.names.add(new, now)
            made = [digest for digest in contents if digest not in existed]
            try:
                self.names.sync(made)
            except (OSError, ContentError):
                for digest in made:
                    unnamed[digest].unlink(digest.encoded)
                raise
            done = {}
            for digest in made:
                found = os.fstat(unnamed[digest].fd)
                committed = found.st_mtime_ns
                updated = max(now, committed) if labels else committed
                done[digest] = Info(digest, found.st_size, committed, updated, dict(labels))
            return done


def _is_newer(found: os.stat_result, since_ns: int) -> bool:
    """Whether a file was created after a time; False if its time is far ahead of the clock."""
    changed = found.st_ctime_ns
    return changed > since_ns - _TICK_NS and changed < time.time_ns() + _SKEW_NS


def _is_same_blob(one: os.stat_result, other: os.stat_result) -> bool:
    return files.same_file(one, other) and one.st_ctime_ns == other.st_ctime_ns


def _files_in(directory: int) -> list[str]:
    """The names of regular files, by the type in the directory entry where there is one."""
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]


def _hex_names(names: list[str], length: int) -> list[str]:
    """Those that consist of ``length`` hex digits; a fast path for when all do."""
    digits = "".join(names).encode("utf-8", "surrogateescape")
    if set(map(len, names)) <= {length} and not digits.translate(None, _HEX_DIGITS.encode()):
        return names
    return [name for name in names if len(name) == length and not name.strip(_HEX_DIGITS)]


def _stats(
    names: list[str], directory: int
) -> Iterator[tuple[Sequence[str], Sequence[os.stat_result]]]:
    """Some names at a time with their stat results, without those that are gone. Raises OSError."""
    look = functools.partial(os.stat, dir_fd=directory, follow_symlinks=False)
    for start in range(0, len(names), _STATS_AT_ONCE):
        some = names[start : start + _STATS_AT_ONCE]
        try:
            yield some, list(map(look, some))
        except FileNotFoundError:
            for name in some:
                with contextlib.suppress(FileNotFoundError):
                    yield (name,), (look(name),)


def already_exists(digest: Digest) -> AlreadyExists:
    """The error for a blob that exists."""
    return AlreadyExists(f"content {digest} already exists")


def _not_regular(digest: Digest) -> FailedPrecondition:
    return FailedPrecondition(
        f"the path of {digest} is not a regular file",
        advice="remove it; containerd fails on it as well",
    )


def _missing(digest: Digest) -> NotFound:
    return NotFound(f"there is no blob {digest}")


def _info(digest: Digest, found: os.stat_result, labels: AllLabels) -> Info:
    updated, known = labels.of(digest, found.st_mtime_ns)
    return Info(digest, found.st_size, found.st_mtime_ns, updated, known)
