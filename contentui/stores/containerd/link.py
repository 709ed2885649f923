"""What all parts of the store share: the connection, who answers on it, which namespaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import Message

from contentui.protocol import names
from contentui.stores.containerd.identity import Identity, ask
from contentui.stores.containerd.messages import decoded
from contentui.stores.containerd.scope import Scope
from contentui.stores.containerd.transport import UNARY_S, Connection, Metadata
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from contentui.stores.containerd.transport import Incoming

M = TypeVar("M", bound=Message)


class Link:
    """A socket, greeted: whoever answers has been asked who it is."""

    def __init__(
        self, socket: str, namespaces: Sequence[str] | None, timeout_s: float = UNARY_S
    ) -> None:
        self.socket = socket
        self.identity = Identity()
        self.generation = 0
        """Differs after another connection was made."""
        self._news: list[str] = []
        self.scope = Scope(namespaces, self._scoped)
        self.connection = Connection(socket, self._greet, timeout_s=timeout_s)

    def open(self) -> None:
        """Find out who answers. Raises Unavailable, PermissionDenied."""
        self.connection.open()
        self.scope.all()

    def call(
        self, service: str, name: str, request: bytes, namespace: str = "", lease: str = ""
    ) -> bytes:
        """The answer to one request, in raw bytes."""
        meta = Metadata(namespace, lease)
        return self.connection.unary(names.method(service, name), request, meta)

    def ask(
        self,
        service: str,
        name: str,
        request: Message,
        answer: type[M],
        namespace: str = "",
    ) -> M:
        """The answer to one request, as a message.

        Raises:
            InvalidArgument: text that UTF-8 can't carry.
            DataLoss: the answer can't be read.
        """
        data = self.call(service, name, request.SerializeToString(), namespace)
        return decoded(answer.FromString, data, name)

    def stream(self, service: str, name: str, request: bytes, namespace: str = "") -> Incoming:
        """The answers to one request, in raw bytes."""
        return self.connection.stream(names.method(service, name), request, Metadata(namespace))

    def news(self) -> list[str]:
        """What a person must hear, once."""
        news, self._news = self._news, []
        return news

    def _scoped(self, path: str, request: bytes) -> bytes:
        return self.connection.unary(path, request, Metadata())

    def _greet(self, send: Callable[[str, bytes], bytes]) -> None:
        before, self.identity = self.identity, ask(send)
        if self.generation and before.uuid != self.identity.uuid:
            self._news.append(
                f"the socket {visible(self.socket)} belongs to another daemon than before: "
                "what is shown now is that one's"
            )
        self.scope.flat = self.identity.flat
        self.scope.forget()
        self.generation += 1
