"""Images by what a person calls them on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from contentui.content.errors import NotFound
from contentui.content.helpers import image_names

if TYPE_CHECKING:
    from contentui.content.model import Descriptor
    from contentui.content.store import Store


class Named(NamedTuple):
    """What a word stands for."""

    name: str
    """As the store has it; empty for a digest."""
    target: Descriptor
    """Its media type is empty for a digest."""


def image_named(store: Store, text: str) -> Named:
    """The image or digest that ``text`` means in this store.

    Raises:
        NotFound: nothing here.
        InvalidArgument: it is neither a name nor a digest.
    """
    from contentui.content.digest import Digest
    from contentui.content.model import Descriptor
    from contentui.oci.references import parse_reference

    if text.startswith(("sha256:", "sha384:", "sha512:")):
        info = store.info(Digest.parse(text))
        return Named("", Descriptor("", info.digest, info.size))
    names = (text, str(parse_reference(text)))
    for name in names:
        try:
            return Named(name, image_names(store).get(name).target)
        except NotFound:
            continue
    raise NotFound(
        f"there is no image {names[-1]} in {store.name}",
        advice="'contentui images' lists those that are there",
    )
