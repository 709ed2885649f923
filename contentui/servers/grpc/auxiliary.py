"""All services except the content service, as handlers for one server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from contentui.content.helpers import image_names
from contentui.protocol import (
    content_pb2,
    images_pb2,
    introspection_pb2,
    leases_pb2,
    namespaces_pb2,
    version_pb2,
)
from contentui.servers.grpc.errors import Code, StatusError, abort
from contentui.servers.grpc.health import HealthAndReflection
from contentui.servers.grpc.images import Images, images_service
from contentui.servers.grpc.introspection import introspection_service, version_service
from contentui.servers.grpc.leases import Leases, leases_service
from contentui.servers.grpc.namespaces import namespaces_service

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
"""The names that health and reflection report."""


class AuxiliaryServices:
    """Leases, Images, Introspection, Version, Namespaces, health and reflection of one server.

    Attributes:
        handlers: for ``grpc.Server.add_generic_rpc_handlers``, after those of the content
            service: the last one rejects every method that has no handler before it.
    """

    def __init__(self, store: Store, identity: Identity) -> None:
        self._health_and_reflection = HealthAndReflection(SERVICES)
        self.handlers: tuple[grpc.GenericRpcHandler, ...] = (
            leases_service(Leases()),
            images_service(Images(image_names(store))),
            introspection_service(identity),
            version_service(),
            namespaces_service(),
            *self._health_and_reflection.handlers,
            _UnknownMethods(),
        )

    def drain(self) -> None:
        """Report NOT_SERVING to health checks."""
        self._health_and_reflection.drain()


class _UnknownMethods(grpc.GenericRpcHandler):
    """Rejects every method that no other handler has, with grpc-go's texts."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        service, _, name = details.method.lstrip("/").rpartition("/")
        is_known = service in SERVICES
        text = f"unknown {f'method {name} for ' if is_known else ''}service {service}"

        def reject(_requests: object, context: grpc.ServicerContext) -> Iterator[bytes]:
            abort(context, StatusError(Code.UNIMPLEMENTED, text))

        return grpc.stream_stream_rpc_method_handler(reject)
