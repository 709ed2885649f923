"""gRPC's own services for health and reflection, from their packages, bounded."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

MOST_WATCHES = 64
"""Streams that may wait for the next change of health."""
MOST_REFLECTIONS = 8
"""Streams of reflection that may be open, each with a thread."""
_NOBODY = "?"
"""Stands for every service that isn't known: the package remembers each name it was asked for."""


class StandardServices:
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
        """Tell that no new work should come, and end the streams that wait for nothing else."""
        self._health.enter_graceful_shutdown()
        self._health.end_all()
        self._reflection.end_all()


class _Slots:
    """The streams of one kind that are open."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._mutex = threading.Lock()
        self._ends: dict[grpc.ServicerContext, Callable[[], object]] = {}

    def take(self, context: grpc.ServicerContext, end: Callable[[], object]) -> bool:
        """Count a stream until it ends, which ``end`` brings about; False: it has ended already.

        With too many the call is refused.
        """
        with self._mutex:
            is_full = len(self._ends) >= self._most
            if not is_full:
                self._ends[context] = end
        if is_full:
            text = f"{self._most} such streams are open already: resource exhausted"
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        if context.add_callback(lambda: self._leave(context)):
            return True
        self._leave(context)
        return False

    def _leave(self, context: grpc.ServicerContext) -> None:
        with self._mutex:
            self._ends.pop(context, None)

    def end_all(self) -> None:
        """End every stream."""
        with self._mutex:
            ends = list(self._ends.values())
        for end in ends:
            end()


class _Health(health.HealthServicer):
    """The package's, with a bound."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        self._known = frozenset(("", *names))
        self._slots = _Slots(MOST_WATCHES)
        self.end_all = self._slots.end_all
        for name in self._known:
            self.set(name, health_pb2.HealthCheckResponse.SERVING)

    def Watch(  # type: ignore[override]  # noqa: N802  # the stub knows no callback
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.ServicerContext,
        send_response_callback: Callable[[object], None],
    ) -> None:
        if request.service not in self._known:
            request = health_pb2.HealthCheckRequest(service=_NOBODY)
        if self._slots.take(context, lambda: send_response_callback(None)):
            super().Watch(request, context, send_response_callback)


class _Reflection(reflection.ReflectionServicer):
    """The package's, with a bound."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(names)
        self._slots = _Slots(MOST_REFLECTIONS)
        self.end_all = self._slots.end_all

    def ServerReflectionInfo(  # noqa: N802
        self, request_iterator: Iterable[Any], context: Any
    ) -> Iterator[Any]:
        if self._slots.take(context, context.cancel):
            yield from super().ServerReflectionInfo(request_iterator, context)


class _Collector:
    """Takes the place of a server for packages that register handlers instead of giving them."""

    def __init__(self) -> None:
        self.handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, found: Sequence[grpc.GenericRpcHandler]) -> None:
        self.handlers.extend(found)

    def add_registered_method_handlers(self, _service: str, _handlers: object) -> None:
        """The generic ones, which come as well, do."""
