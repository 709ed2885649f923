"""The directory of an ingest, ``ingest/<sha256 of the ref>/``: reading it, and changing it.

`read_status` and `refreshed` read it for listings, without a lock. `IngestDirectory` is used by the
writer that holds the ref's lock. The files are those of containerd's local store
(``content/local/store.go``, ``writer.go``), and two of ours that containerd ignores.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from hashlib import sha256
from typing import TYPE_CHECKING

from contentui.content.digest import Digest
from contentui.content.errors import ContentError, DataLoss, FailedPrecondition, NotFound
from contentui.content.model import IngestId, Status, ingest_id, ref_bytes, split_backend_ref
from contentui.content.rules import REF_LIMIT
from contentui.stores import files
from contentui.stores.files import READ, read_file, write_file
from contentui.stores.local.timestamps import format_timestamp, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable


# The expected digest and the digest of refused bytes are rare. Each is in a file of its own, and a
# mode bit of ``data``, which is examined anyway, shows whether to open it.
REFUSED = stat.S_IXUSR
"""``refused`` contains size and digest of bytes that a commit refused."""
EXPECTED = stat.S_IXGRP
"""There is an expected digest: the one in ``expected``, else the one that the ref contains."""

_FILES = ("ref", "startedat", "updatedat", "total", "expected", "refused")
"""All files of a sound ingest beside ``data``."""
_OPEN_DATA = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_BOTH_NAMES = 2
_READS = 3
_CHANGING = "it was changing"
_DAMAGE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO})
"""The errors of opening a file that is missing, or is not a regular file."""
_USUAL_REF = 512
"""Bytes, more than nearly all refs have: a buffer of `REF_LIMIT` costs more than the read."""
_new_status: Callable[..., Status] = tuple.__new__


# -- reading


def read_status(name: str, directory: int, *, no_link: bool = False) -> Status | None:
    """The ingest ``name``; None if it is gone. ``directory``: the descriptor of ``ingest``.

    Raises no error: what is wrong with the ingest is in ``damage``. ``no_link``: the caller knows
    that ``name`` is not a symbolic link, which could lead out of the store.
    """
    try:
        if not no_link and stat.S_ISLNK(os.lstat(name, dir_fd=directory).st_mode):
            return _damaged_status(name, directory)
        data = os.stat(name + "/data", dir_fd=directory, follow_symlinks=False)
        ref = _read(name + "/ref", directory, _USUAL_REF)
        if len(ref) == _USUAL_REF:
            ref = _read(name + "/ref", directory, REF_LIMIT + 1)
        raw, names = _read_startedat(name, directory)
        started = updated = parse_timestamp(raw)
        # In an ingest that was started here, `updatedat` is a second hard link to the same file,
        # which saves one read of four.
        if names != _BOTH_NAMES:
            updated = parse_timestamp(_read(name + "/updatedat", directory, 64))
        try:
            total = _number(_read(name + "/total", directory, 32))
        except FileNotFoundError:
            total = 0
    except (OSError, ValueError):
        return _damaged_status(name, directory)
    if not stat.S_ISREG(data.st_mode) or len(ref) > REF_LIMIT or sha256(ref).hexdigest() != name:
        return _damaged_status(name, directory)
    modified = data.st_mtime_ns
    expected = refused = None
    text = ref.decode("utf-8", "surrogateescape")
    if data.st_mode & (REFUSED | EXPECTED):
        expected, refused = _digests(name, directory, data, text)
    return _new_status(
        Status,
        (
            text,
            data.st_size,
            total,
            started,
            max(updated, modified),
            expected,
            IngestId(name),
            "",
            refused,
            "",
        ),
    )


def read_sound_status(name: str, directory: int) -> Status | None:
    """As `read_status`, for callers that then change the ingest.

    Only missing and invalid files count as damage. A file that cannot be read now (EMFILE, EIO)
    may be intact, and must not be replaced.

    Raises:
        OSError: a file of the ingest cannot be read.
    """
    for _ in range(_READS):
        found = read_status(name, directory)
        if found is None or not found.damage:
            return found
        for file in ("ref", "startedat", "updatedat", "total", "data"):
            try:
                os.close(os.open(f"{name}/{file}", READ, dir_fd=directory))
            except OSError as error:
                if error.errno not in _DAMAGE:
                    raise
        if found.damage != _CHANGING:
            return found
    return found


def refreshed(seen: Status, directory: int) -> Status | None:
    """``seen`` as it is now, by one stat of its ``data``; the same object if nothing changed.

    A writer may learn total and expected digest when it resumes an ingest, so these are looked
    for while they are unknown.
    """
    try:
        data = os.stat(seen.id + "/data", dir_fd=directory, follow_symlinks=False)
    except OSError:
        return read_status(seen.id, directory)
    if not seen.total and _exists(seen.id + "/total", directory):
        return read_status(seen.id, directory)
    if bool(data.st_mode & EXPECTED) != (seen.expected is not None):
        return read_status(seen.id, directory)
    modified = data.st_mtime_ns
    if data.st_size == seen.offset and modified <= seen.updated_ns and not seen.damage:
        marked = bool(data.st_mode & REFUSED)
        if marked == (seen.refused is not None):
            return seen
    if seen.damage or data.st_mode & REFUSED or seen.refused or not stat.S_ISREG(data.st_mode):
        return read_status(seen.id, directory)
    if data.st_size <= seen.offset:  # a writer began at 0 again, perhaps for another total
        return read_status(seen.id, directory)
    return _new_status(
        Status,
        (
            seen.ref,
            data.st_size,
            seen.total,
            seen.started_ns,
            max(modified, seen.updated_ns),
            seen.expected,
            seen.id,
            "",
            None,
            seen.namespace,
        ),
    )


def _exists(name: str, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return False
    return True


def client_status(status: Status) -> Status:
    """An ingest of a containerd's directory with the namespace and ref that its client used.

    The names of directories are digests of backend refs, ``NAMESPACE/NUMBER/REF`` (containerd
    core/metadata/content.go). A damaged ingest whose ref does not match its name stays as it is.
    """
    if status.namespace or (status.damage and ingest_id(str(status.ref)) != status.id):
        return status
    namespace, ref = split_backend_ref(status.ref)
    return status._replace(ref=ref, namespace=namespace) if namespace else status


def mark_refused(
    data: int, directory: int, size: int, digest: Digest, *, shared: bool = False
) -> None:
    """Record durably that the ``size`` bytes of ``data`` have the wrong digest ``digest``.

    Raises OSError.
    """
    text = b"%d %s" % (size, digest.encode())
    write_file("refused", text, directory, sync=True, shared=shared)
    mode = stat.S_IMODE(os.fstat(data).st_mode)
    os.fchmod(data, mode | REFUSED)
    os.fsync(data)
    os.fsync(directory)


def _read(path: str, directory: int, limit: int) -> bytes:
    # As files.read_file, inlined: called four times for each of 10,000 ingests.
    fd = os.open(path, READ, dir_fd=directory)
    try:
        return os.read(fd, limit)
    finally:
        os.close(fd)


def _read_startedat(name: str, directory: int) -> tuple[bytes, int]:
    """The content of the file, and its number of hard links."""
    fd = os.open(name + "/startedat", READ, dir_fd=directory)
    try:
        return os.read(fd, 64), os.fstat(fd).st_nlink
    finally:
        os.close(fd)


def _number(text: bytes) -> int:
    """A decimal number below 2**63; 0 for anything else, as in containerd (``status``)."""
    number = int(text) if text.isdigit() else 0
    return number if number < 1 << 63 else 0


def _digests(
    name: str, directory: int, data: os.stat_result, ref: str
) -> tuple[Digest | None, Digest | None]:
    expected = refused = None
    if data.st_mode & EXPECTED:
        stored = _stored_digest(name + "/expected", directory, b"")
        expected = stored or Digest.found_in(ref)
    if data.st_mode & REFUSED:
        # With its size: the mark is valid only for the bytes that it was made for.
        refused = _stored_digest(name + "/refused", directory, b"%d " % data.st_size)
    return expected, refused


def _stored_digest(path: str, directory: int, prefix: bytes) -> Digest | None:
    try:
        text = _read(path, directory, 256)
        return Digest.parse(text.removeprefix(prefix).decode()) if text.startswith(prefix) else None
    except (OSError, UnicodeDecodeError, ContentError):
        return None


def _damaged_status(name: str, directory: int) -> Status | None:
    """The status of a damaged ingest, with all that is wrong in ``damage``; None if it is gone."""
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return None
    if not stat.S_ISDIR(found.st_mode):
        what = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "a file"
        return _damaged(name, "", 0, 0, 0, found.st_mtime_ns, f"{what}, not a directory")
    wrong: list[str] = []
    ref = _examined_ref(name, directory, wrong)
    times = [_examined_time(name, file, directory, wrong) for file in ("startedat", "updatedat")]
    size, modified = _examined_data(name, directory, wrong)
    total = 0
    try:
        total = _number(read_file(name + "/total", directory, 32))
    except FileNotFoundError:
        pass
    except OSError as error:
        wrong.append(f"'total' {_why(error)}")
    if not wrong and not _still_there(name, found, directory):
        return None
    updated = max(times[1], modified) or found.st_mtime_ns
    return _damaged(name, ref, size, total, times[0], updated, "; ".join(wrong) or _CHANGING)


def _damaged(
    name: str, ref: str, size: int, total: int, started: int, updated: int, damage: str
) -> Status:
    return Status(ref, size, total, started, updated, None, IngestId(name), damage)


def _still_there(name: str, found: os.stat_result, directory: int) -> bool:
    try:
        now = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return False
    return now.st_ino == found.st_ino


def _why(error: OSError) -> str:
    return "is missing" if isinstance(error, FileNotFoundError) else f"({error.strerror})"


def _examined_ref(name: str, directory: int, wrong: list[str]) -> str:
    try:
        ref = read_file(name + "/ref", directory, REF_LIMIT + 1)
    except OSError as error:
        wrong.append(f"'ref' {_why(error)}")
        return ""
    if not ref:
        wrong.append("'ref' is empty")
    elif len(ref) > REF_LIMIT:
        wrong.append("'ref' is longer than 64 KiB")
        return ""
    elif sha256(ref).hexdigest() != name:
        wrong.append("'ref' does not match the name of the directory")
    return ref.decode("utf-8", "surrogateescape")


def _examined_time(name: str, file: str, directory: int, wrong: list[str]) -> int:
    try:
        return parse_timestamp(read_file(f"{name}/{file}", directory, 64))
    except OSError as error:
        wrong.append(f"'{file}' {_why(error)}")
    except ValueError:
        wrong.append(f"'{file}' is garbled")
    return 0


def _examined_data(name: str, directory: int, wrong: list[str]) -> tuple[int, int]:
    try:
        data = os.stat(name + "/data", dir_fd=directory, follow_symlinks=False)
    except OSError as error:
        wrong.append(f"'data' {_why(error)}")
        return 0, 0
    if not stat.S_ISREG(data.st_mode):
        wrong.append("'data' is not a regular file")
        return 0, 0
    return data.st_size, data.st_mtime_ns


# -- changing


class IngestDirectory:
    """An open ingest directory. The caller has the ref's lock."""

    def __init__(self, ingest: IngestId, parent: files.Directory) -> None:
        """Open or create it. Raises OSError."""
        self._id = ingest
        self._parent = parent
        self._above = parent.fd_or_make()
        self.fd = -1
        self.is_new = True
        """Whether it was created now and is empty."""
        try:
            files.make_directory(ingest, self._above, shared=parent.shared)
        except FileExistsError:
            self.is_new = False
        try:
            self.fd = os.open(ingest, files.DIRECTORY, dir_fd=self._above)
            found = os.fstat(self.fd)
        except BaseException:
            self.close()
            if self.is_new:
                self.discard()
            raise
        self._place = (found.st_ino, found.st_dev)

    # -- making

    def make(self, ref: str, started_ns: int, total: int) -> int:
        """Create the files in containerd's order, ``data`` last; returns its descriptor.

        If that fails, as on a full disk, the directory is removed. Raises OSError.
        """
        try:
            self.write_files(ref, started_ns, total)
            return self._open_data(os.O_CREAT | os.O_EXCL)
        except BaseException:
            self.discard()
            raise

    def write_files(self, ref: str, started_ns: int, total: int) -> None:
        """Write all files that do not change later. Raises OSError."""
        self._write("ref", ref_bytes(ref))
        # Two hard links to one file; containerd separates them when it replaces one.
        now = format_timestamp(started_ns)
        self._write("startedat", now)
        try:
            os.link("startedat", "updatedat", src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except OSError:
            self._write("updatedat", now)
        self.write_total(total)

    def write_total(self, total: int) -> None:
        """Raises OSError."""
        if total:
            self._write("total", b"%d" % total)

    def write_expected(self, expected: Digest, ref: str) -> None:
        """Record the expected digest, in a file if the ref does not contain it."""
        if expected != Digest.found_in(ref):
            self._write("expected", expected.encode())
        else:
            self.remove_file("expected")  # of an earlier session

    def remove_file(self, name: str) -> None:
        """Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)

    def clear_files(self) -> None:
        """Remove everything but ``data``, whatever it is. Raises OSError."""
        for name in _FILES:
            with contextlib.suppress(FileNotFoundError):
                files.remove_tree(name, self.fd)

    # -- data

    def open_data(self, *, create: bool = False) -> int:
        """Open ``data`` for reading and writing. Raises OSError, FailedPrecondition."""
        try:
            if not stat.S_ISREG(self.look("data").st_mode):
                raise _not_regular(self._id)
        except FileNotFoundError:
            if not create:
                raise
        fd = self._open_data(os.O_CREAT if create else 0)
        try:
            return self._writable(fd)
        except BaseException:
            os.close(fd)
            raise

    def _open_data(self, flags: int) -> int:
        try:
            fd = os.open("data", flags | _OPEN_DATA, 0o644, dir_fd=self.fd)
        except PermissionError:
            if not files.exists("data", self.fd):
                raise
            # An interrupted commit has made it read-only already.
            files.change_mode("data", 0o644, self.fd)
            fd = os.open("data", flags | _OPEN_DATA, 0o644, dir_fd=self.fd)
        if flags & os.O_CREAT and self._parent.shared:
            files.share_file(fd)
        return fd

    def _writable(self, fd: int) -> int:
        """Make existing data writable for us, without a second hard link and owned by us."""
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise _not_regular(self._id)
        if found.st_nlink > 1:
            # It has a second hard link, possibly a blob: never write to that.
            os.unlink("data", dir_fd=self.fd)
            os.close(fd)
            return self._open_data(os.O_CREAT | os.O_EXCL)
        if os.geteuid() not in {0, found.st_uid}:
            return self._own_copy(fd, found)
        if not found.st_mode & stat.S_IWUSR:
            os.fchmod(fd, found.st_mode | stat.S_IWUSR)
        return fd

    def _own_copy(self, fd: int, found: os.stat_result) -> int:
        """Copy another user's data to a file of ours: only its owner may change a file's mode."""
        self.remove_file("data.tmp")
        own = os.open("data.tmp", _OPEN_DATA | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=self.fd)
        try:
            files.share_file(own, stat.S_IMODE(found.st_mode) | stat.S_IWUSR)
            files.copy_bytes(fd, own, found.st_size)
            os.utime(own, ns=(found.st_mtime_ns, found.st_mtime_ns))
            os.rename("data.tmp", "data", src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except BaseException:
            os.close(own)
            raise
        os.close(fd)
        return own

    def look(self, name: str) -> os.stat_result:
        """Raises OSError."""
        return os.stat(name, dir_fd=self.fd, follow_symlinks=False)

    # -- syncing and removing

    def check_place(self, data: os.stat_result) -> None:
        """Check that the open files are those at their paths. Raises NotFound, DataLoss."""
        try:
            place = os.stat(self._id, dir_fd=self._parent.fd(), follow_symlinks=False)
            now = self.look("data")
        except FileNotFoundError:
            raise NotFound(
                "the ingest was removed while it was written, and its bytes are lost",
                advice="start the ingest again",
            ) from None
        if (place.st_ino, place.st_dev) != self._place or not files.same_file(now, data):
            raise DataLoss(
                "the ingest's files were replaced while it was written",
                advice="abort the ingest and start over",
            )

    def sync(self) -> None:
        """Sync all files but ``data``, and the directory. Raises OSError."""
        for name in _FILES:
            files.sync_path(name, self.fd)
        os.fsync(self.fd)
        os.fsync(self._parent.fd())

    def mark_refused(self, data: int, size: int, digest: Digest) -> None:
        """See `mark_refused`. Raises OSError."""
        mark_refused(data, self.fd, size, digest, shared=self._parent.shared)

    def has_data(self) -> bool:
        """Raises OSError."""
        return files.exists("data", self.fd)

    def remove(self, names: list[str]) -> None:
        """Remove the directory; fast if it contains only these names."""
        parent = self._parent.fd()
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self.fd)
        try:
            os.rmdir(self._id, dir_fd=parent)
        except OSError:  # it contains other files
            files.remove_tree(self._id, parent)

    def discard(self) -> None:
        """Remove the directory; errors are ignored."""
        with contextlib.suppress(OSError):
            files.remove_tree(self._id, self._above)

    def close(self) -> None:
        """A second call has no effect."""
        fd, self.fd = self.fd, -1
        files.close(fd)

    def _write(self, name: str, data: bytes) -> None:
        files.write_file(name, data, self.fd, shared=self._parent.shared)


def _not_regular(ingest: IngestId) -> FailedPrecondition:
    return FailedPrecondition(
        "the ingest's 'data' is not a regular file", advice=f"run 'contentui abort id:{ingest}'"
    )
