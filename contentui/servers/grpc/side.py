"""Everything that clients call beside the content service, as handlers for one server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from contentui.protocol import (
    content_pb2,
    images_pb2,
    introspection_pb2,
    leases_pb2,
    namespaces_pb2,
    version_pb2,
)
from contentui.servers.grpc.answers import Code, Refusal, end
from contentui.servers.grpc.images import Images, images_service
from contentui.servers.grpc.introspection import introspection_service
from contentui.servers.grpc.leases import Leases, leases_service
from contentui.servers.grpc.namespaces import namespaces_service
from contentui.servers.grpc.standard import StandardServices
from contentui.servers.grpc.version import version_service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contentui.content.store import Store
    from contentui.servers.grpc.identity import Identity

SERVICES = tuple(
    service.full_name
    for module in (
        content_pb2,
        images_pb2,
        introspection_pb2,
        leases_pb2,
        namespaces_pb2,
        version_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
)
"""What health and reflection speak of."""


class SideServices:
    """Leases, Images, Introspection, Version, Namespaces, health and reflection of one service.

    Attributes:
        handlers: for ``grpc.Server.add_generic_rpc_handlers``, behind those of the content
            service: the last one refuses everything that nobody before it knows.
    """

    def __init__(self, store: Store, identity: Identity) -> None:
        self._standard = StandardServices(SERVICES)
        self.handlers: tuple[grpc.GenericRpcHandler, ...] = (
            leases_service(Leases()),
            images_service(Images(store.images)),
            introspection_service(identity),
            version_service(),
            namespaces_service(),
            *self._standard.handlers,
            _Unknown(),
        )

    def drain(self) -> None:
        """Tell whoever asks for health that no new work should come."""
        self._standard.drain()


def handlers(store: Store, identity: Identity) -> list[grpc.GenericRpcHandler]:
    """The handlers of `SideServices`, for a server that needs nothing else of them."""
    return list(SideServices(store, identity).handlers)


class _Unknown(grpc.GenericRpcHandler):
    """Refuses every method that no other handler has, in containerd's words."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        service, _, name = details.method.lstrip("/").rpartition("/")
        is_known = service in SERVICES
        text = f"unknown {f'method {name} for ' if is_known else ''}service {service}"

        def refuse(_requests: object, context: grpc.ServicerContext) -> Iterator[bytes]:
            end(context, Refusal(Code.UNIMPLEMENTED, text))

        return grpc.stream_stream_rpc_method_handler(refuse)
