"""One file with credentials of registries: docker's ``config.json``, podman's ``auth.json``.

What is in such a file is untrusted: its size is limited, and no message repeats its content.
Sources: "Configuration files" in Docker's CLI reference, ``containers-auth.json(5)``.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import secrets
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from contentui.content.errors import (
    ContentError,
    FailedPrecondition,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_SIZE = 4 << 20
"""Bytes of a file; larger ones are refused."""
_LOCK_WAIT_S = 10.0
_REPAIR = "correct it, or move it away and log in again"


def read_file(path: str) -> dict[str, Any] | None:
    """The object in a file; an empty file has an empty one; None: there is no file.

    Raises:
        FailedPrecondition: it is no file, larger than `MAX_SIZE`, or not a JSON object.
        PermissionDenied: it may not be read.
    """
    raw = _read(path)
    if raw is None:
        return None
    if not raw.strip():
        return {}
    try:
        config = json.loads(raw)
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}"
        raise _invalid(path, f"is not valid JSON ({at})") from None
    except (ValueError, RecursionError):
        raise _invalid(path, "is not valid JSON") from None
    if not isinstance(config, dict):
        raise _invalid(path, "is not a JSON object")
    return config


def section_of(config: dict[str, Any], name: str, path: str) -> dict[str, Any]:
    """An object in the file by its name; empty where it is missing or null.

    Raises:
        FailedPrecondition: it is something else.
    """
    section = config.get(name)
    if section is None:
        return {}
    if not isinstance(section, dict):
        raise _invalid(path, f'has "{name}", which is not a JSON object')
    return section


def change_file(path: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Replace a file by a changed one, which only its owner may read; a link to it stays.

    What ``change`` leaves alone is kept. The new file is durable before it takes the place of the
    old one. Changes by this function come one after the other, also those of other processes.

    Raises:
        PermissionDenied: it, or where it would be made, belongs to another user, or is protected.
        FailedPrecondition: as `read_file`.
        ResourceExhausted: no space.
        Unavailable: another process changes a file of the directory for a long time.
    """
    try:
        _check_link(path)
        target = os.path.realpath(path)
        folder = os.path.dirname(target)
        _make_folder(folder)
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _lock(directory, path)
            _check_regular(target)
            _check_owner(target, directory)
            _remove_unfinished(directory, os.path.basename(target))
            config = read_file(target) or {}
            change(config)
            data = json.dumps(config, indent="\t", allow_nan=False).encode() + b"\n"
            _replace(directory, os.path.basename(target), data)
        finally:
            os.close(directory)
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from None


def _check_link(path: str) -> None:
    """In a directory like /tmp anybody could have made a link to a file of ours."""
    with suppress(FileNotFoundError):
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode) and found.st_uid not in (0, os.geteuid()):
            raise _of_other(path, found.st_uid)


def _make_folder(folder: str) -> None:
    if os.path.isdir(folder):
        return
    above = os.path.dirname(folder)
    _make_folder(above)
    found = os.stat(above)
    if found.st_uid not in (0, os.geteuid()) and not found.st_mode & stat.S_ISVTX:
        raise _of_other(above, found.st_uid)
    with suppress(FileExistsError):
        os.mkdir(folder, 0o700)


def _check_regular(target: str) -> None:
    """A device such as /dev/null may be read as a file without credentials, but not replaced."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(target).st_mode):
            raise FailedPrecondition(
                f"{visible(target)} is not a regular file, and is not replaced by one",
                advice="name another file with --authfile, or set REGISTRY_AUTH_FILE to one",
            )


def _remove_unfinished(directory: int, name: str) -> None:
    """Remove what a killed process left beside the file: it may hold a password."""
    unfinished = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{16}}")
    for found in os.listdir(directory):
        if unfinished.fullmatch(found):
            with suppress(OSError):
                os.unlink(found, dir_fd=directory)


def _check_owner(target: str, directory: int) -> None:
    """Whose file it is, or would be: root's file in a user's directory would lock the user out."""
    try:
        found = os.stat(target)
    except FileNotFoundError:
        found = os.fstat(directory)
        if found.st_uid in (0, os.geteuid()) or found.st_mode & stat.S_ISVTX:
            return
        raise _of_other(os.path.dirname(target), found.st_uid) from None
    if found.st_uid != os.geteuid():
        raise _of_other(target, found.st_uid)


def _lock(directory: int, path: str) -> None:
    until_s = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            return fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP):
                return None  # a network file system that locks no directories
            if not isinstance(error, BlockingIOError):
                raise
            if time.monotonic() > until_s:
                raise Unavailable(
                    f"{visible(path)} can't be changed: another process holds the lock on its"
                    f" directory for more than {_LOCK_WAIT_S:g}s",
                    advice="try again; 'lsof' shows who has the directory open",
                ) from None
            time.sleep(0.02)


def _replace(directory: int, name: str, data: bytes) -> None:
    unfinished = f".{name}.{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(unfinished, flags, 0o600, dir_fd=directory)
    try:
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        os.replace(unfinished, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with suppress(OSError):
            os.unlink(unfinished, dir_fd=directory)
        raise
    os.fsync(directory)


def _of_other(path: str, user: int) -> PermissionDenied:
    return PermissionDenied(
        f"{visible(path)} belongs to the user with the id {user}, and is not changed",
        advice="run this as that user, or name another file with --authfile",
    )


def _unwritable(path: str, error: OSError | ValueError) -> ContentError:
    why = error.strerror if isinstance(error, OSError) else "it has a number that JSON lacks"
    full = getattr(error, "errno", 0) in (errno.ENOSPC, errno.EDQUOT)
    kind = ResourceExhausted if full else PermissionDenied
    return kind(
        f"the credentials can't be written to {visible(path)}: {why}",
        advice="check its directory, or name another file with --authfile",
    )


def _read(path: str) -> bytes | None:
    try:
        # A pipe without a writer would be waited for.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb", buffering=0) as file:
            if not _is_readable(os.fstat(fd).st_mode):
                raise _invalid(path, "is not a regular file")
            raw = bytearray()
            while len(raw) <= MAX_SIZE and (piece := file.read(MAX_SIZE + 1 - len(raw))):
                raw += piece
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise PermissionDenied(
            f"the credentials in {visible(path)} may not be read: permission denied",
            advice="make it readable for this user, or use --user",
        ) from None
    except OSError as error:
        raise _invalid(path, f"can't be read: {error.strerror}") from None
    if len(raw) > MAX_SIZE:
        raise _invalid(path, f"is larger than {MAX_SIZE >> 20} MiB")
    return bytes(raw)


def _is_readable(mode: int) -> bool:
    """A device may be: /dev/null is how credentials are turned off."""
    return stat.S_ISREG(mode) or stat.S_ISCHR(mode)


def _invalid(path: str, what: str) -> FailedPrecondition:
    return FailedPrecondition(f"the file of credentials {visible(path)} {what}", advice=_REPAIR)
