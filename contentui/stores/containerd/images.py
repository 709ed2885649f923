"""A daemon's image names and leases: the roots that keep blobs from garbage collection."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

from contentui.content.errors import AlreadyExists, NotFound, ResourceExhausted
from contentui.content.model import Descriptor, Image, Root
from contentui.content.rules import check_image, check_image_match, checked_labels, image_not_found
from contentui.protocol import images_pb2 as pb
from contentui.protocol import names
from contentui.protocol.times import to_ns
from contentui.stores.containerd.errors import Unimplemented
from contentui.stores.containerd.messages import digest_or_none
from contentui.stores.containerd.namespaces import ambiguous

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sized

    from contentui.stores.containerd.client import Client
    from contentui.stores.containerd.leases import ContainerdLeases

MAX_IMAGES = 100_000
MAX_LEASED = 1_000_000
"""Blobs in all leases together."""


class ContainerdImages:
    """See `contentui.content.store.ImageNames`."""

    def __init__(self, client: Client, refuse: Callable[[str], None]) -> None:
        """``refuse``: raises ReadOnly if the store is read-only."""
        self._client = client
        self._refuse = refuse

    def list(self) -> list[Image]:
        """All names in all namespaces."""
        found = [image for name in self._client.namespaces.all() for image in self._listed(name)]
        return sorted(found, key=lambda image: (image.namespace, image.name))

    def get(self, name: str) -> Image:
        """Raises NotFound; InvalidArgument if the name exists in several namespaces."""
        found = list(self._found(name))
        if not found:
            raise image_not_found(name)
        if len(found) > 1:
            raise ambiguous(f"image {name}", [image.namespace for image in found])
        return found[0]

    def put(self, name: str, target: Descriptor, labels: Mapping[str, str] | None = None) -> Image:
        """Create or update a name, in the namespace that has it or else the one to write to."""
        self._refuse("cannot create an image name")
        check_image(name, target)
        given = None if labels is None else checked_labels(labels)
        try:
            namespace = self.get(name).namespace
        except NotFound:
            namespace = self._client.namespaces.for_writing()
        image = pb.Image(name=name, labels=given or {})
        image.target.media_type = target.media_type
        image.target.digest = target.digest
        image.target.size = target.size
        try:
            return self._created(image, namespace)
        except AlreadyExists:
            return self._updated(image, namespace, with_labels=given is not None)

    def delete(self, name: str, *, if_match: Image | None = None) -> None:
        """Raises NotFound, Changed."""
        self._refuse("cannot delete an image name")
        found = self.get(name)
        check_image_match(found, if_match)
        request = pb.DeleteImageRequest(name=name).SerializeToString()
        self._client.call(names.IMAGES, "Delete", request, found.namespace)

    def _created(self, image: pb.Image, namespace: str) -> Image:
        request = pb.CreateImageRequest(image=image)
        response = self._client.request(
            names.IMAGES, "Create", request, pb.CreateImageResponse, namespace
        )
        return _image(response.image, namespace) or self.get(image.name)

    def _updated(self, image: pb.Image, namespace: str, *, with_labels: bool) -> Image:
        request = pb.UpdateImageRequest(image=image)
        request.update_mask.paths.extend(["target", "labels"] if with_labels else ["target"])
        response = self._client.request(
            names.IMAGES, "Update", request, pb.UpdateImageResponse, namespace
        )
        return _image(response.image, namespace) or self.get(image.name)

    def _found(self, name: str) -> Iterator[Image]:
        for namespace in self._client.namespaces.all():
            request = pb.GetImageRequest()
            try:
                request.name = name
            except ValueError:  # not UTF-8, so not an image's name
                return
            try:
                response = self._client.request(
                    names.IMAGES, "Get", request, pb.GetImageResponse, namespace
                )
            except NotFound:
                continue
            if image := _image(response.image, namespace):
                yield image

    def _listed(self, namespace: str) -> Iterator[Image]:
        request = pb.ListImagesRequest()
        response = self._client.request(
            names.IMAGES, "List", request, pb.ListImagesResponse, namespace
        )
        _check_count(response.images, MAX_IMAGES, f"images in {namespace}")
        for each in response.images:
            if image := _image(each, namespace):
                yield image


def roots(
    client: Client, images: ContainerdImages, leases: ContainerdLeases, own: Collection[str]
) -> list[Root]:
    """All image names, and all leased content except that of our ``own`` leases.

    A server without garbage collection may lack Images and Leases; a daemon must have both.

    Raises:
        ResourceExhausted: more than the limits of this module; a part would look like all.
        Unimplemented: a daemon without Images or Leases.
    """
    unknown = suppress(Unimplemented) if client.server.flat else nullcontext()
    found = []
    with unknown:
        found += [Root("image", i.name, i.target.digest, i.namespace) for i in images.list()]
    with unknown:
        for lease in leases.list_leases():
            if lease.id not in own:
                found += [Root("lease", lease.id, each, lease.namespace) for each in lease.blobs]
                _check_count(found, MAX_IMAGES + MAX_LEASED, "leased blobs")
    return found


def _check_count(found: Sized, most: int, what: str) -> None:
    if len(found) > most:
        raise ResourceExhausted(f"the daemon has more than {most} {what}")


def _image(found: pb.Image, namespace: str) -> Image | None:
    digest = digest_or_none(found.target.digest)
    if digest is None:
        return None
    return Image(
        found.name,
        Descriptor(found.target.media_type, digest, max(found.target.size, 0)),
        dict(found.labels),
        to_ns(found, "created_at"),
        to_ns(found, "updated_at"),
        namespace,
    )
