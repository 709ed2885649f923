"""One file with credentials of registries: docker's ``config.json``, podman's ``auth.json``.

What is in such a file is untrusted: its size is limited, and no message repeats its content.
Sources: "Configuration files" in Docker's CLI reference, ``containers-auth.json(5)``.
"""

from __future__ import annotations

import json
import os
import stat
from typing import Any

from contentui.content.errors import FailedPrecondition, PermissionDenied
from contentui.text import visible

MAX_SIZE = 4 << 20
"""Bytes of a file; larger ones are refused."""
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
