"""Output into a file that appears only when it is whole."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def to_file(path: str, chunks: Iterator[bytes]) -> None:
    """Write to a file beside ``path`` and rename it when all bytes are there and right."""
    target = os.path.realpath(path)
    try:
        regular = stat.S_ISREG(os.stat(target).st_mode)
    except FileNotFoundError:
        regular = True
    if not regular:  # a device or a pipe has no bytes that could be half replaced
        with open(target, "wb") as file:
            file.writelines(chunks)
        return
    folder, name = os.path.split(target)
    part = os.path.join(folder, f".{name[:200]}.{os.getpid()}.part")
    try:
        with open(part, "xb") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    except BaseException:
        _remove(part)
        raise


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
