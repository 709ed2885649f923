"""Why a blob must stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from contentui.content.digest import Digest


class Need(NamedTuple):
    """One reason why a blob must stay."""

    by: str
    """What needs it: ``manifest``, ``label``, ``root``, ``image``, ``lease``."""
    name: str
    """Which one, in words; hostile text: an image's name, a label, a digest."""
    digest: Digest | None = None
    """The blob that needs it, when a blob does: deleting that one as well frees this one."""
