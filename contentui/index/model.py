"""Why a blob must stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from contentui.content.digest import Digest


class Referrer(NamedTuple):
    """One reason why a blob must stay."""

    by: str
    """The kind of referrer: ``manifest``, ``label``, ``root``, ``image``, ``lease``."""
    name: str
    """Its name; hostile text: an image's name, a label, a digest."""
    digest: Digest | None = None
    """The referring blob, when it is a blob: deleting that one as well frees this one."""

    @property
    def text(self) -> str:
        """``image redis:7.4``, ``manifest sha256:…``. Hostile text, as `name` is."""
        # A manifest without a name of its own is called by its kind and digest.
        return self.name if self.name.startswith(f"{self.by} ") else f"{self.by} {self.name}"
