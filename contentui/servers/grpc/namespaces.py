"""The Namespaces service of a store without namespaces: every name shows the same content."""

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
from contentui.servers.grpc.errors import Code, StatusError, quoted
from contentui.servers.grpc.unary import Method, already_exists, invalid, service

if TYPE_CHECKING:
    import grpc
    from google.protobuf.message import Message

DEFAULT = "default"
"""The only one that is listed: ``ctr`` and Go clients send it by default."""
_FLAT = "this store is flat: every namespace is accepted and shows the same content"


def namespaces_service() -> grpc.GenericRpcHandler:
    """The service's handlers."""
    return service(
        names.NAMESPACES,
        {
            "Get": Method(GetNamespaceRequest, _get),
            "List": Method(ListNamespacesRequest, _list),
            "Create": Method(CreateNamespaceRequest, _create),
            "Update": Method(UpdateNamespaceRequest, _reject),
            "Delete": Method(DeleteNamespaceRequest, _reject),
        },
    )


def _get(request: GetNamespaceRequest) -> GetNamespaceResponse:
    """Any name, without labels, as containerd responds for one that does not exist."""
    return GetNamespaceResponse(namespace=Namespace(name=request.name))


def _list(_: ListNamespacesRequest) -> ListNamespacesResponse:
    return ListNamespacesResponse(namespaces=[Namespace(name=DEFAULT)])


def _create(request: CreateNamespaceRequest) -> Message:
    name = request.namespace.name
    if not is_namespace(name):
        raise invalid(f"namespace {quoted(name)} is not a valid name")
    if name == DEFAULT:
        raise already_exists("namespace", name)
    raise StatusError(Code.UNIMPLEMENTED, f"{_FLAT}; none can be created")


def _reject(_: Message) -> Message:
    raise StatusError(Code.UNIMPLEMENTED, f"{_FLAT}; none can be changed or removed")
