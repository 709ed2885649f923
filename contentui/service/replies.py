"""Answers of several messages whose last one travels together with the status.

A streamed answer costs grpcio one more change of threads than a single one, and the two look the
same on the wire. A client that reads in small steps (``ctr`` asks for 32 KiB at a time) pays that
with each. grpcio has no public way to send messages before a single answer; where the private one
is missing, answers are streamed as usual.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NoReturn, cast

import grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import ThreadPoolExecutor

    Messages = Callable[[bytes, grpc.ServicerContext], Iterator[bytes]]

_log = logging.getLogger(__name__)


def streaming(
    behaviour: Messages, pool: ThreadPoolExecutor | None = None
) -> grpc.RpcMethodHandler[bytes, bytes]:
    """A handler for one request and any number of answers, none included.

    ``behaviour`` is an iterator with a ``close``, which is called when the client goes away.
    ``pool``: where it runs, instead of the server's own threads.
    """
    send = _sender()
    if send is None:
        _log.warning("this grpcio can only stream: clients that read in small steps wait longer")
        return grpc.unary_stream_rpc_method_handler(behaviour)

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        messages = behaviour(request, context)
        try:
            last = next(messages, None)
            if last is None:
                _end_without_message(context)
            for message in messages:
                if not send(context, last):
                    return b""  # to nobody: the client is gone
                last = message
            return last
        finally:
            cast("Any", messages).close()

    if pool is not None:
        cast("Any", answer).experimental_thread_pool = pool
    return grpc.unary_unary_rpc_method_handler(answer)


def _sender() -> Callable[[grpc.ServicerContext, bytes], bool] | None:
    """Sends a message before the answer; False when the client is gone. None: there is no way."""
    try:
        from grpc._server import _send_response, _status  # noqa: F401 - used below
    except ImportError:
        return None

    def send(context: grpc.ServicerContext, message: bytes) -> bool:
        inside = cast("Any", context)
        return bool(_send_response(inside._rpc_event, inside._state, message))  # noqa: SLF001

    return send


def _end_without_message(context: grpc.ServicerContext) -> NoReturn:
    """End a call well without any message; always raises what grpcio then keeps silent about."""
    from grpc._server import _status

    inside = cast("Any", context)
    _status(inside._rpc_event, inside._state, None)  # noqa: SLF001
    ended = grpc.RpcError()
    inside._state.rpc_errors.append(ended)  # noqa: SLF001
    raise ended
