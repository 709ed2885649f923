"""What a probe of an ingest comes to: held, partial, complete, right, poisoned, damaged."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from contentui.content.digest import Digest
from contentui.content.model import Liveness

if TYPE_CHECKING:
    from contentui.content.model import Probe


class Finding(StrEnum):
    """What a probe comes to."""

    HELD = "held"
    PARTIAL = "partial"
    """Free; bytes are missing, or the total is unknown."""
    COMPLETE = "complete"
    """Free; all bytes are there, and the expected digest is unknown."""
    RIGHT = "right"
    """Free; its bytes have the expected digest."""
    POISONED = "poisoned"
    """Free; all bytes are there with a wrong digest: every retry fails."""
    DAMAGED = "damaged"


def finding(probe: Probe) -> Finding:
    """What a probe comes to."""
    status, expected = probe.status, probe.status.expected
    if probe.liveness is Liveness.HELD:
        return Finding.HELD
    if status.refused is not None:
        return Finding.POISONED
    if status.damage:
        return Finding.DAMAGED
    if probe.digest is not None and probe.digest == (expected or Digest.found_in(status.ref)):
        return Finding.RIGHT
    if not status.is_complete:
        return Finding.PARTIAL
    if expected is None or probe.digest is None or expected.algorithm != probe.digest.algorithm:
        return Finding.COMPLETE
    return Finding.POISONED
