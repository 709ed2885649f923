"""Answers of several messages whose last one travels together with the status.

A streamed answer costs grpcio one more change of threads than a single one, and the two look the
same on the wire. A client that reads in small steps (``ctr`` asks for 32 KiB at a time) pays that
with each. grpcio has no public way to send messages before a single answer; where the private one
is missing or another one, answers are streamed as usual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, cast

import grpc

from contentui.servers.grpc.grpcio import inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import ThreadPoolExecutor

    Messages = Callable[[bytes, grpc.ServicerContext], Iterator[bytes]]


def streaming(
    behaviour: Messages, pool: ThreadPoolExecutor | None = None
) -> grpc.RpcMethodHandler[bytes, bytes]:
    """A handler for one request and any number of answers, none included.

    ``behaviour`` is an iterator with a ``close``, which is called when the client goes away.
    ``pool``: where it runs, instead of the server's own threads.
    """
    send = _sender()
    if send is None:
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
    server = inside()
    if server is None:
        return None

    def send(context: grpc.ServicerContext, message: bytes) -> bool:
        call = cast("Any", context)
        return bool(server._send_response(call._rpc_event, call._state, message))  # noqa: SLF001

    return send


def _end_without_message(context: grpc.ServicerContext) -> NoReturn:
    """End a call well without any message; always raises what grpcio then keeps silent about."""
    call = cast("Any", context)
    cast("Any", inside())._status(call._rpc_event, call._state, None)  # noqa: SLF001
    ended = grpc.RpcError()
    call._state.rpc_errors.append(ended)  # noqa: SLF001
    raise ended
