"""gRPC's health and reflection services, from grpcio's packages, with bounded streams."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

MAX_WATCHES = 64
"""Watch streams of the health service that may be open."""
MAX_REFLECTIONS = 8
"""Reflection streams that may be open, each with a thread."""
_UNKNOWN = "?"
"""Replaces the name of an unknown service: the package keeps every name that is watched."""


class HealthAndReflection:
    """Health and reflection of a server with the services ``names``.

    Attributes:
        handlers: for ``grpc.Server.add_generic_rpc_handlers``.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._health = _Health(names)
        self._reflection = _Reflection((*names, health.SERVICE_NAME, reflection.SERVICE_NAME))
        collected: Any = _Collector()
        register: tuple[tuple[Callable[[Any, Any], None], object], ...] = (
            (health_pb2_grpc.add_HealthServicer_to_server, self._health),
            (reflection_pb2_grpc.add_ServerReflectionServicer_to_server, self._reflection),
        )
        for add, servicer in register:
            add(servicer, collected)
        self.handlers: tuple[grpc.GenericRpcHandler, ...] = tuple(collected.handlers)

    def drain(self) -> None:
        """Report NOT_SERVING, and end all streams."""
        self._health.enter_graceful_shutdown()
        self._health.end_all()
        self._reflection.end_all()


class _Slots:
    """The streams of one kind that are open."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._mutex = threading.Lock()
        self._ends: dict[grpc.ServicerContext, Callable[[], object]] = {}

    def take(self, context: grpc.ServicerContext, end: Callable[[], object]) -> bool:
        """Count a stream until it ends; False if it has ended already. ``end`` ends it.

        With too many open streams the call ends with ResourceExhausted.
        """
        with self._mutex:
            is_full = len(self._ends) >= self._limit
            if not is_full:
                self._ends[context] = end
        if is_full:
            text = f"the limit of {self._limit} open streams is reached: resource exhausted"
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        if context.add_callback(lambda: self._remove(context)):
            return True
        self._remove(context)
        return False

    def _remove(self, context: grpc.ServicerContext) -> None:
        with self._mutex:
            self._ends.pop(context, None)

    def end_all(self) -> None:
        """End every stream."""
        with self._mutex:
            ends = list(self._ends.values())
        for end in ends:
            end()


class _Health(health.HealthServicer):
    """The package's servicer, with bounded streams."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        self._known = frozenset(("", *names))
        self._slots = _Slots(MAX_WATCHES)
        self.end_all = self._slots.end_all
        for name in self._known:
            self.set(name, health_pb2.HealthCheckResponse.SERVING)

    def Watch(  # type: ignore[override]  # noqa: N802  # the stub lacks the callback
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.ServicerContext,
        send_response_callback: Callable[[object], None],
    ) -> None:
        if request.service not in self._known:
            request = health_pb2.HealthCheckRequest(service=_UNKNOWN)
        if self._slots.take(context, lambda: send_response_callback(None)):
            super().Watch(request, context, send_response_callback)


class _Reflection(reflection.ReflectionServicer):
    """The package's servicer, with bounded streams."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(names)
        self._slots = _Slots(MAX_REFLECTIONS)
        self.end_all = self._slots.end_all

    def ServerReflectionInfo(  # noqa: N802
        self, request_iterator: Iterable[Any], context: Any
    ) -> Iterator[Any]:
        if self._slots.take(context, context.cancel):
            yield from super().ServerReflectionInfo(request_iterator, context)


class _Collector:
    """Collects the handlers that packages register at a server."""

    def __init__(self) -> None:
        self.handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, found: Sequence[grpc.GenericRpcHandler]) -> None:
        self.handlers.extend(found)

    def add_registered_method_handlers(self, _service: str, _handlers: object) -> None:
        """Ignored: the generic handlers, which are registered as well, are enough."""
