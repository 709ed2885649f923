"""Checking and repairing ``.contentui``: databases, temporary files, modes, ownership files."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import stat
import time
from typing import TYPE_CHECKING

from contentui.content.digest import HEX_LENGTHS
from contentui.content.errors import Changed, ContentError, FailedPrecondition, NotFound
from contentui.stores import files, procfs
from contentui.stores.local import ownership
from contentui.stores.local.blob_names import digest_of_renamed, is_file
from contentui.stores.local.fsck_model import (
    Finding,
    Kind,
    OpenStore,
    identity,
    is_old,
    look,
    names_in,
    set_mode,
    unchanged,
)
from contentui.stores.local.images import IMAGES, count_invalid_images
from contentui.stores.local.labels import LABELS, count_invalid_labels
from contentui.text import visible

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from contentui.content.model import Image
    from contentui.stores.local.database import Database

_LOCKED = ("locks", "naming", ownership.OWNER, "labels.db", "images.db")
"""Files that processes lock; a user who can read one can keep it locked."""
_TEMPORARY = re.compile(r"put-[0-9a-f]{32}|uuid\.[0-9]+\.tmp")
_NEW = ("labels.db.new", "labels.db.new-journal", "images.db.new", "images.db.new-journal")
_REPLACED = tuple(f"{name}.tmp" for name in (ownership.ADOPTED, ownership.BOUND))
_TRANSFER = re.compile(r"[0-9]+-[0-9]+\.(json|json\.new|lock)")
_NOT_LOCKED = ("holders", "uuid")
_VERY_OLD_NS = 24 * 3600 * 10**9
"""Age of an orphaned temporary file where leases cannot show whether it is open, nanoseconds."""
_INTERRUPTED = "it is left over from an interrupted write"
_LEASE_TRIES = 20


# -- databases


def databases(place: OpenStore) -> list[Finding]:
    """Damaged databases, and rows of sound ones that refer to no blob. Raises OSError."""
    found: list[Finding] = []
    checks = (
        (LABELS, count_invalid_labels, _orphan_labels),
        (IMAGES, count_invalid_images, _images),
    )
    for schema, bad_rows, dangling in checks:
        database = schema.below(place.state_dir)
        if not database.exists():
            continue
        path = f".contentui/{database.name}"
        try:
            if problem := _problem(place, database, bad_rows):
                advice = schema.advice
                found.append(Finding(Kind.DATABASE_DAMAGED, path, problem, advice=advice))
            else:
                found += dangling(place)
        except ContentError as error:
            problem = visible(error.message)
            found.append(Finding(Kind.UNCHECKED, path, problem, advice=error.advice))
    return found


def _problem(
    place: OpenStore, database: Database, bad_rows: Callable[[sqlite3.Connection], int]
) -> str:
    """What is wrong with a database; empty when nothing is. Raises ContentError if unknown."""
    try:
        with database.map_errors(f"checking {database.name}"):
            return database.read(
                lambda writable: _problem_within(database, bad_rows, writable=writable),
                recovers=place.is_writable,
            )
    except FailedPrecondition as error:
        return error.message


def _problem_within(
    database: Database, bad_rows: Callable[[sqlite3.Connection], int], *, writable: bool
) -> str:
    with contextlib.closing(database.connect(writable=writable)) as connection:
        rows = database.retry_while_busy(
            lambda: connection.execute("PRAGMA quick_check(1)").fetchall()
        )
        if rows != [("ok",)]:
            return visible(str(rows[0][0] if rows else "it can't be checked"), 160)
        bad = database.retry_while_busy(lambda: bad_rows(connection))
    return f"{bad} of its rows are invalid" if bad else ""


def _orphan_labels(place: OpenStore) -> list[Finding]:
    """Labels whose blob does not exist. Raises ContentError."""
    found = place.store.orphan_labels()
    if found:
        # Labels are written before their blob gets its name: a read in between is no finding.
        with place.settled():
            now = set(place.store.orphan_labels())
        found = [text for text in found if text in now]
    problem, repair = "it has labels, but the blob does not exist", "remove its labels"
    return [Finding(Kind.LABELS_WITHOUT_BLOB, text, problem, repair) for text in found]


def _images(place: OpenStore) -> list[Finding]:
    """Image names whose target does not exist. Raises ContentError."""
    names = place.store.images
    found = [image for image in names.list() if not _has_target(place, image)]
    if found:
        with place.settled():
            now = {image.name: image for image in names.list()}
        found = [
            image
            for image in found
            if now.get(image.name) == image and not _has_target(place, image)
        ]
    return [
        Finding(
            Kind.IMAGE_WITHOUT_BLOB,
            image.name,
            f"its target {image.target.digest} does not exist",
            advice="pull the image again, or remove the name: contentui images --remove NAME",
        )
        for image in found
    ]


def _has_target(place: OpenStore, image: Image) -> bool:
    digest = image.target.digest
    try:
        return look(f"{digest.algorithm}/{digest.encoded}", place.blobs) is not None
    except FileNotFoundError:
        return False


# -- temporaries


def leftovers(place: OpenStore) -> list[Finding]:
    """Temporary files whose process has ended. Raises OSError."""
    found = []
    for name in names_in(place.state_dir):
        if not (_TEMPORARY.fullmatch(name) or name in _NEW or name in _REPLACED):
            continue
        there = look(name, place.state_dir)
        if there is None or not stat.S_ISREG(there.st_mode) or not is_old(there.st_mtime_ns):
            continue
        if _is_abandoned(name, place.state_dir, there):
            found.append(_leftover(f".contentui/{name}", there))
    return found


def transfers(place: OpenStore) -> list[Finding]:
    """Status files of pulls and pushes that were killed. Raises OSError."""
    directory = files.Directory(place.state_dir, "transfers")
    found = []
    try:
        for name in filter(_TRANSFER.fullmatch, names_in(directory)):
            there = look(name, directory)
            if there is None or not stat.S_ISREG(there.st_mode) or not is_old(there.st_mtime_ns):
                continue
            if not _is_transfer_live(name, directory):
                found.append(_leftover(f".contentui/transfers/{name}", there))
    finally:
        directory.close()
    return found


def _leftover(name: str, there: os.stat_result) -> Finding:
    return Finding(Kind.LEFTOVER, name, _INTERRUPTED, "remove it", seen=identity(there))


def _is_transfer_live(name: str, directory: files.Directory) -> bool:
    """Whether the process that writes a status file runs: it holds the lock beside the file."""
    stem = name.removesuffix(".new").removesuffix(".json").removesuffix(".lock")
    try:
        return procfs.is_flocked(f"{stem}.lock", directory.fd())
    except FileNotFoundError:
        return False


def remove_leftover(place: OpenStore, finding: Finding) -> None:
    """Remove a temporary file. Raises NotFound, Changed, Locked, OSError."""
    folder, _, name = finding.name.rpartition("/")
    with contextlib.ExitStack() as stack:
        if folder.startswith("ingest/"):
            ingest = folder.removeprefix("ingest/")
            from contentui.content.model import IngestId

            stack.enter_context(place.locks.acquire(IngestId(ingest)))
            directory = files.Directory(place.ingests, ingest)
        elif folder == ".contentui/transfers":
            directory = files.Directory(place.state_dir, "transfers")
        else:
            directory = place.state_dir
            if name in _NEW:
                stack.enter_context(place.naming.held())
        if directory is not place.state_dir:
            stack.callback(directory.close)
        _remove(finding, directory, name)


def _remove(finding: Finding, directory: files.Directory, name: str) -> None:
    try:
        there = unchanged(finding, directory, name)
        if directory.name == "transfers" and _is_transfer_live(name, directory):
            raise Changed("its process is live")
        if directory.name == files.STATE_DIR and not _is_abandoned(name, directory, there):
            raise Changed("a process has it open")
        os.unlink(name, dir_fd=directory.fd())
    except FileNotFoundError:
        raise NotFound("it is gone") from None


def _is_abandoned(name: str, directory: files.Directory, there: os.stat_result) -> bool:
    """Whether no process has a file open; if that is unknown, whether it is older than a day."""
    try:
        with _unopened(name, directory, os.O_RDONLY):
            return True
    except BlockingIOError:
        return False
    except OSError:  # no leases here, or not our file
        return is_old(there.st_mtime_ns, _VERY_OLD_NS)


@contextlib.contextmanager
def _unopened(name: str, directory: files.Directory, access: int) -> Iterator[int]:
    """A file that no other process has open, in any container; opening it blocks meanwhile.

    This takes a lease (``F_SETLEASE``, fcntl(2)).

    Raises:
        BlockingIOError: another process has it open.
        OSError: it is another user's, or the file system has no leases.
    """
    flags = access | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(name, flags, dir_fd=directory.fd())
    try:
        # A process that opens it now waits, and the kernel sends us a signal: one that is ignored
        # by default.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        try:
            yield fd
        finally:
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    finally:
        os.close(fd)


# -- names of blobs


def lost_names(place: OpenStore) -> list[Finding]:
    """Blobs that a crash left renamed. Raises ContentError, OSError."""
    names = [name for name in names_in(place.state_dir) if digest_of_renamed(name)]
    if not names:
        return []
    with place.settled():  # blobs are renamed only while that lock is held
        names = [name for name in names if is_file(name, place.state_dir.fd())]
    return [
        Finding(
            Kind.BLOB_NAME,
            f".contentui/{name}",
            f"it is the blob {digest_of_renamed(name)}, which a crash left renamed",
            "rename it back",
        )
        for name in names
    ]


def restore_name(place: OpenStore, finding: Finding) -> None:
    """Rename a blob back. Raises NotFound, OSError, ContentError."""
    name = finding.name.rpartition("/")[2]
    digest = digest_of_renamed(name)
    assert digest is not None
    with place.naming.held():
        directory = files.Directory(place.blobs, digest.algorithm)
        try:
            blobs, state_dir = directory.fd_or_make(), place.state_dir.fd()
            try:
                files.rename_new(name, state_dir, digest.encoded, blobs)
            except FileExistsError:  # it was stored anew since
                os.unlink(name, dir_fd=state_dir)
            os.fsync(blobs)
        except FileNotFoundError:
            raise NotFound("it is gone") from None
        finally:
            directory.close()


# -- modes


def modes(place: OpenStore) -> list[Finding]:
    """Files that others can keep locked, and what is not a regular file. Raises OSError."""
    found: list[Finding] = _unshared(place)
    for name in _NOT_LOCKED:
        with contextlib.suppress(FileNotFoundError):
            there = look(name, place.state_dir)
            if there is not None and not stat.S_ISREG(there.st_mode):
                found.append(_not_regular(f".contentui/{name}"))
    for name in _LOCKED:
        try:
            there = look(name, place.state_dir)
        except FileNotFoundError:
            return found
        if there is None:
            continue
        path = f".contentui/{name}"
        if not stat.S_ISREG(there.st_mode):
            if not name.endswith(".db"):  # `fsck_content.databases` reports those
                found.append(_not_regular(path))
            continue
        mode, right = stat.S_IMODE(there.st_mode), _private_mode(place)
        if mode != right:
            problem = f"its mode is {mode:04o}: {_mode_problem(mode, right)}"
            repair = f"set its mode to {right:04o}"
            seen = (there.st_dev, there.st_ino, mode)
            found.append(Finding(Kind.FILE_MODE, path, problem, repair, seen=seen))
    return found


def _not_regular(path: str) -> Finding:
    advice = f"stop the store's processes, and remove {path}"
    return Finding(Kind.FILE_TYPE, path, "it is not a regular file", advice=advice)


def _unshared(place: OpenStore) -> list[Finding]:
    """Directories that the group that shares the store can't write to."""
    root = os.fstat(place.root.fd())
    if not files.is_shared(root):
        return []
    found = []
    names = ["blobs", "ingest", files.STATE_DIR, *(f"blobs/{name}" for name in HEX_LENGTHS)]
    for name in names:
        there = look(name, place.root)
        if there is None or not stat.S_ISDIR(there.st_mode):
            continue
        if not files.is_shared(there) or there.st_gid != root.st_gid:
            problem = "the group that shares the store can't write to it"
            advice = f"run 'contentui init --shared {root.st_gid}'"
            found.append(Finding(Kind.FILE_MODE, name, problem, advice=advice))
    return found


def _private_mode(place: OpenStore) -> int:
    return 0o660 if files.is_shared(os.fstat(place.state_dir.fd())) else 0o600


def _mode_problem(mode: int, right: int) -> str:
    if mode & ~right & 0o066:
        return "others can keep it locked"
    if not right & ~mode:
        return "more than is needed"
    users = "its owner and the group that shares the store" if right & 0o060 else "its owner"
    return f"{users} must be able to read and write it"


def set_file_mode(place: OpenStore, finding: Finding) -> None:
    """Raises NotFound, Changed, OSError."""
    name = finding.name.rpartition("/")[2]
    now = look(name, place.state_dir)
    if now is None:
        raise NotFound("it is gone")
    if (now.st_dev, now.st_ino, stat.S_IMODE(now.st_mode)) != finding.seen:
        raise Changed("it has changed since it was found")
    set_mode(name, place.state_dir, now, _private_mode(place))


# -- ownership


def _ownership_files(place: OpenStore) -> Iterator[Finding]:
    """Ownership files that can't be read, or are contradictory. Raises OSError."""
    root = place.store.name
    adopted, bound = (look(name, place.state_dir) for name in (ownership.ADOPTED, ownership.BOUND))
    for name, there in ((ownership.ADOPTED, adopted), (ownership.BOUND, bound)):
        if there is not None and not stat.S_ISREG(there.st_mode):
            advice = f"find out which program made it, and remove .contentui/{name}"
            yield _ownership(name, "it is not a regular file", advice)
    if bound is not None and not os.path.isabs(ownership.bound_to(root)):
        advice = "write the absolute path of that containerd's root into it, or remove it"
        yield _ownership(ownership.BOUND, "it does not name the root of a containerd", advice)
    if adopted is not None and bound is not None:
        problem = "the directory is marked both as adopted and as bound to a containerd"
        yield _ownership(ownership.ADOPTED, problem, "remove the file that is wrong")
    if not ownership.is_containerds(root):
        return
    if bound is not None:
        problem = "the directory is a containerd's own, and marked as bound to another one"
        yield _ownership(ownership.BOUND, problem, "remove the file, if it was copied here")
    if adopted is not None and ownership.daemon_pid(root):
        problem = "the directory is marked as adopted, but its containerd runs"
        yield _ownership(
            ownership.ADOPTED, problem, "remove the file while no other process writes here"
        )


def _ownership(name: str, problem: str, advice: str) -> Finding:
    return Finding(Kind.OWNERSHIP, f".contentui/{name}", problem, advice=advice)


def ownership_of(place: OpenStore) -> list[Finding]:
    """All ownership files. Raises OSError."""
    try:
        place.state_dir.fd()
    except FileNotFoundError:
        return []
    return [*_ownership_files(place), *_owner(place)]


def _owner(place: OpenStore) -> Iterator[Finding]:
    """The file ``owner`` of a service that was killed, or one that can't be read."""
    there = look(ownership.OWNER, place.state_dir)
    if there is None or not stat.S_ISREG(there.st_mode) or not there.st_size:
        return
    path = f".contentui/{ownership.OWNER}"
    socket = ownership.service_socket(place.store.name)
    if not socket:
        problem = "it names a service that has ended"
        yield Finding(Kind.OWNER_STALE, path, problem, "empty it", seen=identity(there))
    elif not _names_a_socket(place):
        problem = "a running service owns the directory, but its socket can't be read"
        yield Finding(Kind.OWNERSHIP, path, problem, advice="restart that service")


def _names_a_socket(place: OpenStore) -> bool:
    try:
        content = files.read_file(ownership.OWNER, place.state_dir.fd(), 16 * 1024)
    except FileNotFoundError:
        return True
    return bool(ownership.socket_in(content))


def clear_owner(place: OpenStore, finding: Finding) -> None:
    """Empty the file of a service that has ended. Raises NotFound, Changed, OSError.

    Without locking the file: other processes would take the lock for that of a running service.
    """
    for _ in range(_LEASE_TRIES):
        unchanged(finding, place.state_dir, ownership.OWNER)
        with (
            contextlib.suppress(BlockingIOError),
            _unopened(ownership.OWNER, place.state_dir, os.O_RDWR) as fd,
        ):
            if identity(os.fstat(fd)) != finding.seen:
                raise Changed("it has changed since it was found")
            os.ftruncate(fd, 0)
            return
        time.sleep(0.01)  # another process is reading it
    raise Changed(f"a process has {visible(finding.name)} open")
