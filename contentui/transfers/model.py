"""Where a transfer stands: what is shown of it, here and in other processes."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from contentui.content.model import Descriptor


class Phase(StrEnum):
    """What happens to one blob."""

    WAITING = "waiting"
    """For a free connection, or for another writer: `Part.words` says which."""
    DOWNLOADING = "downloading"
    UPLOADING = "uploading"
    RETRYING = "retrying"
    """Between two attempts: `Part.words` says when the next one is, and why."""
    VERIFYING = "verifying"
    EXISTS = "exists"
    """It was there before."""
    MOUNTED = "mounted"
    """The registry took it from another repository of its own."""
    DONE = "done"
    FAILED = "failed"


class Part(NamedTuple):
    """One blob of a transfer, at one moment."""

    descriptor: Descriptor
    ref: str
    """Its ingest's ref: ``layer-sha256:…``."""
    phase: Phase
    offset: int = 0
    """Bytes that are there, those of earlier attempts included."""
    resumed: int = 0
    """Bytes that were there before this transfer."""
    words: str = ""
    """The phase in words where there is more to say: ``retrying in 4s (3/6): …``; hostile text."""
    host: str = ""
    """Which host serves it; hostile text."""


class Transfer(NamedTuple):
    """A pull or push of one image, at one moment."""

    verb: str
    """``pull``, ``fetch`` or ``push``."""
    image: str
    """Hostile text."""
    pid: int
    started_ns: int
    """Wall clock."""
    parts: tuple[Part, ...] = ()
    """In order of discovery."""
    words: str = ""
    """What happens to the whole: ``resolving``, ``waiting for pid 312``; empty while parts move."""
    error: str = ""
    """Why it failed; empty as long as it didn't."""

    @property
    def total(self) -> int:
        """Bytes in all parts that are known by now."""
        return sum(part.descriptor.size for part in self.parts)

    @property
    def offset(self) -> int:
        """Bytes that are there."""
        return sum(part.offset for part in self.parts)
