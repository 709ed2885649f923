"""Images and leases: containerd and our server respond with the same codes and texts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
import pytest

from contentui.content.digest import Digest
from contentui.protocol import images_pb2 as images
from contentui.protocol import leases_pb2 as leases
from contentui.protocol.names import IMAGES, LEASES, NAMESPACE, method
from contentui.protocol.types_pb2 import Descriptor
from contentui.servers.grpc.auxiliary import AuxiliaryServices
from contentui.servers.grpc.identity import identify
from contentui.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from interop_live import Live

KIND = "application/vnd.oci.image.manifest.v1+json"
ONE, TWO = str(Digest.of(b"1")), str(Digest.of(b"2"))


class Both(NamedTuple):
    """Two channels that are asked the same."""

    theirs: grpc.Channel
    ours: grpc.Channel

    def same(self, service: str, name: str, request: Any, answer: Any = None) -> Any:
        """What both answer, without times: the message, or code and text."""
        theirs, ours = (_ask(channel, service, name, request, answer) for channel in self)
        assert ours == theirs
        return ours


def _ask(channel: grpc.Channel, service: str, name: str, request: Any, answer: Any) -> Any:
    call = channel.unary_unary(method(service, name))
    try:
        data = call(request.SerializeToString(), metadata=[(NAMESPACE, "side")], timeout=10)
    except grpc.RpcError as error:
        return error.code(), error.details()
    return _without_times(answer.FromString(data)) if answer else data


def _without_times(message: Any) -> Any:
    for field, value in message.ListFields():
        if field.name in {"created_at", "updated_at"}:
            message.ClearField(field.name)
        elif field.message_type and not field.message_type.GetOptions().map_entry:
            for item in value if hasattr(value, "append") else [value]:
                _without_times(item)
    return message


@pytest.fixture(scope="module")
def both(containerd: Live, short_tmp: Path) -> Iterator[Both]:
    side = AuxiliaryServices(MemoryStore(), identify(""))
    server = grpc.server(ThreadPoolExecutor(4), handlers=side.handlers)
    server.add_insecure_port(f"unix:{short_tmp}/side")
    server.start()
    with (
        grpc.insecure_channel(f"unix:{containerd.socket}") as theirs,
        grpc.insecure_channel(f"unix:{short_tmp}/side") as ours,
    ):
        yield Both(theirs, ours)
    server.stop(0).wait()


def image(name="x", digest=ONE, size=10, kind=KIND, **labels):
    target = Descriptor(media_type=kind, digest=digest, size=size)
    return images.Image(name=name, target=target, labels=labels)


def updating(new, *mask):
    request = images.UpdateImageRequest(image=new)
    request.update_mask.paths.extend(mask)
    return request


def test_images(both):
    def create(new):
        request = images.CreateImageRequest(image=new)
        return both.same(IMAGES, "Create", request, images.CreateImageResponse)

    def update(new, *mask):
        return both.same(IMAGES, "Update", updating(new, *mask), images.UpdateImageResponse)

    def get(name):
        request = images.GetImageRequest(name=name)
        return both.same(IMAGES, "Get", request, images.GetImageResponse)

    def listed(*filters):
        request = images.ListImagesRequest(filters=filters)
        return both.same(IMAGES, "List", request, images.ListImagesResponse)

    get("x")
    update(image())
    create(image(a="1"))
    create(image())
    create(image("y", TWO, 5, "other", b="2"))
    for bad in (
        image(""),
        image("z", size=0),
        image("z", size=-5),
        image("z", kind=""),
        image("z", k="v" * 4096),
        image("z", **{"k" * 5000: ""}),
    ):
        assert create(bad)[0] == grpc.StatusCode.INVALID_ARGUMENT
    for filters in (
        ["name==x"], ["name!=x"], ["target.digest~=^sha256"], ["target.mediatype==other"],
        ["target"], ["labels.a"], ["labels.a==1", "labels.b==2"], ["annotations.a"], ["other"],
        [""], ['name=="docker.io/x"'],
    ):  # fmt: skip
        listed(*filters)
    update(image("x", TWO, 20, "other", a="5", b="6"), "labels.a")
    update(image("x", TWO, 20, "other", a="5", b="6"), "target", "labels")
    update(image("x", ONE, 20, "other"), "size")
    update(image("x", ONE, 20, "other"), "labels.a", "name")
    update(image("x", ONE, 0, "other"), "target")
    update(image(""), "target")
    update(image("x", ONE, 7, "third", c="3"))
    get("x")
    for name in ("x", "y", "y"):
        both.same(IMAGES, "Delete", images.DeleteImageRequest(name=name))
    assert not listed().images


def test_leases(both):
    def create(name, **labels):
        request = leases.CreateRequest(id=name, labels=labels)
        return both.same(LEASES, "Create", request, leases.CreateResponse)

    def resource(verb, lease, name, kind):
        named = leases.Resource(id=name, type=kind)
        request = {"AddResource": leases.AddResourceRequest, "DeleteResource":
                   leases.DeleteResourceRequest}[verb](id=lease, resource=named)  # fmt: skip
        return both.same(LEASES, verb, request)

    def resources(lease):
        request = leases.ListResourcesRequest(id=lease)
        return both.same(LEASES, "ListResources", request, leases.ListResourcesResponse)

    create("a", x="1")
    create("a")
    create("b")
    for filters in (["id==a"], ["labels.x==1"], ["labels.x"], ["id!=a"], ["other"], []):
        request = leases.ListRequest(filters=filters)
        both.same(LEASES, "List", request, leases.ListResponse)
    for kind, name in (
        ("content", ONE), ("ingests", "x"), ("ingests/", "x"), ("content/x", ONE),
        ("snapshots", "x"), ("snapshots/a/b", "x"), ("snapshots/native", "x"), ("other", "x"),
        ("", "x"), ("other/x", "x"),
    ):  # fmt: skip
        for lease in ("a", "none"):
            resource("AddResource", lease, name, kind)
        resources("a")
    resource("DeleteResource", "a", "x", "ingests")
    resource("DeleteResource", "a", "x", "ingests")
    resource("DeleteResource", "a", "x", "other")
    resources("a")
    resources("none")
    for name in ("a", "b", "b"):
        both.same(LEASES, "Delete", leases.DeleteRequest(id=name))


@pytest.mark.parametrize(
    "path", ["/a.b.Events/Other", f"/{IMAGES}/Other", f"/{LEASES}/Other", "/x/y"]
)
def test_unknown_methods(both, path):
    found = []
    for channel in both:
        with pytest.raises(grpc.RpcError) as error:
            channel.unary_unary(path)(b"", timeout=10, metadata=[(NAMESPACE, "side")])
        found.append((error.value.code(), error.value.details()))
    assert found[0] == found[1]
