"""The Images service: a store's image names.

Source of the rules: containerd's ``plugins/services/images/local.go`` and
``core/metadata/images.go``.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from contentui.content.digest import Digest
from contentui.content.errors import InvalidArgument, NotFound
from contentui.content.filters import compile_filters
from contentui.content.model import Descriptor
from contentui.protocol import images_pb2 as messages
from contentui.protocol import names
from contentui.protocol.times import timestamp
from contentui.protocol.types_pb2 import Descriptor as WireDescriptor
from contentui.servers.grpc.errors import Code, StatusError, quoted
from contentui.servers.grpc.unary import (
    Method,
    already_exists,
    check_labels,
    invalid,
    not_found,
    service,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import grpc

    from contentui.content.model import Image
    from contentui.content.roles import ImageNames


class Images:
    """The service's methods; one call at a time reads and changes names."""

    def __init__(self, images: ImageNames) -> None:
        self._images = images
        self._mutex = threading.Lock()

    def get(self, request: messages.GetImageRequest) -> messages.GetImageResponse:
        """One image."""
        return messages.GetImageResponse(image=_message(self._found(request.name)))

    def list(self, request: messages.ListImagesRequest) -> messages.ListImagesResponse:
        """The images that match, sorted by name."""
        matches = compile_filters(request.filters)
        found = (image for image in self._images.list() if matches(_fields(image)))
        return messages.ListImagesResponse(images=map(_message, found))

    def create(self, request: messages.CreateImageRequest) -> messages.CreateImageResponse:
        """Create an image name."""
        requested = request.image
        _require_name(requested)
        target = _target(requested)
        check_labels(requested.labels, "image.Labels: ")
        with self._mutex:
            if self._exists(requested.name):
                raise already_exists("image", requested.name)
            image = self._images.put(requested.name, target, dict(requested.labels))
        return messages.CreateImageResponse(image=_message(image))

    def update(self, request: messages.UpdateImageRequest) -> messages.UpdateImageResponse:
        """Change the fields in the mask; without a mask target and labels."""
        _require_name(request.image)
        with self._mutex:
            old = self._found(request.image.name)
            updated = _merged(old, request.image, request.update_mask.paths)
            target = _target(updated)
            check_labels(updated.labels, "image.Labels: ")
            image = self._images.put(updated.name, target, dict(updated.labels))
        return messages.UpdateImageResponse(image=_message(image))

    def delete(self, request: messages.DeleteImageRequest) -> None:
        """Delete a name. ``sync`` has no effect: there is no garbage collection to wait for."""
        with self._mutex:
            self._found(request.name)
            self._images.delete(request.name)

    def _found(self, name: str) -> Image:
        try:
            return self._images.get(name)
        except NotFound:
            raise not_found("image", name) from None

    def _exists(self, name: str) -> bool:
        try:
            self._images.get(name)
        except NotFound:
            return False
        return True


def images_service(images: Images) -> grpc.GenericRpcHandler:
    """The service's handlers."""
    return service(
        names.IMAGES,
        {
            "Get": Method(messages.GetImageRequest, images.get),
            "List": Method(messages.ListImagesRequest, images.list),
            "Create": Method(messages.CreateImageRequest, images.create),
            "Update": Method(messages.UpdateImageRequest, images.update),
            "Delete": Method(messages.DeleteImageRequest, images.delete),
        },
    )


def _require_name(image: messages.Image) -> None:
    if not image.name:
        raise StatusError(Code.INVALID_ARGUMENT, "Image.Name required")


def _target(image: messages.Image) -> Descriptor:
    """The target that a request names. Raises StatusError."""
    target = image.target
    try:
        digest = Digest.parse(target.digest)
    except InvalidArgument as error:
        raise invalid(f"Target.Digest {quoted(target.digest)} invalid: {error}") from None
    if target.size <= 0:
        raise invalid("Target.Size must be greater than zero")
    if not target.media_type:
        raise invalid("Target.MediaType must be set")
    return Descriptor(target.media_type, digest, target.size)


def _merged(old: Image, new: messages.Image, mask: Sequence[str]) -> messages.Image:
    """The image after an update. Annotations are accepted and dropped: `Descriptor` has none."""
    if not mask:
        return new
    merged = _message(old)
    for path in mask:
        if path == "target":
            merged.target.CopyFrom(new.target)
        elif path == "labels":
            merged.labels.clear()
            merged.labels.update(new.labels)
        elif path.startswith("labels."):
            _set_label(merged, new, path.removeprefix("labels."))
        elif path != "annotations" and not path.startswith("annotations."):
            name = quoted(new.name)
            raise invalid(f"cannot update {quoted(path)} field on image {name}")
    return merged


def _set_label(image: messages.Image, new: messages.Image, key: str) -> None:
    if value := new.labels.get(key, ""):
        image.labels[key] = value
    else:
        image.labels.pop(key, None)


def _message(image: Image) -> messages.Image:
    target = image.target
    return messages.Image(
        name=image.name,
        labels=image.labels,
        target=WireDescriptor(
            media_type=target.media_type, digest=str(target.digest), size=target.size
        ),
        created_at=timestamp(image.created_ns),
        updated_at=timestamp(image.updated_ns),
    )


def _fields(image: Image) -> Callable[[tuple[str, ...]], tuple[str, bool]]:
    """The fields of an image that filters can select."""
    plain = {
        ("name",): image.name,
        ("target", "digest"): str(image.target.digest),
        ("target", "mediatype"): image.target.media_type,
    }

    def field(path: tuple[str, ...]) -> tuple[str, bool]:
        if path[0] == "labels":
            key = ".".join(path[1:])
            return image.labels.get(key, ""), key in image.labels
        value = plain.get(path[:2] if path[0] == "target" else path[:1], "")
        return value, bool(value)

    return field
