"""What all parts of the store share: the connection, the server's identity, the namespaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import Message

from contentui.protocol import names
from contentui.stores.containerd.messages import decoded
from contentui.stores.containerd.namespaces import Namespaces
from contentui.stores.containerd.server_info import ServerInfo, server_info
from contentui.stores.containerd.transport import UNARY_TIMEOUT_S, Connection, Metadata
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from contentui.stores.containerd.transport import ResponseStream

M = TypeVar("M", bound=Message)


class Client:
    """Calls to the server behind a socket, which is asked for its identity on each connection."""

    def __init__(
        self, socket: str, namespaces: Sequence[str] | None, timeout_s: float = UNARY_TIMEOUT_S
    ) -> None:
        self.socket = socket
        self.server = ServerInfo()
        self.generation = 0
        """Counts the connections."""
        self._notifications: list[str] = []
        self.namespaces = Namespaces(
            namespaces, lambda path, request: self.connection.unary(path, request, Metadata())
        )
        self.connection = Connection(socket, self._handshake, timeout_s=timeout_s)

    def open(self) -> None:
        """Connect, and list the namespaces. Raises Unavailable, PermissionDenied."""
        self.connection.open()
        self.namespaces.all()

    def call(
        self, service: str, name: str, request: bytes, namespace: str = "", lease: str = ""
    ) -> bytes:
        """The response to one request, in bytes. Raises ContentError."""
        meta = Metadata(namespace, lease)
        return self.connection.unary(names.method(service, name), request, meta)

    def request(
        self, service: str, name: str, request: Message, response: type[M], namespace: str = ""
    ) -> M:
        """The response to one request, as a message.

        Raises:
            DataLoss: the response cannot be decoded.
            ContentError: the server's error.
        """
        data = self.call(service, name, request.SerializeToString(), namespace)
        return decoded(response.FromString, data, name)

    def stream(
        self, service: str, name: str, request: bytes, namespace: str = ""
    ) -> ResponseStream:
        """The responses to one request, in bytes."""
        return self.connection.stream(names.method(service, name), request, Metadata(namespace))

    def notifications(self) -> list[str]:
        """Sentences about the connection that a user must see, each returned once."""
        found, self._notifications = self._notifications, []
        return found

    def _handshake(self, send: Callable[[str, bytes], bytes]) -> None:
        before, self.server = self.server, server_info(send)
        if self.generation and before.uuid != self.server.uuid:
            self._notifications.append(
                f"another daemon than before listens on {visible(self.socket)}: "
                "its content is shown now"
            )
        self.namespaces.flat = self.server.flat
        self.namespaces.forget()
        self.generation += 1
