"""Images by what a person calls them on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from contentui.content.errors import NotFound
from contentui.content.helpers import image_names

if TYPE_CHECKING:
    from contentui.content.model import Descriptor, Image
    from contentui.content.store import Store


def find_image(store: Store, name: str) -> Image:
    """The image of this name, as written or in full (``redis``: ``docker.io/library/redis``).

    Raises:
        NotFound: the store has no such name.
        InvalidArgument: ``name`` is not a reference, or several namespaces have it.
    """
    from contentui.oci.references import parse_reference

    try:
        return image_names(store).get(name)
    except NotFound:
        full = str(parse_reference(name))
    try:
        return image_names(store).get(full)
    except NotFound:
        raise NotFound(
            f"there is no image {full} in {store.name}",
            advice="'contentui images' lists those that are there",
        ) from None


class Named(NamedTuple):
    """What an argument names."""

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

    if text.startswith(("sha256:", "sha384:", "sha512:")):
        info = store.info(Digest.parse(text))
        return Named("", Descriptor("", info.digest, info.size))
    image = find_image(store, text)
    return Named(image.name, image.target)
