"""The Introspection service: which service this is, and its one plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty

from contentui.content.filters import compile_filters
from contentui.protocol import names
from contentui.protocol.introspection_pb2 import (
    Plugin,
    PluginsRequest,
    PluginsResponse,
    ServerResponse,
)
from contentui.servers.grpc.unary import Method, service

if TYPE_CHECKING:
    import grpc

    from contentui.servers.grpc.identity import Identity


def introspection_service(identity: Identity) -> grpc.GenericRpcHandler:
    """The handlers of the service."""
    plugin = _plugin(identity)
    server = ServerResponse(uuid=identity.uuid, pid=identity.pid, pidns=identity.pid_namespace)

    def plugins(request: PluginsRequest) -> PluginsResponse:
        def field(path: tuple[str, ...]) -> tuple[str, bool]:
            value = {"type": plugin.type, "id": plugin.id}.get(path[0], "")
            return value, bool(value)

        matches = compile_filters(request.filters)(field)
        return PluginsResponse(plugins=[plugin] if matches else [])

    return service(
        names.INTROSPECTION,
        {"Plugins": Method(PluginsRequest, plugins), "Server": Method(Empty, lambda _: server)},
    )


def _plugin(identity: Identity) -> Plugin:
    exports = {
        names.EXPORT_ROOT: identity.root,
        names.EXPORT_FOR: identity.for_containerd,
        names.EXPORT_READ_ONLY: identity.read_only,
    }
    # what is no text in a path could not be sent
    texts = {k: v.encode("utf-8", "replace").decode() for k, v in exports.items() if v}
    return Plugin(type=names.CONTENT_PLUGIN, id=names.OUR_PLUGIN, exports=texts)
