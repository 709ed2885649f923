"""The Namespaces service of a store that has none: every name stands for the same content."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.content.model import is_namespace
from contentui.protocol import names
from contentui.protocol.namespaces_pb2 import (
    CreateNamespaceRequest,
    DeleteNamespaceRequest,
    GetNamespaceRequest,
    GetNamespaceResponse,
    ListNamespacesRequest,
    ListNamespacesResponse,
    Namespace,
    UpdateNamespaceRequest,
)
from contentui.servers.grpc.answers import Code, Refusal, quoted
from contentui.servers.grpc.unary import Method, already_exists, invalid, service

if TYPE_CHECKING:
    import grpc
    from google.protobuf.message import Message

DEFAULT = "default"
"""The one that is listed, because it is the one that clients send unless told otherwise."""
_FLAT = "this store is flat: every namespace is accepted and shows the same content"


def namespaces_service() -> grpc.GenericRpcHandler:
    """The handlers of the service."""
    return service(
        names.NAMESPACES,
        {
            "Get": Method(GetNamespaceRequest, _get),
            "List": Method(ListNamespacesRequest, _list),
            "Create": Method(CreateNamespaceRequest, _create),
            "Update": Method(UpdateNamespaceRequest, _refuse),
            "Delete": Method(DeleteNamespaceRequest, _refuse),
        },
    )


def _get(request: GetNamespaceRequest) -> GetNamespaceResponse:
    """Any name at all, without labels, as containerd answers for one that it doesn't know."""
    return GetNamespaceResponse(namespace=Namespace(name=request.name))


def _list(_: ListNamespacesRequest) -> ListNamespacesResponse:
    return ListNamespacesResponse(namespaces=[Namespace(name=DEFAULT)])


def _create(request: CreateNamespaceRequest) -> Message:
    name = request.namespace.name
    if not is_namespace(name):
        raise invalid(f"namespace {quoted(name)} is not a valid name")
    if name == DEFAULT:
        raise already_exists("namespace", name)
    raise Refusal(Code.UNIMPLEMENTED, f"{_FLAT}, and none needs to be created")


def _refuse(_: Message) -> Message:
    raise Refusal(Code.UNIMPLEMENTED, f"{_FLAT}; none can be changed or removed")
