"""Names of images kept in memory, and the rules that hold for names in every store of ours."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from contentui.content.errors import Changed, InvalidArgument, NotFound
from contentui.content.model import Image
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from contentui.content.model import Descriptor

NAME_LIMIT = 4096
"""Bytes that an image's name, and its target's media type, may have."""


def check_image(name: str, target: Descriptor) -> None:
    """Refuse what no store keeps.

    Raises:
        InvalidArgument: a name that is empty, over `NAME_LIMIT` bytes or no text; a target whose
            media type is, or whose size is negative or over 63 bits.
    """
    for what, text, least in (("name", name, 1), ("media type", target.media_type, 0)):
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise InvalidArgument(f"the image's {what} {visible(text, 160)} is not text") from None
        if not least <= size <= NAME_LIMIT:
            raise InvalidArgument(
                f"an image's {what} has between {least} and {NAME_LIMIT} bytes, not {size}"
            )
    if not 0 <= target.size < 1 << 63:
        raise InvalidArgument(f"an image's target can't have {target.size} bytes")


def no_image(name: str) -> NotFound:
    """The error for a name that stands for nothing."""
    return NotFound(f"image {visible(name, 160)}: not found")


def check_unchanged(found: Image, seen: Image | None) -> None:
    """Raises Changed when the name stands for another digest than in ``seen``."""
    if seen is not None and found.target.digest != seen.target.digest:
        raise Changed(
            f"image {visible(found.name, 160)} stands for {found.target.digest} now",
            advice="look again, then decide",
        )


class MemoryImages:
    """See `contentui.content.store.ImageNames`; safe to use from many threads."""

    def __init__(
        self,
        clock: Callable[[], int],
        checked_labels: Callable[[Mapping[str, str]], Mapping[str, str]],
    ) -> None:
        """``clock`` gives wall time in nanoseconds; ``checked_labels`` the labels to keep."""
        self._clock = clock
        self._checked_labels = checked_labels
        self._mutex = threading.Lock()
        self._images: dict[str, Image] = {}

    def list(self) -> list[Image]:
        with self._mutex:
            return [self._images[name] for name in sorted(self._images)]

    def get(self, name: str) -> Image:
        """Raises NotFound."""
        with self._mutex:
            return self._found(name)

    def put(self, name: str, target: Descriptor, labels: Mapping[str, str] | None = None) -> Image:
        """Raises InvalidArgument."""
        check_image(name, target)
        new = None if labels is None else self._checked_labels(labels)
        with self._mutex:
            now, old = self._clock(), self._images.get(name)
            if new is None:
                new = old.labels if old else {}
            image = Image(name, target, new, old.created_ns if old else now, now)
            self._images[name] = image
            return image

    def delete(self, name: str, *, seen: Image | None = None) -> None:
        """Raises NotFound, Changed."""
        with self._mutex:
            check_unchanged(self._found(name), seen)
            del self._images[name]

    def _found(self, name: str) -> Image:
        try:
            return self._images[name]
        except KeyError:
            raise no_image(name) from None
