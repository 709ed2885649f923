"""The state of a transfer, as it is shown here and in other processes."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from contentui.content.model import Descriptor


class Phase(StrEnum):
    """What happens to one blob."""

    WAITING = "waiting"
    """For a free connection, or for another writer: `Part.message` has which."""
    DOWNLOADING = "downloading"
    UPLOADING = "uploading"
    RETRYING = "retrying"
    """Between two attempts: `Part.message` has the time of the next one and the reason."""
    VERIFYING = "verifying"
    EXISTS = "exists"
    """It was there before."""
    MOUNTED = "mounted"
    """The registry mounted it from another of its repositories."""
    DONE = "done"
    FAILED = "failed"


FREE_CONNECTION = "waiting for a free connection"
"""The message of a part that waits for others of its transfer."""


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
    message: str = ""
    """Details of the phase, if any: ``retrying in 4s (3/6): …``; untrusted text."""
    host: str = ""
    """The host that serves it; untrusted text."""


class Transfer(NamedTuple):
    """A pull or push of one image, at one moment."""

    verb: str
    """``pull``, ``fetch`` or ``push``."""
    image: str
    """Untrusted text."""
    pid: int
    started_ns: int
    """Wall clock."""
    parts: tuple[Part, ...] = ()
    """In order of discovery."""
    message: str = ""
    """The state of the whole: ``resolving``, ``waiting for pid 312``; empty while parts move."""
    error: str = ""
    """Why it failed; empty unless it did."""
    command: str = ""
    """The command line of its process, untrusted text; empty: unknown."""

    @property
    def total(self) -> int:
        """Bytes in all parts that are known by now."""
        return sum(part.descriptor.size for part in self.parts)

    @property
    def offset(self) -> int:
        """Bytes that are there."""
        return sum(part.offset for part in self.parts)
