"""Status files, by which other processes, such as a dashboard, see the transfers of this one.

Those into a directory are inside it, those into a daemon in this account's runtime directory. A
file is valid as long as its writer holds the lock on the file beside it, so that one of a killed
process is ignored.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from contentui.content.digest import Digest
from contentui.content.errors import InvalidArgument
from contentui.content.model import Descriptor
from contentui.stores import files, procfs
from contentui.transfers.model import Part, Phase, Transfer

if TYPE_CHECKING:
    from typing import Self

    from contentui.stores.source import Source

_EVERY_S = 0.5
"""Shortest time between two writes, seconds, unless a phase, the message or the error changes."""
_CHANGE_S = 0.1
"""Credit that one change of phase uses, seconds: hundreds of small parts change very quickly."""
_CREDIT_S = 1.0
"""Changes are written at once as long as credit is left, and otherwise a little later."""
_MAX_FILES = 64
_MAX_FILE_SIZE = 1 << 20
_MAX_PARTS = 500
_MAX_TEXT = 1024
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def status_directory(source: Source) -> str:
    """The directory with the status files of a store's transfers; it may be missing."""
    if source.is_directory:
        return os.path.join(source.path, files.STATE_DIR, "transfers")
    name = hashlib.sha256(os.fsencode(source.key)).hexdigest()[:16]
    base = os.environ.get("XDG_RUNTIME_DIR") or ("/run" if os.geteuid() == 0 else "")
    if not base:
        import tempfile

        base = os.path.join(tempfile.gettempdir(), f"contentui-{os.geteuid()}")
    return os.path.join(base, "contentui", "transfers", name)


class TransferStatusWriter:
    """Writes the status file of one transfer; call it with each new state. A context manager.

    Errors of the file system are ignored: the transfer continues without a status file.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._name = f"{os.getpid()}-{time.monotonic_ns()}"
        self._lock_fd = -1
        self._next_s = 0.0
        self._phases: list[Phase] = []
        self._whole = ("", "")
        """The transfer's message and error, as they were written last."""
        self._used_s = 0.0
        """Until when, on the monotonic clock, the credit is used."""
        self._latest: Transfer | None = None
        """What is still to be written."""
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    def __call__(self, transfer: Transfer) -> None:
        phases = [part.phase for part in transfer.parts]
        whole = transfer.message, transfer.error
        now = time.monotonic()
        with self._lock:
            if self._lock_fd < 0:
                return
            is_urgent = whole != self._whole  # this is rare, and written at once
            if now < self._next_s and phases == self._phases and not is_urgent:
                return
            self._next_s, self._phases, self._whole = now + _EVERY_S, phases, whole
            self._latest = transfer
            if is_urgent or self._used_s - now < _CREDIT_S:
                self._write_latest()
            elif self._timer is None:
                self._timer = threading.Timer(2 * _CHANGE_S, self._catch_up)
                self._timer.daemon = True
                self._timer.start()

    def __enter__(self) -> Self:
        with suppress(OSError):
            os.makedirs(self._directory, 0o755, exist_ok=True)
            files.share_as_parent(self._directory)
            _remove_stale(self._directory)
            directory_fd = os.open(self._directory, files.DIRECTORY)
            try:
                flags = os.O_RDWR | os.O_EXCL | os.O_CLOEXEC
                fd = files.open_private(f"{self._name}.lock", flags, directory_fd)
            finally:
                os.close(directory_fd)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._lock_fd = fd
        return self

    def __exit__(self, *exc: object) -> None:
        with self._lock, suppress(OSError):
            if self._timer is not None:
                self._timer.cancel()
            if self._lock_fd >= 0:
                _remove(self._directory, self._name)
                os.close(self._lock_fd)
            self._lock_fd = -1

    def _catch_up(self) -> None:
        with self._lock:
            self._timer = None
            if self._lock_fd >= 0:
                self._write_latest()

    def _write_latest(self) -> None:
        latest, self._latest = self._latest, None
        if latest is not None:
            self._used_s = max(self._used_s, time.monotonic()) + _CHANGE_S
            with suppress(OSError):
                self._write(json.dumps(_to_json(latest)).encode())

    def _write(self, data: bytes) -> None:
        path = os.path.join(self._directory, f"{self._name}.json")
        fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)
        os.replace(f"{path}.new", path)


class TransferStatusReader:
    """Reads the status files of one store's transfers. For one thread at a time."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._seen: dict[str, tuple[int, Transfer]] = {}

    def transfers(self) -> list[Transfer]:
        """The transfers of live processes, the oldest first. Never raises."""
        try:
            names = [name[:-5] for name in os.listdir(self._directory) if name.endswith(".json")]
        except OSError:
            return []
        found = {}
        for name in sorted(names)[:_MAX_FILES]:
            status = self._read(name)
            if status is not None:
                found[name] = status
        self._seen = found
        return sorted((transfer for _, transfer in found.values()), key=lambda t: t.started_ns)

    def _read(self, name: str) -> tuple[int, Transfer] | None:
        if not _is_locked(os.path.join(self._directory, f"{name}.lock")):
            return None  # its writer was killed
        try:
            fd = os.open(os.path.join(self._directory, f"{name}.json"), _READ)
        except OSError:
            return None
        try:
            found = os.fstat(fd)
            before = self._seen.get(name)
            if before is not None and before[0] == found.st_mtime_ns:
                return before
            if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_FILE_SIZE:
                return None
            return found.st_mtime_ns, _from_json(json.loads(os.read(fd, _MAX_FILE_SIZE)))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        finally:
            os.close(fd)


def _remove_stale(directory: str) -> None:
    """Remove the files of killed processes."""
    for name in os.listdir(directory):
        stem, ending = os.path.splitext(name)
        if ending == ".lock" and not _is_locked(os.path.join(directory, name)):
            _remove(directory, stem)


def _remove(directory: str, name: str) -> None:
    for ending in (".json", ".json.new", ".lock"):
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(directory, name + ending))


def _is_locked(path: str) -> bool:
    try:
        return procfs.is_flocked(path)
    except FileNotFoundError:
        return False


def _to_json(transfer: Transfer) -> dict[str, Any]:
    parts = [
        {
            "media_type": part.descriptor.media_type,
            "digest": part.descriptor.digest,
            "size": part.descriptor.size,
            "ref": part.ref,
            "phase": str(part.phase),
            "offset": part.offset,
            "resumed": part.resumed,
            "message": part.message,
            "host": part.host,
        }
        for part in transfer.parts[:_MAX_PARTS]
    ]
    return {**transfer._asdict(), "parts": parts}


def _from_json(value: dict[str, Any]) -> Transfer:
    """Raises ValueError, TypeError, KeyError, AttributeError: it isn't a status file."""
    parts = tuple(_part(each) for each in value["parts"][:_MAX_PARTS])
    return Transfer(
        str(value["verb"])[:20],
        str(value["image"])[:_MAX_TEXT],
        int(value["pid"]),
        int(value["started_ns"]),
        parts,
        str(value["message"])[:_MAX_TEXT],
        str(value["error"])[:_MAX_TEXT],
        str(value.get("command", ""))[:_MAX_TEXT],  # absent in the files of older versions
    )


def _part(value: dict[str, Any]) -> Part:
    try:
        digest = Digest.parse(str(value["digest"]))
    except InvalidArgument as error:
        raise ValueError(error.message) from None
    descriptor = Descriptor(str(value["media_type"])[:256], digest, int(value["size"]))
    texts = (str(value[key])[:_MAX_TEXT] for key in ("message", "host"))
    return Part(
        descriptor,
        str(value["ref"])[:_MAX_TEXT],
        Phase(value["phase"]),
        int(value["offset"]),
        int(value["resumed"]),
        *texts,
    )
