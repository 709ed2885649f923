"""Creating the directory entries of blobs, with their labels, durably.

See docs/internals/local-store.md, Crash safety and Labels.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, NamedTuple, Self

from contentui.content.digest import HEX_LENGTHS, Digest
from contentui.content.errors import ContentError
from contentui.stores import files

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

    from contentui.stores.local.labels import Labels
    from contentui.stores.local.locks import NamingLock

_ASIDE = "renamed-"
"""``renamed-<algorithm>-<hex>``: a blob's name while its directory entry is recreated."""
_NO_TMPFILE = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL})


class NewBlob(NamedTuple):
    """A file that is to become a blob."""

    digest: Digest
    labels: Mapping[str, str]
    give_name: Callable[[], None]
    """Link or rename the file into place. Raises FileExistsError if the blob exists."""


class BlobNames:
    """The directory entries of the blobs of one store."""

    def __init__(
        self, root: files.Directory, state_dir: files.Directory, labels: Labels, naming: NamingLock
    ) -> None:
        self.directory = files.Directory(root, "blobs")
        self._state_dir = state_dir
        self._labels = labels
        self._naming = naming
        self._by_algorithm = {name: files.Directory(self.directory, name) for name in HEX_LENGTHS}

    def of(self, algorithm: str) -> files.Directory:
        return self._by_algorithm[algorithm]

    def path(self, digest: Digest) -> str:
        return f"{self.of(digest.algorithm).path}/{digest.encoded}"

    def stat(self, digest: Digest) -> os.stat_result | None:
        """The stat result of the blob; None if there is no regular file."""
        try:
            directory = self.of(digest.algorithm).fd()
            found = os.stat(digest.encoded, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return found if stat.S_ISREG(found.st_mode) else None

    def version(self) -> Hashable:
        """A token that differs after blobs were created or deleted."""
        token = []
        for algorithm, directory in self._by_algorithm.items():
            with contextlib.suppress(OSError):
                found = os.fstat(directory.fd())
                token.append((algorithm, found.st_ino, found.st_mtime_ns, found.st_nlink))
        return tuple(token)

    def close(self) -> None:
        with contextlib.ExitStack() as stack:
            for directory in (self.directory, *self._by_algorithm.values()):
                stack.callback(directory.close)

    def add(self, new: Sequence[NewBlob], updated_ns: int) -> set[Digest]:
        """Create blobs, each with exactly its labels; returns the digests that existed already.

        Labels are written before the directory entry, so that a blob is never visible without
        them. Both happen under the naming lock; an existing blob keeps its labels. A row that an
        earlier blob of the same digest left (its writer was killed before the rename, or the file
        was removed with rm) is deleted first. Without labels and without such a row the lock is
        not taken.

        Args:
            new: the files.
            updated_ns: the time of the labels.

        Raises:
            OSError, ContentError: some of the blobs may have been created.
        """
        bare = [item.digest for item in new if not self._labels.needs_row(item.labels)]
        stale = self._labels.digests_with_rows(bare) if bare else set()
        if len(bare) == len(new) and not stale:
            return _name_all(new)
        with self._naming.held():
            missing = [item for item in new if self.stat(item.digest) is None]
            rows = [
                (item.digest, item.labels)
                for item in missing
                if self._labels.needs_row(item.labels)
            ]
            stale &= {item.digest for item in missing}
            if rows or stale:
                self._labels.write(rows, stale, updated_ns)
            # A blob that existed is not created here even if it is deleted now: its labels were
            # not written.
            existed = {item.digest for item in new} - {item.digest for item in missing}
            existed |= _name_all(missing)
            if lost := existed & {digest for digest, _ in rows}:
                # Created meanwhile by a commit without labels, which does not take the lock.
                self._labels.write([], lost, 0)
            return existed

    def sync(self, digests: Sequence[Digest], *, recreate: bool = True) -> None:
        """Make the directory entries of blobs durable.

        The kernel reports a failed write of a directory once and marks it clean. So after an
        error the entries are recreated, which marks it dirty again, and synced once more.
        ``recreate`` False: raise the first error, for callers that only read.

        Raises:
            OSError: the entries may not be durable.
            Unavailable: the naming lock could not be taken.
        """
        for algorithm in {digest.algorithm for digest in digests}:
            directory = self.of(algorithm).fd()
            try:
                os.fsync(directory)
            except OSError:
                if not recreate:
                    raise
                some = [digest for digest in digests if digest.algorithm == algorithm]
                with self._naming.held():
                    for digest in some:
                        self._recreate_entry(digest, directory)
                    os.fsync(directory)

    def _recreate_entry(self, digest: Digest, directory: int) -> None:
        """Rename a blob away and back. `restore_renamed` completes this after a crash."""
        state_dir = self._state_dir.fd_or_make()
        aside = _ASIDE + f"{digest.algorithm}-{digest.encoded}"
        with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
            try:
                os.rename(digest.encoded, aside, src_dir_fd=directory, dst_dir_fd=state_dir)
            finally:
                self._put_back(aside, state_dir, digest, directory)

    def restore_renamed(self) -> None:
        """Rename blobs back that a crash within `_recreate_entry` left renamed. Raises OSError."""
        state_dir = self._state_dir.fd_or_make()
        if not any(map(digest_of_renamed, os.listdir(state_dir))):
            return
        with self._naming.held():
            for name in os.listdir(state_dir):
                digest = digest_of_renamed(name)
                if digest is not None and is_file(name, state_dir):
                    directory = self.of(digest.algorithm).fd_or_make()
                    self._put_back(name, state_dir, digest, directory)
                    os.fsync(directory)

    @staticmethod
    def _put_back(aside: str, state_dir: int, digest: Digest, directory: int) -> None:
        try:
            files.rename_new(aside, state_dir, digest.encoded, directory)
        except FileExistsError:  # stored again meanwhile
            os.unlink(aside, dir_fd=state_dir)

    def _names_a_blob(self, text: str) -> bool:
        try:
            return self.stat(Digest.parse(text)) is not None
        except ContentError:
            return False

    @contextlib.contextmanager
    def naming_lock_unless_full(self) -> Iterator[None]:
        """Hold the naming lock; continue without it if the disk is too full for its file."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._naming.held())
            except OSError as error:
                if error.errno not in files.NO_ROOM:
                    raise
            yield

    def orphan_labels(self) -> list[str]:
        """Digests (untrusted text) that have labels but no blob. Raises ContentError."""
        with files.map_errors("listing labels without blobs"):
            return [text for text in self._labels.digests() if not self._names_a_blob(text)]

    def drop_orphan_labels(self, digests: Iterable[str]) -> list[str]:
        """Remove the labels of those without a blob; returns their digests. Raises ContentError."""
        with files.map_errors("removing labels without blobs"), self._naming.held():
            gone = [text for text in digests if not self._names_a_blob(text)]
            if gone:
                self._labels.write([], gone, 0)
        return gone


def digest_of_renamed(name: str) -> Digest | None:
    """The digest in the temporary name of a renamed blob; None for any other name."""
    algorithm, _, encoded = name.removeprefix(_ASIDE).partition("-")
    if not name.startswith(_ASIDE):
        return None
    try:
        return Digest.parse(f"{algorithm}:{encoded}")
    except ContentError:
        return None


def is_file(name: str, directory: int) -> bool:
    """Whether a regular file has this name. Raises OSError."""
    try:
        return stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _name_all(new: Iterable[NewBlob]) -> set[Digest]:
    """Create the directory entries; returns the digests that existed. Raises OSError."""
    existed = set()
    for item in new:
        try:
            item.give_name()
        except FileExistsError:
            existed.add(item.digest)
    return existed


class UnnamedFile:
    """A file without a name (O_TMPFILE); the kernel removes it unless `link` is called."""

    def __init__(self, data: bytes, directory: files.Directory, state_dir: files.Directory) -> None:
        self._directory = directory.fd_or_make()
        self._temporary = ""
        self._state_dir = state_dir
        self.fd = -1
        try:
            self._open()
            if directory.shared:
                files.share_file(self.fd, 0o444)
            files.write_all(self.fd, data)
        except BaseException:
            self.__exit__()
            raise

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CLOEXEC
        try:
            self.fd = os.open(".", flags | os.O_TMPFILE, 0o444, dir_fd=self._directory)
        except OSError as error:
            if error.errno not in _NO_TMPFILE:
                raise
            # A file system without O_TMPFILE: a name in ``.contentui``, never in ``blobs``.
            self._temporary = f"put-{os.urandom(16).hex()}"
            flags |= os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            self.fd = os.open(self._temporary, flags, 0o444, dir_fd=self._state_dir.fd_or_make())

    def link(self, name: str) -> None:
        """Create its directory entry. Raises FileExistsError if the name exists, OSError."""
        if self._temporary:
            state_dir = self._state_dir.fd()
            os.link(self._temporary, name, src_dir_fd=state_dir, dst_dir_fd=self._directory)
        else:
            files.link_open_file(self.fd, name, self._directory)

    def unlink(self, name: str) -> None:
        """Remove the directory entry, if it is of this file."""
        with contextlib.suppress(OSError):
            now = os.stat(name, dir_fd=self._directory, follow_symlinks=False)
            if files.same_file(now, os.fstat(self.fd)):
                os.unlink(name, dir_fd=self._directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self.fd)
        if self._temporary:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary, dir_fd=self._state_dir.fd())
