"""Where transfers are told to other processes, a dashboard above all: one small file for each.

A directory's transfers stand inside it, a daemon's in this account's runtime directory. A file
counts as long as the process that writes it holds the lock beside it, so that one that was killed
tells nothing stale.
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
"""A transfer is written down at most so often, unless a phase, the words or the error change."""
_CHANGE_S = 0.1
"""What a change of phase counts for: hundreds of small parts change faster than anyone looks."""
_AHEAD_S = 1.0
"""Changes worth so many seconds are told at once, more of them a little later."""
_MOST_FILES = 64
_MAX_FILE = 1 << 20
_MOST_PARTS = 500
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def board_of(source: Source) -> str:
    """The directory in which the transfers of a store are told; it need not be there."""
    if source.is_directory:
        return os.path.join(source.path, files.STATE_DIR, "transfers")
    name = hashlib.sha256(os.fsencode(source.key)).hexdigest()[:16]
    base = os.environ.get("XDG_RUNTIME_DIR") or ("/run" if os.geteuid() == 0 else "")
    if not base:
        import tempfile

        base = os.path.join(tempfile.gettempdir(), f"contentui-{os.geteuid()}")
    return os.path.join(base, "contentui", "transfers", name)


class Notice:
    """Tells one transfer of this process; call it with each new state. A context manager.

    What keeps it from being told stops nothing: it is a courtesy.
    """

    def __init__(self, board: str) -> None:
        self._board = board
        self._name = f"{os.getpid()}-{time.monotonic_ns()}"
        self._lock_fd = -1
        self._next_s = 0.0
        self._phases: list[Phase] = []
        self._whole = ("", "")
        """Its words and its error, as they were told last."""
        self._full_s = 0.0
        self._latest: Transfer | None = None
        """What is still to be written."""
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    def __call__(self, transfer: Transfer) -> None:
        phases = [part.phase for part in transfer.parts]
        whole = transfer.words, transfer.error
        now = time.monotonic()
        with self._lock:
            if self._lock_fd < 0:
                return
            is_news = whole != self._whole  # of the whole, which is rare and waits for nothing
            if now < self._next_s and phases == self._phases and not is_news:
                return
            self._next_s, self._phases, self._whole = now + _EVERY_S, phases, whole
            self._latest = transfer
            if is_news or self._full_s - now < _AHEAD_S:
                self._write_latest()
            elif self._timer is None:
                self._timer = threading.Timer(2 * _CHANGE_S, self._catch_up)
                self._timer.daemon = True
                self._timer.start()

    def __enter__(self) -> Self:
        with suppress(OSError):
            os.makedirs(self._board, 0o755, exist_ok=True)
            files.share_as_parent(self._board)
            _sweep(self._board)
            directory = os.open(self._board, files.DIRECTORY)
            try:
                flags = os.O_RDWR | os.O_EXCL | os.O_CLOEXEC
                fd = files.open_private(f"{self._name}.lock", flags, directory)
            finally:
                os.close(directory)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._lock_fd = fd
        return self

    def __exit__(self, *exc: object) -> None:
        with self._lock, suppress(OSError):
            if self._timer is not None:
                self._timer.cancel()
            if self._lock_fd >= 0:
                _remove(self._board, self._name)
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
            self._full_s = max(self._full_s, time.monotonic()) + _CHANGE_S
            with suppress(OSError):
                self._write(json.dumps(_to_json(latest)).encode())

    def _write(self, data: bytes) -> None:
        path = os.path.join(self._board, f"{self._name}.json")
        fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)
        os.replace(f"{path}.new", path)


class Board:
    """Reads what processes tell about their transfers into one store. From one thread at a time."""

    def __init__(self, board: str) -> None:
        self._board = board
        self._seen: dict[str, tuple[int, Transfer]] = {}

    def transfers(self) -> list[Transfer]:
        """The transfers of live processes, the oldest first. Never raises."""
        try:
            names = [name[:-5] for name in os.listdir(self._board) if name.endswith(".json")]
        except OSError:
            return []
        found = {}
        for name in sorted(names)[:_MOST_FILES]:
            told = self._told(name)
            if told is not None:
                found[name] = told
        self._seen = found
        return sorted((transfer for _, transfer in found.values()), key=lambda t: t.started_ns)

    def _told(self, name: str) -> tuple[int, Transfer] | None:
        if not _is_locked(os.path.join(self._board, f"{name}.lock")):
            return None  # its process was killed
        try:
            fd = os.open(os.path.join(self._board, f"{name}.json"), _READ)
        except OSError:
            return None
        try:
            found = os.fstat(fd)
            before = self._seen.get(name)
            if before is not None and before[0] == found.st_mtime_ns:
                return before
            if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_FILE:
                return None
            return found.st_mtime_ns, _from_json(json.loads(os.read(fd, _MAX_FILE)))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        finally:
            os.close(fd)


def _sweep(board: str) -> None:
    """Remove what killed processes left behind."""
    for name in os.listdir(board):
        stem, ending = os.path.splitext(name)
        if ending == ".lock" and not _is_locked(os.path.join(board, name)):
            _remove(board, stem)


def _remove(board: str, name: str) -> None:
    for ending in (".json", ".json.new", ".lock"):
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(board, name + ending))


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
            "words": part.words,
            "host": part.host,
        }
        for part in transfer.parts[:_MOST_PARTS]
    ]
    return {**transfer._asdict(), "parts": parts}


def _from_json(value: dict[str, Any]) -> Transfer:
    """Raises ValueError, TypeError, KeyError, AttributeError: it isn't what we write."""
    parts = tuple(_part(each) for each in value["parts"][:_MOST_PARTS])
    return Transfer(
        str(value["verb"])[:20],
        str(value["image"])[:1024],
        int(value["pid"]),
        int(value["started_ns"]),
        parts,
        str(value["words"])[:1024],
        str(value["error"])[:1024],
    )


def _part(value: dict[str, Any]) -> Part:
    try:
        digest = Digest.parse(str(value["digest"]))
    except InvalidArgument as error:
        raise ValueError(error.message) from None
    descriptor = Descriptor(str(value["media_type"])[:256], digest, int(value["size"]))
    texts = (str(value[key])[:1024] for key in ("words", "host"))
    return Part(
        descriptor,
        str(value["ref"])[:1024],
        Phase(value["phase"]),
        int(value["offset"]),
        int(value["resumed"]),
        *texts,
    )
