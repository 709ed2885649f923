"""The committed side of a directory: ``blobs/<algorithm>/<hex>``."""

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
    DataLoss,
    FailedPrecondition,
    NotFound,
    OutOfRange,
)
from contentui.content.model import Info
from contentui.stores.local import files

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

    from contentui.stores.local.labels import AllLabels, Labels

_FRESH_NS = 120 * 10**9
"""A name younger than this may not be durable yet: its maker may have died before its sync."""
GROUP_SIZE = 256
"""Unnamed files that `Blobs.put_many` keeps open at once; fewer where the limit on files is low."""

_HEX_DIGITS = "0123456789abcdef"
_TYPE = 0o170000
_LOOKS_AT_ONCE = 512
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
            raise OutOfRange(f"a blob has no offset {offset}")
        with files.told(f"reading {self._digest}"):
            return os.pread(self._fd, max(size, 0), offset)

    def read_now(self, size: int, offset: int) -> bytes | None:
        """All ``size`` bytes, if they are in memory and the blob still has its name; else None."""
        data = bytearray(size)
        try:
            if (
                os.fstat(self._fd).st_nlink
                and os.preadv(self._fd, [data], offset, os.RWF_NOWAIT) == size
            ):
                return bytes(data)
        except OSError:  # among others EAGAIN: it would have to wait for the disk
            pass
        return None

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


class Blobs:
    """The blobs of one store."""

    def __init__(self, root: files.Directory, ours: files.Directory, labels: Labels) -> None:
        self.directory = files.Directory(root, "blobs")
        self._ours = ours
        self._labels = labels
        self._by_algorithm = {name: files.Directory(self.directory, name) for name in HEX_LENGTHS}

    def of(self, algorithm: str) -> files.Directory:
        return self._by_algorithm[algorithm]

    def path(self, digest: Digest) -> str:
        return f"{self.of(digest.algorithm).path}/{digest.encoded}"

    def stat(self, digest: Digest) -> os.stat_result | None:
        """The blob's file; None when no regular file is there."""
        try:
            directory = self.of(digest.algorithm).fd()
            found = os.stat(digest.encoded, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return found if stat.S_ISREG(found.st_mode) else None

    def info(self, digest: Digest, labels: AllLabels | None = None) -> Info:
        """Raises NotFound."""
        with files.told(f"looking at {digest}"):
            found = self.stat(digest)
        if found is None:
            raise _missing(digest)
        return _info(digest, found, self._labels.get(digest) if labels is None else labels)

    def digests(self) -> list[Digest]:
        """All blobs by their names alone. Raises OSError."""
        found: list[Digest] = []
        for algorithm, names, _ in self._names():
            found += map(Digest, map(f"{algorithm}:".__add__, names))
        return found

    def digest_lines(self) -> str:
        """The same as text, one a line: a third of the time that 100,000 values take."""
        lines = []
        for algorithm, names, _ in self._names():
            lines += [f"{algorithm}:", f"\n{algorithm}:".join(names), "\n"] if names else []
        return "".join(lines)

    def walk(self) -> Iterator[Info]:
        """All blobs; what disappears meanwhile is skipped. Raises ContentError."""
        labels = self._labels.all()
        rows, without_row = labels.rows, labels.of("", 0)[1]
        with files.told("listing blobs"):
            for algorithm, names, directory in self._names():
                prefix = f"{algorithm}:"
                for some, looks in _looks(names, directory):
                    for name, found in zip(some, looks, strict=True):
                        if found.st_mode & _TYPE != stat.S_IFREG:
                            continue
                        digest, updated = Digest(prefix + name), found.st_mtime_ns
                        committed, known = updated, without_row
                        if rows and digest in rows:
                            updated, known = labels.of(digest, committed)
                        yield _new_info(
                            Info, (digest, found.st_size, committed, updated, known, ())
                        )

    def strays(self) -> list[str]:
        """Paths of what is no blob but lies among them: a containerd's collector stops at it."""
        found = []
        for algorithm, names, directory in self._names():
            known = set(names)
            base = self.of(algorithm).path
            found += [f"{base}/{name}" for name in os.listdir(directory) if name not in known]
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
                    if not stat.S_ISREG(mode):
                        found.append(f"{base}/{name}")
        return found

    def version(self) -> Hashable:
        """A token that differs after blobs came or went."""
        token = []
        for algorithm, directory in self._by_algorithm.items():
            with contextlib.suppress(OSError):
                found = os.fstat(directory.fd())
                token.append((algorithm, found.st_ino, found.st_mtime_ns, found.st_nlink))
        return tuple(token)

    def reader(self, digest: Digest) -> FileReader:
        """Raises NotFound; FailedPrecondition when no regular file is there."""
        with files.told(f"opening {digest}"):
            try:
                directory = self.of(digest.algorithm).fd()
                fd = os.open(digest.encoded, files.READ, dir_fd=directory)
            except FileNotFoundError:
                raise _missing(digest) from None
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            raise FailedPrecondition(f"{digest} is not a file in the store")
        return FileReader(fd, found.st_size, digest)

    def delete(self, digest: Digest, seen: Info | None) -> None:
        """Raises NotFound, Changed."""
        with files.told(f"deleting {digest}"), self._labels.removing(digest):
            found = self.stat(digest)
            if found is None:
                raise _missing(digest)
            if seen is not None and (found.st_size, found.st_mtime_ns) != (
                seen.size,
                seen.committed_ns,
            ):
                raise Changed(f"{digest} is not the blob that was shown: it was stored anew since")
            directory = self.of(digest.algorithm).fd()
            os.unlink(digest.encoded, dir_fd=directory)
            os.fsync(directory)

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
            FileExistsError: the blob is there; nothing has changed.
            OSError, ContentError: nothing durable has changed.
        """
        directory = self.of(digest.algorithm).fd_or_make()
        with self._labelled([(digest, labels)], committed_ns):
            files.rename_new(name, source, digest.encoded, directory)

    def sync(self, algorithm: str) -> None:
        """Make the names of an algorithm's blobs durable. Raises OSError."""
        os.fsync(self.of(algorithm).fd())

    def put(self, data: bytes, expected: Digest | None, labels: Mapping[str, str] | None) -> Info:
        """Store content from memory; see `contentui.content.store.Store.put`."""
        digest = Digest.of(data, expected.algorithm if expected else "sha256")
        if expected is not None and digest != expected:
            raise FailedPrecondition(f"unexpected digest {digest}, expected {expected}")
        with files.told(f"storing {digest}"):
            if self.is_there(digest, len(data)):
                return self.info(digest)
            directory = self.of(digest.algorithm).fd_or_make()
            with _Unnamed(data, directory, self._ours) as unnamed:
                os.fsync(unnamed.fd)
                with self._labelled([(digest, labels or {})]):
                    self._name(unnamed, digest, len(data))
            os.fsync(directory)
        return self._put_info(digest, len(data), labels)

    def put_many(self, items: Iterable[bytes], labels: Mapping[str, str] | None) -> list[Info]:
        """Store contents in groups that share their syncs."""
        done: list[Info] = []
        group: list[bytes] = []
        for item in items:
            group.append(item)
            if len(group) == GROUP_SIZE:
                done += self._put_group(group, labels)
                group = []
        return done + self._put_group(group, labels)

    def close(self) -> None:
        for directory in (*self._by_algorithm.values(), self.directory):
            directory.close()

    def _names(self) -> Iterator[tuple[str, list[str], int]]:
        """Each algorithm, the names in it that can be blobs, and its descriptor."""
        for algorithm, length in HEX_LENGTHS.items():
            try:
                directory = self.of(algorithm).fd()
                listed = os.listdir(directory)
            except FileNotFoundError:
                continue
            yield algorithm, _hex_names(listed, length), directory

    def is_there(self, digest: Digest, size: int | None) -> bool:
        """Whether the blob exists, durably. Raises DataLoss when what is there can't be it."""
        found = self.stat(digest)
        if found is None:
            return False
        if abs(time.time_ns() - found.st_ctime_ns) < _FRESH_NS:
            self.sync(digest.algorithm)
        if size is not None and found.st_size != size:
            raise DataLoss(
                f"the stored {digest} is damaged: {found.st_size} bytes where {size} belong",
                advice=f"run 'contentui delete {digest}', then store it again",
            )
        return True

    @contextlib.contextmanager
    def _labelled(
        self, labels: Sequence[tuple[Digest, Mapping[str, str]]], updated_ns: int = 0
    ) -> Iterator[None]:
        """Write labels down, then give the blobs their names in the block.

        In this order none is ever seen without its labels; alone, because the labels must be
        those of whoever wins the name, and a blob that exists keeps its own.
        """
        rows = [row for row in labels if self._labels.needs_row(row[1])]
        if not rows:
            yield
            return
        with self._labels.alone():
            rows = [row for row in rows if self.stat(row[0]) is None]
            if rows:
                self._labels.set_many(rows, updated_ns or time.time_ns())
            yield

    def _put_group(self, group: list[bytes], labels: Mapping[str, str] | None) -> list[Info]:
        with files.told(f"storing {len(group)} blobs"):
            try:
                return self._put_at_once(group, labels)
            except OSError as error:
                if error.errno != errno.EMFILE or len(group) == 1:
                    raise
        half = len(group) // 2
        return self._put_group(group[:half], labels) + self._put_group(group[half:], labels)

    def _put_at_once(self, group: list[bytes], labels: Mapping[str, str] | None) -> list[Info]:
        digests = [Digest.of(data) for data in group]
        with contextlib.ExitStack() as stack:
            directory = self.of("sha256").fd_or_make()
            new: dict[Digest, _Unnamed] = {}
            for digest, data in zip(digests, group, strict=True):
                if digest not in new and not self.is_there(digest, len(data)):
                    new[digest] = stack.enter_context(_Unnamed(data, directory, self._ours))
                    files.start_writeback(new[digest].fd)
            for unnamed in new.values():
                os.fsync(unnamed.fd)
            with self._labelled([(digest, labels or {}) for digest in new]):
                for digest, data in zip(digests, group, strict=True):
                    if digest in new:
                        self._name(new[digest], digest, len(data))
            if new:
                os.fsync(directory)
        return [
            self._put_info(digest, len(data), labels) if digest in new else self.info(digest)
            for digest, data in zip(digests, group, strict=True)
        ]

    def _name(self, unnamed: _Unnamed, digest: Digest, size: int) -> None:
        """Make a file the blob. A name that is taken must be taken by the same blob."""
        try:
            unnamed.link(digest.encoded)
        except FileExistsError:
            if not self.is_there(digest, size):
                raise in_the_way(digest) from None

    def _put_info(self, digest: Digest, size: int, labels: Mapping[str, str] | None) -> Info:
        if labels:
            return self.info(digest)
        found = self.stat(digest)
        committed = found.st_mtime_ns if found else 0
        return Info(digest, size, committed, committed, {})


def _hex_names(names: list[str], length: int) -> list[str]:
    """Those that consist of ``length`` hex digits; usually all do, which is told at once."""
    digits = "".join(names).encode("utf-8", "surrogateescape")
    if set(map(len, names)) <= {length} and not digits.translate(None, _HEX_DIGITS.encode()):
        return names
    return [name for name in names if len(name) == length and not name.strip(_HEX_DIGITS)]


def _looks(
    names: list[str], directory: int
) -> Iterator[tuple[Sequence[str], Sequence[os.stat_result]]]:
    """Some names at a time with what stands there; without what is gone. Raises OSError."""
    look = functools.partial(os.stat, dir_fd=directory, follow_symlinks=False)
    for start in range(0, len(names), _LOOKS_AT_ONCE):
        some = names[start : start + _LOOKS_AT_ONCE]
        try:
            yield some, list(map(look, some))
        except FileNotFoundError:
            for name in some:
                with contextlib.suppress(FileNotFoundError):
                    yield (name,), (look(name),)


class _Unnamed:
    """A file with content and no name yet, which vanishes unless `link` gives it one."""

    def __init__(self, data: bytes, directory: int, ours: files.Directory) -> None:
        self._directory = directory
        self._temporary = ""
        self._linked = False
        self._ours = ours
        try:
            self.fd = os.open(
                ".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o444, dir_fd=directory
            )
        except OSError:
            # A file system without O_TMPFILE: a name in our own directory, never among the blobs.
            self._temporary = f"put-{os.urandom(16).hex()}"
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
            self.fd = os.open(self._temporary, flags, 0o444, dir_fd=ours.fd_or_make())
        try:
            files.write_all(self.fd, data)
        except BaseException:
            self.__exit__()
            raise

    def link(self, name: str) -> None:
        """Give it its name; FileExistsError when that is taken, twice is fine. Raises OSError."""
        if self._linked:
            return
        if self._temporary:
            ours = self._ours.fd()
            os.link(self._temporary, name, src_dir_fd=ours, dst_dir_fd=self._directory)
        else:
            files.link_open_file(self.fd, name, self._directory)
        self._linked = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self.fd)
        if self._temporary:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary, dir_fd=self._ours.fd())


def already_exists(digest: Digest) -> AlreadyExists:
    """The error for a blob that is there."""
    return AlreadyExists(f"content {digest} already exists")


def in_the_way(digest: Digest) -> FailedPrecondition:
    """The error for a blob in whose place stands something that is no file."""
    return FailedPrecondition(
        f"something that is no file stands where {digest} belongs",
        advice="move it away: a container daemon stumbles over it as well",
    )


def _missing(digest: Digest) -> NotFound:
    return NotFound(f"there is no blob {digest}")


def _info(digest: Digest, found: os.stat_result, labels: AllLabels) -> Info:
    updated, known = labels.of(digest, found.st_mtime_ns)
    return Info(digest, found.st_size, found.st_mtime_ns, updated, known)
