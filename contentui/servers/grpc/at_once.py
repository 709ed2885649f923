"""Calls that are answered by the very thread that received them, where nothing makes it wait.

A client that reads in small steps, one after the other, waits for two changes of threads with each
step, which is more than the step itself takes. grpcio has no public way around its pool of threads;
where the private one is missing, the pool answers as usual.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from contentui.servers.grpc.grpcio import inside

if TYPE_CHECKING:
    from collections.abc import Callable

    Answer = Callable[[bytes], bytes | None]

_log = logging.getLogger(__name__)


class AtOnce(ThreadPoolExecutor):
    """A pool for one unary method: asks ``answer`` first, in the receiving thread.

    ``answer`` gets the request and must not wait; None leaves the call to a thread.
    """

    def __init__(self, threads: int, answer: Answer) -> None:
        super().__init__(threads, "contentui-reader")
        self._answer = answer

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Begin to receive the request; the future is done when the call was answered."""
        try:
            call = _Call(args)
        except (AttributeError, TypeError, ValueError):
            return super().submit(fn, *args, **kwargs)
        done: Future[Any] = Future()

        def received(data: bytes | None) -> None:
            found = self._answer(data) if data is not None else None
            if data is None:
                call.refuse()
            elif found is not None:
                call.send(found)
            else:
                running = super(AtOnce, self).submit(fn, *call.arguments(data))
                running.add_done_callback(lambda _: done.set_result(None))
                return
            done.set_result(None)

        call.receive(received, lambda: done.set_result(None))
        return done


class _Call:
    """What grpcio hands to its pool for a unary call."""

    def __init__(self, submitted: tuple[Any, ...]) -> None:
        """Raises AttributeError, TypeError, ValueError: it is none that we know."""
        server = inside()
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
        """The arguments for the pool, the request being here already."""
        respond = self._server._unary_response_in_pool  # noqa: SLF001
        return respond, self._event, self._state, self._behaviour, lambda: data, None, None

    def send(self, answer: bytes) -> None:
        """Answer and end the call; to nobody when the client is gone."""
        self._status(self._event, self._state, answer)

    def refuse(self) -> None:
        """End a call that had no request."""
        self._end(self._core.StatusCode.unimplemented, b"one request message is required")

    def receive(self, then: Callable[[bytes | None], None], failed: Callable[[], None]) -> None:
        """Ask for the request, and pass it on, or None when there was none."""

        def received(event: Any) -> Any:
            try:
                then(self._message(event))
            except Exception:  # it would end the thread that serves everybody
                _log.exception("a call failed")
                self._end(self._core.StatusCode.unavailable, b"the service is ending")
                failed()
            with self._state.condition:
                return self._finish(self._state, self._token)

        with self._state.condition:
            self._event.call.start_server_batch((self._receiving,), received)
            self._state.due.add(self._token)

    def _end(self, code: Any, text: bytes) -> None:
        with self._state.condition:
            self._abort(self._state, self._event.call, code, text)
