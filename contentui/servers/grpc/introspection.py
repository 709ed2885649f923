"""The Introspection and Version services: which server this is, and its one plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty

from contentui import __version__
from contentui.content.filters import compile_filters
from contentui.protocol import names
from contentui.protocol.introspection_pb2 import (
    Plugin,
    PluginsRequest,
    PluginsResponse,
    ServerResponse,
)
from contentui.protocol.version_pb2 import VersionResponse
from contentui.servers.grpc.unary import Method, service

if TYPE_CHECKING:
    import grpc

    from contentui.servers.grpc.identity import Identity

REVISION = "flat store: namespaces are accepted and ignored"
"""Sent in place of a commit, so that ``ctr version`` shows it."""


def introspection_service(identity: Identity) -> grpc.GenericRpcHandler:
    """The service's handlers."""
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


def version_service() -> grpc.GenericRpcHandler:
    """The service's handlers."""
    response = VersionResponse(version=f"contentui {__version__}", revision=REVISION)
    return service(names.VERSION, {"Version": Method(Empty, lambda _: response)})


def _plugin(identity: Identity) -> Plugin:
    exports = {
        names.EXPORT_ROOT: identity.root,
        names.EXPORT_FOR: identity.for_containerd,
        names.EXPORT_READ_ONLY: identity.read_only,
    }
    # protobuf cannot carry undecodable bytes of a path
    texts = {k: v.encode("utf-8", "replace").decode() for k, v in exports.items() if v}
    return Plugin(type=names.CONTENT_PLUGIN, id=names.OUR_PLUGIN, exports=texts)
