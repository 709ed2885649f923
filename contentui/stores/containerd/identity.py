"""Which daemon answers on a socket, and what it says about its content."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from contentui.protocol import introspection_pb2 as pb
from contentui.protocol import names
from contentui.stores.containerd.messages import decoded
from contentui.stores.containerd.refusals import Unimplemented

if TYPE_CHECKING:
    from collections.abc import Callable

_METADATA_PLUGIN = "io.containerd.metadata.v1"
_LOCAL_ID = "content"
_MAX_TEXT = 4096


class Identity(NamedTuple):
    """What a daemon told about itself when it was greeted."""

    uuid: str = ""
    """Empty when it has none."""
    flat: bool = True
    """It has no namespaces, labels' collector or leases in front of its content."""
    root: str = ""
    """Its content's directory as the daemon sees it; empty when it didn't say; hostile text."""
    local: bool = True
    """Its own process has the content's files open, not a service behind it."""
    read_only: str = ""
    """Why a service of ours lets nothing be changed."""
    for_daemon: str = ""
    """The root of the containerd that alone may change a store of ours."""

    @property
    def read_only_reason(self) -> str:
        """Why nothing may be changed through this socket, as a sentence; empty when it may."""
        if self.read_only:
            return f"the service may only be looked at: {self.read_only}"
        if self.for_daemon:
            return (
                f"the containerd with the root {self.for_daemon} keeps its content here, and it "
                "alone may change it: use that daemon's socket"
            )
        return ""


def ask(send: Callable[[str, bytes], bytes]) -> Identity:
    """Who answers; a service without introspection has no namespaces either."""
    try:
        server = send(names.method(names.INTROSPECTION, "Server"), b"")
        request = pb.PluginsRequest(
            filters=[f"type=={names.CONTENT_PLUGIN}", f"type=={_METADATA_PLUGIN}"]
        )
        plugins = send(names.method(names.INTROSPECTION, "Plugins"), request.SerializeToString())
    except Unimplemented:
        return Identity()
    uuid = decoded(pb.ServerResponse.FromString, server, "Introspection/Server").uuid[:200]
    found = decoded(pb.PluginsResponse.FromString, plugins, "Introspection/Plugins").plugins
    return _identity(uuid, list(found))


def _identity(uuid: str, plugins: list[pb.Plugin]) -> Identity:
    flat = not any(plugin.type == _METADATA_PLUGIN for plugin in plugins)
    content = [plugin for plugin in plugins if plugin.type == names.CONTENT_PLUGIN]
    if not flat:
        local = next((plugin for plugin in content if plugin.id == _LOCAL_ID), None)
        root = local.exports.get(names.EXPORT_ROOT, "") if local else ""
        return Identity(uuid, flat, root[:_MAX_TEXT], local is not None and len(content) == 1)
    ours = next((plugin for plugin in content if plugin.id == names.OUR_PLUGIN), None)
    exports = ours.exports if ours else {}
    return Identity(
        uuid,
        flat,
        exports.get(names.EXPORT_ROOT, "")[:_MAX_TEXT],
        local=True,
        read_only=exports.get(names.EXPORT_READ_ONLY, "")[:_MAX_TEXT],
        for_daemon=exports.get(names.EXPORT_FOR, "")[:_MAX_TEXT],
    )
