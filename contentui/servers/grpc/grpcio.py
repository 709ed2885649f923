"""The parts of grpcio that nobody is promised: there and as we know them, or not used at all."""

from __future__ import annotations

import logging
from functools import cache
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import grpc

_EVENT, _STATE = "rpc_event", "state"
_KNOWN = {
    "_send_response": (_EVENT, _STATE, "serialized_response"),
    "_status": (_EVENT, _STATE, "serialized_response"),
    "_abort": (_STATE, "call", "code", "details"),
    "_possibly_finish_call": (_STATE, "token"),
    "_serialized_request": ("request_event",),
    "_unary_response_in_pool": (
        _EVENT,
        _STATE,
        "behavior",
        "argument_thunk",
        "request_deserializer",
        "response_serializer",
    ),
    "_Context": (_EVENT, _STATE, "request_deserializer"),
}
"""What is called with which arguments."""

_log = logging.getLogger(__name__)


@cache
def inside() -> Any | None:
    """The server's module of grpcio; None, with a line in the log, when it isn't as we know it."""
    try:
        server = import_module("grpc._server")
        strange = [
            name
            for name, wanted in _KNOWN.items()
            if tuple(signature(getattr(server, name)).parameters) != wanted
        ]
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        strange = [str(error)]
    if not strange:
        return server
    _log.warning("this grpcio is not known here: clients that read in small steps wait longer")
    return None


def client_has_closed(context: grpc.ServicerContext) -> bool:
    """Whether a call's client has sent its last request, or is gone, as far as grpcio knows.

    grpcio learns of a last request only while a handler waits for the next one. Its public part
    has no call for that. Without the private one the last request is seen when the handler's
    iterator ends, a few milliseconds later.
    """
    server = inside()
    client = getattr(getattr(context, "_state", None), "client", None)
    if server is None or client is None or not hasattr(server, "_OPEN"):
        return not context.is_active()
    return client is not server._OPEN  # noqa: SLF001
