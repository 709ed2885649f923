"""The Version service: which release of what answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty

from contentui import __version__
from contentui.protocol import names
from contentui.protocol.version_pb2 import VersionResponse
from contentui.servers.grpc.unary import Method, service

if TYPE_CHECKING:
    import grpc

REVISION = "flat store: namespaces are accepted and ignored"
"""Where others name a commit: what whoever asks for the version should know."""


def version_service() -> grpc.GenericRpcHandler:
    """The handlers of the service."""
    answer = VersionResponse(version=f"contentui {__version__}", revision=REVISION)
    return service(names.VERSION, {"Version": Method(Empty, lambda _: answer)})
