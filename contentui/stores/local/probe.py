"""Asking for an ingest's lock, and hashing its bytes while we have it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from contentui.content.digest import Digest, new_hash
from contentui.content.errors import Changed, Locked
from contentui.content.model import Liveness, Probe, Status
from contentui.stores import files
from contentui.stores.local import ingest_dir

if TYPE_CHECKING:
    from collections.abc import Callable

    from contentui.stores.local.locks import RefLock

_PIECE = 1 << 20
_TRIES = 3


def lock_or_refusal(acquire: Callable[[], RefLock]) -> RefLock | Locked:
    """The ref's lock, or why it can't be had: with its holder, unless they come and go."""
    for _ in range(_TRIES):
        try:
            return acquire()
        except Locked as error:
            refusal = error
        if refusal.holder is not None:
            break  # else it has just ended
    return refusal


def probe_free(found: Status, parent: int) -> Probe:
    """What the bytes of ``found``, whose lock we have, are; ``parent`` is ``ingest``'s descriptor.

    Complete and wrong ones are marked as a refused commit marks them. Of a damaged ingest whose
    bytes can't be read the digest stays None.

    Raises:
        Changed: something that knows no locks of ours wrote meanwhile, or an abort was forced.
        OSError: it can't be read.
    """
    algorithm = found.expected.algorithm if found.expected else "sha256"
    directory = data = -1
    try:
        directory = os.open(found.id, files.DIRECTORY, dir_fd=parent)
        data = os.open("data", files.READ, dir_fd=directory)
        if not stat.S_ISREG(os.fstat(data).st_mode):
            return Probe(found, Liveness.FREE)
        digest, size = _hashed(data, algorithm)
        if size != found.offset or not _is_unchanged(data, found, parent):
            raise Changed("the ingest was changed while it was read", advice="look again")
        if _is_wrong(found, digest):
            ingest_dir.mark_refused(data, directory, size, digest)
            found = found._replace(refused=digest)
        return Probe(found, Liveness.FREE, None, digest)
    except OSError:
        if not found.damage:
            raise
        return Probe(found, Liveness.FREE)
    finally:
        for fd in (data, directory):
            files.close(fd)


def _is_unchanged(data: int, found: Status, parent: int) -> bool:
    now = os.fstat(data)
    try:
        there = os.stat(found.id + "/data", dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return now.st_size == found.offset and files.same_file(now, there)


def _is_wrong(found: Status, digest: Digest) -> bool:
    complete = 0 < found.total <= found.offset
    wanted = found.expected
    return complete and not found.damage and wanted not in {None, digest}


def _hashed(fd: int, algorithm: str) -> tuple[Digest, int]:
    """The digest of all bytes, and how many they are."""
    found, buffer, offset = new_hash(algorithm), memoryview(bytearray(_PIECE)), 0
    while count := os.preadv(fd, [buffer], offset):
        found.update(buffer[:count])
        offset += count
    return Digest(f"{algorithm}:{found.hexdigest()}"), offset
