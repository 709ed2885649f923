"""The content service's wire as bytes: messages that no generated class would make, and calls."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any

import grpc

from contentui.protocol.names import CONTENT, MAX_MESSAGE, method

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LIMIT_S = 20.0
"""No call may take longer; one that does counts as hanging."""
OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
]
SHAPES = {
    "Info": "unary_unary",
    "Update": "unary_unary",
    "List": "unary_stream",
    "Delete": "unary_unary",
    "Read": "unary_stream",
    "Status": "unary_unary",
    "ListStatuses": "unary_unary",
    "Write": "stream_stream",
    "Abort": "unary_unary",
}


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def text_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def encode(value: Any) -> bytes:
    """A message: a mapping of field numbers to ints, text, bytes, mappings, or lists of these.

    A list of pairs of texts is a map's entries.
    """
    out = bytearray()
    for number, field in value.items():
        for one in field if isinstance(field, list) else [field]:
            if isinstance(one, int):
                if one:
                    out += varint(number << 3) + varint(one)
                continue
            body = _body(one)
            if body or isinstance(field, list) or isinstance(one, dict):
                out += varint(number << 3 | 2) + varint(len(body)) + body
    return bytes(out)


def _body(one: Any) -> bytes:
    if isinstance(one, bytes):
        return one
    if isinstance(one, str):
        return text_bytes(one)
    return encode(dict(enumerate(one, 1)) if isinstance(one, tuple) else one)


def labels_field(labels: Mapping[str, str]) -> list[tuple[str, str]]:
    return list(labels.items())


def decode(message: bytes) -> dict[int, list[Any]]:
    """A message's fields by number: ints, and bytes for everything that has a length."""
    found: dict[int, list[Any]] = {}
    at = 0
    while at < len(message):
        key, at = _take_varint(message, at)
        if key & 7 == 0:
            value: Any
            value, at = _take_varint(message, at)
        else:
            assert key & 7 == 2, f"an answer has a field of wire type {key & 7}"
            length, at = _take_varint(message, at)
            value = message[at : at + length]
            assert len(value) == length
            at += length
        found.setdefault(key >> 3, []).append(value)
    return found


def _take_varint(message: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = message[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7


def number(fields: Mapping[int, list[Any]], which: int) -> int:
    value: int = fields.get(which, [0])[-1]
    return value - (1 << 64) if value >> 63 else value


def text(fields: Mapping[int, list[Any]], which: int) -> str:
    value: bytes = fields.get(which, [b""])[-1]
    return value.decode("utf-8", "surrogateescape")


def seconds(fields: Mapping[int, list[Any]], which: int) -> int:
    """A timestamp's seconds; 0 where there is none."""
    return number(decode(fields.get(which, [b""])[-1]), 1)


def labels_of(fields: Mapping[int, list[Any]], which: int) -> dict[str, str]:
    entries = [decode(entry) for entry in fields.get(which, [])]
    return {text(entry, 1): text(entry, 2) for entry in entries}


class Refused(Exception):
    """A call ended with an error."""

    def __init__(self, error: grpc.RpcError) -> None:
        super().__init__(error.code().name, error.details())
        self.code: str = error.code().name
        self.details: str = error.details() or ""


class Wire:
    """Calls of the content service whose requests and answers are bytes."""

    def __init__(
        self, target: str, namespace: str = "default", options: Sequence[tuple[str, int]] = ()
    ) -> None:
        self.channel = grpc.insecure_channel(target, options=[*OPTIONS, *options])
        self.metadata = (("containerd-namespace", namespace),)
        self._calls = {
            name: getattr(self.channel, shape)(method(CONTENT, name))
            for name, shape in SHAPES.items()
        }

    def one(self, name: str, request: bytes) -> dict[int, list[Any]]:
        """A unary call. Raises Refused."""
        try:
            return decode(self._calls[name](request, timeout=LIMIT_S, metadata=self.metadata))
        except grpc.RpcError as error:
            raise Refused(error) from None

    def many(self, name: str, request: bytes) -> list[dict[int, list[Any]]]:
        """All messages of a streamed answer. Raises Refused."""
        try:
            answers = self._calls[name](request, timeout=LIMIT_S, metadata=self.metadata)
            return [decode(answer) for answer in answers]
        except grpc.RpcError as error:
            raise Refused(error) from None

    def write(self, limit_s: float = 600) -> Stream:
        return Stream(self._calls["Write"], self.metadata, limit_s)

    def close(self) -> None:
        self.channel.close()


class Stream:
    """A Write stream, one step at a time."""

    def __init__(self, call: Any, metadata: Any, limit_s: float) -> None:
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._call = call(iter(self._requests.get, None), timeout=limit_s, metadata=metadata)

    def send(self, request: bytes) -> None:
        self._requests.put(request)

    def half_close(self) -> None:
        self._requests.put(None)

    def answer(self) -> dict[int, list[Any]] | None:
        """The next answer; None at the end. Raises Refused."""
        try:
            return decode(next(self._call))
        except StopIteration:
            return None
        except grpc.RpcError as error:
            self._requests.put(None)
            raise Refused(error) from None

    def rest(self) -> Iterator[dict[int, list[Any]]]:
        while (answer := self.answer()) is not None:
            yield answer

    def cancel(self) -> None:
        self._requests.put(None)
        self._call.cancel()
