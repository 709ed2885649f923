"""The names, limits and metadata keys of containerd's services, for clients and servers."""

from __future__ import annotations

CONTENT = "containerd.services.content.v1.Content"
IMAGES = "containerd.services.images.v1.Images"
INTROSPECTION = "containerd.services.introspection.v1.Introspection"
LEASES = "containerd.services.leases.v1.Leases"
NAMESPACES = "containerd.services.namespaces.v1.Namespaces"
VERSION = "containerd.services.version.v1.Version"

NAMESPACE = "containerd-namespace"
"""The metadata key of the namespace, which containerd requires (``pkg/namespaces/grpc.go``)."""
LEASE = "containerd-lease"
"""The metadata key of the lease that protects what a call stores (``core/leases/grpc.go``)."""

MAX_MESSAGE = 16 << 20
"""Bytes of the longest message, framing included (``defaults/defaults.go``)."""
READ_CHUNK = 1 << 20
"""Bytes of a blob in one ReadContentResponse (``contentserver.go``)."""
LIST_CHUNK = 100
"""Blobs in one ListContentResponse (``contentserver.go``)."""

LABELS_UNKNOWN = "contentui/labels-unknown"
"""A label that our server adds to a blob whose labels are unknown.

The protocol cannot express that, and a blob without labels would count as unreferenced.
"""

CONTENT_PLUGIN = "io.containerd.content.v1"
"""The type of content plugins in responses of Introspection/Plugins."""
OUR_PLUGIN = "contentui"
"""The id of our server's plugin."""
EXPORT_ROOT = "root"
"""An export of content plugins: the store's directory."""
EXPORT_FOR = "for-containerd"
"""An export of our plugin: the root of the only containerd that may change the store."""
EXPORT_READ_ONLY = "read-only"
"""An export of our plugin: why the store is read-only."""


def method(service: str, name: str) -> str:
    """The path of a method: ``/package.Service/Method``."""
    return f"/{service}/{name}"
