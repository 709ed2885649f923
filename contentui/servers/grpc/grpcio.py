"""Shortcuts through private parts of grpcio, used only where they are as expected.

A client that reads in small steps, as ``ctr content get`` of containerd 1.6 with 32 KiB per call,
waits for two changes of threads with each call, and for one more because a streamed response is
sent apart from its status. grpcio has no public way around either. `InlineExecutor` runs a call in
the thread that received it; `streaming` sends the last message together with the status. With
another grpcio both fall back to its thread pool and its streams.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, Any, NoReturn, cast

import grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Messages = Callable[[bytes, grpc.ServicerContext], Iterator[bytes]]

_EVENT, _STATE = "rpc_event", "state"
_EXPECTED = {
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
"""The parameters of the private functions that are called."""

_log = logging.getLogger(__name__)


@cache
def private_api() -> Any | None:
    """Grpcio's private server module; None, with a warning in the log, if it is not as expected."""
    try:
        server = import_module("grpc._server")
        unknown = [
            name
            for name, expected in _EXPECTED.items()
            if tuple(signature(getattr(server, name)).parameters) != expected
        ]
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        unknown = [str(error)]
    if not unknown:
        return server
    _log.warning("unsupported grpcio version; fast path for small reads disabled")
    return None


def client_has_closed(context: grpc.ServicerContext) -> bool:
    """Whether grpcio knows that a call's client has sent its last request or is gone.

    grpcio learns of a last request only while a handler waits for the next one, and has no public
    call that reports it. Without the private one the end is noticed when the handler's iterator
    ends, a few milliseconds later.
    """
    server = private_api()
    client = getattr(getattr(context, "_state", None), "client", None)
    if server is None or client is None or not hasattr(server, "_OPEN"):
        return not context.is_active()
    return client is not server._OPEN  # noqa: SLF001


_log = logging.getLogger(__name__)


class InlineExecutor(ThreadPoolExecutor):
    """A pool for one unary method that tries ``respond`` first, in the receiving thread.

    ``respond`` gets the request and must not wait; None leaves the call to a thread of the pool.
    """

    def __init__(self, threads: int, respond: Callable[[bytes], bytes | None]) -> None:
        super().__init__(threads, "contentui-reader")
        self._respond = respond

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Begin to receive the request; the future is done when the response was sent."""
        try:
            call = _UnaryCall(args)
        except (AttributeError, TypeError, ValueError):
            return super().submit(fn, *args, **kwargs)
        done: Future[Any] = Future()

        def received(data: bytes | None) -> None:
            found = self._respond(data) if data is not None else None
            if data is None:
                call.reject()
            elif found is not None:
                call.send(found)
            else:
                running = super(InlineExecutor, self).submit(fn, *call.arguments(data))
                running.add_done_callback(lambda _: done.set_result(None))
                return
            done.set_result(None)

        call.receive(received, lambda: done.set_result(None))
        return done


class _UnaryCall:
    """The arguments that grpcio passes to its pool for a unary call."""

    def __init__(self, submitted: tuple[Any, ...]) -> None:
        """Raises AttributeError, TypeError, ValueError: the arguments are not as expected."""
        server = private_api()
        if server is None:
            raise TypeError
        self._server, self._core = server, server.cygrpc
        core = self._core
        respond, self._event, self._state, self._behaviour, _, decode, encode = submitted
        if respond is not server._unary_response_in_pool or decode or encode:  # noqa: SLF001
            raise TypeError
        self._receiving = core.ReceiveMessageOperation(0)
        self._token = server._RECEIVE_MESSAGE_TOKEN  # noqa: SLF001
        self._finish = server._possibly_finish_call  # noqa: SLF001
        self._message = server._serialized_request  # noqa: SLF001
        self._status = server._status  # noqa: SLF001
        self._abort = server._abort  # noqa: SLF001

    def arguments(self, data: bytes) -> tuple[Any, ...]:
        """The arguments for the pool, with a request that has been received."""
        respond = self._server._unary_response_in_pool  # noqa: SLF001
        return respond, self._event, self._state, self._behaviour, lambda: data, None, None

    def send(self, response: bytes) -> None:
        """Send the response and end the call; does nothing if the client is gone."""
        self._status(self._event, self._state, response)

    def reject(self) -> None:
        """End a call that had no request."""
        self._end(self._core.StatusCode.unimplemented, b"one request message is required")

    def receive(self, then: Callable[[bytes | None], None], failed: Callable[[], None]) -> None:
        """Receive the request and pass it to ``then``, or None if there is none."""

        def received(event: Any) -> Any:
            try:
                then(self._message(event))
            except Exception:  # it would end the thread that serves all clients
                _log.exception("a call failed")
                self._end(self._core.StatusCode.unavailable, b"the server is stopping")
                failed()
            with self._state.condition:
                return self._finish(self._state, self._token)

        with self._state.condition:
            self._event.call.start_server_batch((self._receiving,), received)
            self._state.due.add(self._token)

    def _end(self, code: Any, text: bytes) -> None:
        with self._state.condition:
            self._abort(self._state, self._event.call, code, text)


def streaming(
    behaviour: Messages, pool: ThreadPoolExecutor | None = None
) -> grpc.RpcMethodHandler[bytes, bytes]:
    """A handler for one request and any number of messages in response, also none.

    ``behaviour`` returns an iterator with a ``close``, which is called if the client disconnects.
    ``pool``: where it runs, instead of the server's own threads.
    """
    send = _sender()
    if send is None:
        return grpc.unary_stream_rpc_method_handler(behaviour)

    def handler(request: bytes, context: grpc.ServicerContext) -> bytes:
        messages = behaviour(request, context)
        try:
            last = next(messages, None)
            if last is None:
                _end_without_message(context)
            for message in messages:
                if not send(context, last):
                    return b""  # the client is gone
                last = message
            return last
        finally:
            cast("Any", messages).close()

    if pool is not None:
        cast("Any", handler).experimental_thread_pool = pool
    return grpc.unary_unary_rpc_method_handler(handler)


def _sender() -> Callable[[grpc.ServicerContext, bytes], bool] | None:
    """Sends a message before the last one, False if the client is gone; None: not supported."""
    server = private_api()
    if server is None:
        return None

    def send(context: grpc.ServicerContext, message: bytes) -> bool:
        call = cast("Any", context)
        return bool(server._send_response(call._rpc_event, call._state, message))  # noqa: SLF001

    return send


def _end_without_message(context: grpc.ServicerContext) -> NoReturn:
    """End a call with OK and no message; always raises an error that grpcio then ignores."""
    call = cast("Any", context)
    cast("Any", private_api())._status(call._rpc_event, call._state, None)  # noqa: SLF001
    ended = grpc.RpcError()
    call._state.rpc_errors.append(ended)  # noqa: SLF001
    raise ended
