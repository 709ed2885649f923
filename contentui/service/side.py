"""Everything that clients call beside the content service, as handlers for one server."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import grpc

from contentui.protocol import names
from contentui.service.images import Images, images_service
from contentui.service.introspection import introspection_service
from contentui.service.leases import Leases, leases_service
from contentui.service.namespaces import namespaces_service
from contentui.service.version import version_service

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from contentui.content.store import Store
    from contentui.service.identity import Identity

SERVICES = (
    names.CONTENT,
    names.IMAGES,
    names.INTROSPECTION,
    names.LEASES,
    names.NAMESPACES,
    names.VERSION,
)
"""What health and reflection speak of."""


class SideServices:
    """Leases, Images, Introspection, Version, Namespaces, health and reflection of one service.

    Attributes:
        handlers: for ``grpc.Server.add_generic_rpc_handlers``, behind those of the content
            service: the last one refuses everything that nobody before it knows.
    """

    def __init__(self, store: Store, identity: Identity) -> None:
        from grpc_health.v1 import health, health_pb2_grpc
        from grpc_reflection.v1alpha import reflection

        self._health = health.HealthServicer()
        collected = _Collector()
        server = cast("grpc.Server", collected)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection(
            (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server
        )
        self.handlers: tuple[grpc.GenericRpcHandler, ...] = (
            leases_service(Leases()),
            images_service(Images(store.images)),
            introspection_service(identity),
            version_service(),
            namespaces_service(),
            *collected.handlers,
            _Unknown(),
        )
        self._set_health("SERVING")

    def drain(self) -> None:
        """Tell whoever asks for health that no new work should come."""
        self._set_health("NOT_SERVING")

    def _set_health(self, state: str) -> None:
        from grpc_health.v1 import health_pb2

        value = health_pb2.HealthCheckResponse.ServingStatus.Value(state)
        for name in ("", *SERVICES):
            self._health.set(name, value)


def handlers(store: Store, identity: Identity) -> list[grpc.GenericRpcHandler]:
    """The handlers of `SideServices`, for a server that needs nothing else of them."""
    return list(SideServices(store, identity).handlers)


class _Collector:
    """Takes the place of a server for packages that register handlers instead of giving them."""

    def __init__(self) -> None:
        self.handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, found: Sequence[grpc.GenericRpcHandler]) -> None:
        self.handlers.extend(found)

    def add_registered_method_handlers(self, _service: str, _handlers: object) -> None:
        """The generic ones, which come as well, do."""


class _Unknown(grpc.GenericRpcHandler):
    """Refuses every method that no other handler has, in containerd's words."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        _, service, name = ("//" + details.method.lstrip("/")).rsplit("/", 2)
        service = service.lstrip("/")
        text = f"unknown method {name} for service {service}"
        if service not in SERVICES:
            text = f"unknown service {service}"

        def refuse(_requests: object, context: grpc.ServicerContext) -> Iterator[bytes]:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, text[:4096])

        return grpc.stream_stream_rpc_method_handler(refuse)
