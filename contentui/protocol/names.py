"""The names, limits and metadata that clients and servers of containerd's services agree on."""

from __future__ import annotations

CONTENT = "containerd.services.content.v1.Content"
IMAGES = "containerd.services.images.v1.Images"
INTROSPECTION = "containerd.services.introspection.v1.Introspection"
LEASES = "containerd.services.leases.v1.Leases"
NAMESPACES = "containerd.services.namespaces.v1.Namespaces"
VERSION = "containerd.services.version.v1.Version"

NAMESPACE = "containerd-namespace"
"""The metadata key of the namespace; every call to a containerd needs it."""
LEASE = "containerd-lease"
"""The metadata key of the lease that keeps what a call stores."""

MAX_MESSAGE = 16 << 20
"""The longest message in bytes, framing included (content-store.md 4)."""
READ_PIECE = 1 << 20
"""Bytes of a blob in one message of an answer to Read."""
LIST_PIECE = 100
"""Infos in one message of an answer to List."""

LABELS_UNKNOWN = "contentui/labels-unknown"
"""A label that our service adds to a blob whose labels are unknown.

The protocol cannot express that, and a blob without labels counts as unreferenced.
"""

CONTENT_PLUGIN = "io.containerd.content.v1"
"""The type of the plugin that keeps the content, in answers of Introspection/Plugins."""
OUR_PLUGIN = "contentui"
"""The id of that plugin when a service of ours answers."""
EXPORT_ROOT = "root"
"""That plugin's export: its directory."""
EXPORT_FOR = "for-containerd"
"""An export of ours: the root of the containerd that alone may change this store."""
EXPORT_READ_ONLY = "read-only"
"""An export of ours: why the service lets nothing be changed."""


def method(service: str, name: str) -> str:
    """The path of a method: ``/package.Service/Method``."""
    return f"/{service}/{name}"
