"""Which server listens on a socket, and what it reports about its content."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from contentui.protocol import introspection_pb2 as pb
from contentui.protocol import names
from contentui.stores.containerd.errors import Unimplemented
from contentui.stores.containerd.messages import decoded

if TYPE_CHECKING:
    from collections.abc import Callable

_METADATA_PLUGIN = "io.containerd.metadata.v1"
_LOCAL_ID = "content"
_MAX_TEXT = 4096


class ServerInfo(NamedTuple):
    """What a server reports through Introspection."""

    uuid: str = ""
    """Empty without one."""
    flat: bool = True
    """It has no metadata store: no namespaces, no garbage collection, no leases."""
    root: str = ""
    """Its content directory in its own mount namespace; empty if unknown; untrusted text."""
    local: bool = True
    """Its own process has the content files open, not a server behind it (proxy plugin)."""
    read_only: str = ""
    """Why our server is read-only; empty if it is not."""
    for_daemon: str = ""
    """The root of the only containerd that may change our server's store; empty without one."""

    @property
    def read_only_reason(self) -> str:
        """Why nothing can be changed through this socket, as a sentence; else empty."""
        if self.read_only:
            return f"the server is read-only: {self.read_only}"
        if self.for_daemon:
            return (
                f"only the containerd with the root {self.for_daemon} may change its content here: "
                "use that daemon's socket"
            )
        return ""


def server_info(send: Callable[[str, bytes], bytes]) -> ServerInfo:
    """Ask a server; one without Introspection has no namespaces either. Raises ContentError."""
    try:
        server = send(names.method(names.INTROSPECTION, "Server"), b"")
        request = pb.PluginsRequest(
            filters=[f"type=={names.CONTENT_PLUGIN}", f"type=={_METADATA_PLUGIN}"]
        )
        plugins = send(names.method(names.INTROSPECTION, "Plugins"), request.SerializeToString())
    except Unimplemented:
        return ServerInfo()
    uuid = decoded(pb.ServerResponse.FromString, server, "Introspection/Server").uuid[:200]
    found = decoded(pb.PluginsResponse.FromString, plugins, "Introspection/Plugins").plugins
    return _parsed(uuid, list(found))


def _parsed(uuid: str, plugins: list[pb.Plugin]) -> ServerInfo:
    flat = not any(plugin.type == _METADATA_PLUGIN for plugin in plugins)
    content = [plugin for plugin in plugins if plugin.type == names.CONTENT_PLUGIN]
    if not flat:
        local = next((plugin for plugin in content if plugin.id == _LOCAL_ID), None)
        root = local.exports.get(names.EXPORT_ROOT, "") if local else ""
        return ServerInfo(uuid, flat, root[:_MAX_TEXT], local is not None and len(content) == 1)
    ours = next((plugin for plugin in content if plugin.id == names.OUR_PLUGIN), None)
    exports = ours.exports if ours else {}
    return ServerInfo(
        uuid,
        flat,
        exports.get(names.EXPORT_ROOT, "")[:_MAX_TEXT],
        local=True,
        read_only=exports.get(names.EXPORT_READ_ONLY, "")[:_MAX_TEXT],
        for_daemon=exports.get(names.EXPORT_FOR, "")[:_MAX_TEXT],
    )
